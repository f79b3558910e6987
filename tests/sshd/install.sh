#!/bin/sh
# Finds or fetches an OpenSSH server for the tests of git over ssh, and prints its path. Nothing is started: each test
# starts a server of its own on loopback.
#
# Where the system has none, Debian's packages are unpacked into a folder of the user. Run as root, a server needs an
# unprivileged user `sshd`, which is made.
set -eu

cache=${KELOS_SSHD_CACHE:-$HOME/.cache/kelos-sshd}

if [ "$(id -u)" = 0 ]; then
    getent passwd sshd >/dev/null ||
        useradd --system --no-create-home --home-dir /run/sshd --shell /usr/sbin/nologin sshd >&2
    mkdir -p /run/sshd
fi
if [ -x /usr/sbin/sshd ]; then
    echo /usr/sbin/sshd
    exit
fi
if [ ! -x "$cache/sshd" ]; then
    mkdir -p "$cache"
    staging=$(mktemp -d "$cache/installing.XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    trap 'exit 1' HUP INT TERM
    cd "$staging"
    apt-get download -qq openssh-server libwrap0 >&2 2>/dev/null || {
        apt-get update -qq >&2
        apt-get download -qq openssh-server libwrap0 >&2
    }
    for package in *.deb; do
        dpkg-deb -x "$package" root
    done
    rm -rf "$cache/root"
    mv root "$cache/root"
    libraries=$(dirname "$(find "$cache/root" -name 'libwrap.so.0')")
    # A server starts itself again for each connection, by its whole path.
    printf '#!/bin/sh\nexec env LD_LIBRARY_PATH=%s %s/root/usr/sbin/sshd "$@"\n' "$libraries" "$cache" >"$staging/sshd"
    chmod 755 "$staging/sshd"
    mv "$staging/sshd" "$cache/sshd"
fi
echo "$cache/sshd"
