# What the commands of the lists may use beside what every shell has.

# Runs a command that does not end by itself until it has printed so many lines, and prints these.
until_lines() {
    lines=$1
    shift
    : >watched
    "$@" >watched 2>&1 &
    for _ in $(seq 200); do
        [ "$(wc -l <watched)" -ge "$lines" ] && break
        sleep 0.1
    done
    kill $!
    wait $! 2>/dev/null
    cat watched
}

# Runs the rest of the line when the watch in the foreground has had time to begin.
soon() {
    (
        sleep 2
        "$@" >/dev/null
    ) &
}
