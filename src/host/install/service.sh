#!/bin/sh
# Written by remotectl; `remotectl @ROLE@ uninstall` takes it away.
### BEGIN INIT INFO
# Provides:          @NAME@
# Required-Start:    $remote_fs $network
# Required-Stop:     $remote_fs $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: @WHAT@
### END INIT INFO
# chkconfig: 2345 99 01
# description: @WHAT@

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
program=@PROGRAM@
main=/run/@NAME@.pid
keeper=/run/@NAME@.keeper.pid
log=/var/log/@NAME@.log

# Whether the process of a file runs and is ours: numbers are used again. Sets $pid.
runs() {
	pid=
	{ read -r pid <"$1"; } 2>/dev/null
	[ -n "$pid" ] && grep -q remotectl "/proc/$pid/cmdline" 2>/dev/null
}

# Waits for at most 15 s.
pause() {
	tries=$((tries + 1))
	sleep 0.1 2>/dev/null || sleep 1
	[ "$tries" -lt 150 ]
}

# Starts the program again and again, until it is told to stop.
keep() {
	child=
	trap 'trap "" TERM; [ -z "$child" ] || { kill "$child"; wait "$child"; }; rm -f "$main" "$keeper"; exit 0' TERM INT
	trap '' HUP
	echo $$ >"$keeper"
	while :; do
		"$program" @ARGS@ &
		child=$!
		echo "$child" >"$main"
		wait "$child"
		child=
		sleep 2 &
		wait $!
	done
}

start() {
	if runs "$keeper"; then return 0; fi
	rm -f "$main" "$keeper"
	# In a shell of its own: where a redirection of `:` fails, the shell ends.
	(: >>"$log") 2>/dev/null || log=/dev/null
	setsid sh "$0" keep </dev/null >>"$log" 2>&1 &
	tries=0
	until runs "$main"; do pause || return 1; done
}

stop() {
	if runs "$keeper"; then
		kill "$pid"
		tries=0
		while runs "$keeper" && pause; do :; done
	fi
	for file in "$keeper" "$main"; do
		if runs "$file"; then kill -9 "$pid"; fi
		rm -f "$file"
	done
}

case $1 in
start) start ;;
stop) stop ;;
restart | force-reload) stop && start ;;
status)
	if runs "$main"; then
		echo "@NAME@ runs, pid $pid"
	elif [ -e "$main" ]; then
		echo "@NAME@ is dead"
		exit 1
	else
		echo "@NAME@ is stopped"
		exit 3
	fi
	;;
keep) keep ;;
*)
	echo "usage: $0 start|stop|restart|status" >&2
	exit 2
	;;
esac
