# The script of the spawner `heartbeat`; /bin/sh runs it and stops at the first command that fails.
echo "the tick of {{.Time}}, run as $KELOS_TASK"
uptime || echo "(this machine does not say how long it has been up)"
