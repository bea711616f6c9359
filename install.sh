#!/bin/sh
# Puts remotectl onto this machine, as the command alone or as hub, agent or pve-agent with its service. `--help` says how.
# Works with dash, busybox ash and bash, and needs no network. Everything is in `main`, which the last line calls: a file
# that was cut on its way does nothing.
set -eu

usage() {
	cat <<'END'
Puts remotectl onto this machine, or takes it away again.

Usage: sh install.sh [OPTIONS] [FILE|URL [SHA256]]

FILE is the executable; without one, the one beside this script: `remotectl`, or the one for this machine's architecture,
such as `remotectl-x86_64-unknown-linux-musl`. Where SHA256SUMS lies beside it and names it, it must be that very file.

Options:
  --role ROLE    client (the command alone; the default), hub, agent, or pve-agent
  --join STRING  which hub an agent is for: what `remotectl hub join-token` prints on the hub's machine
  --dry-run      say what would be done, and do nothing
  --uninstall    take the role away; without --role, everything that is here
  --purge        with --uninstall: keys, data and configuration too
  -h, --help     this

As root everything goes to /opt/remotectl, with a link in /usr/local/bin, and the service to the init system. An ordinary
user gets the command alone, in ~/.local/bin. PREFIX=/somewhere puts the command below another root.

Examples:
  sh install.sh
  sh install.sh --role hub
  sh install.sh --role agent --join rctl1.eyJhZGRyZXNzZXMi…
  sh install.sh --uninstall --role agent --purge
END
}

fail() { # what, what to do next
	echo "error: $1" >&2
	if [ $# -gt 1 ]; then echo "help: $2" >&2; fi
	exit 1
}

wrong() { # a call that makes no sense
	echo "error: $1" >&2
	echo "help: sh install.sh --help" >&2
	exit 2
}

have() { command -v "$1" >/dev/null 2>&1; }

there() { [ -e "$1" ] || [ -L "$1" ]; }

# --- what is to be installed

fetch() { # from, to
	case $1 in
	http://* | https://*)
		if have curl; then
			curl --fail --silent --show-error --location --proto-redir =https --output "$2" "$1"
		elif have wget; then
			wget -q -O "$2" "$1"
		else
			fail "there is neither curl nor wget here" "copy the executable here and name the file instead"
		fi
		;;
	*) cp -- "$1" "$2" ;;
	esac || fail "$1 could not be fetched" "check the address and run the same command again"
}

verify() { # file, digest
	have sha256sum || fail "there is no sha256sum here to check the digest with"
	found=$(sha256sum <"$1")
	found=${found%% *}
	[ "$found" = "$2" ] || fail "the file has the SHA-256 $found, not $2" "do not run it; fetch it again"
}

promised() { # file: what SHA256SUMS beside it says of it, if it does
	sums=$(dirname -- "$1")/SHA256SUMS
	if [ ! -f "$sums" ]; then return 0; fi
	name=$(basename -- "$1")
	found=
	while read -r digest file || [ -n "$digest" ]; do
		file=${file%"$(printf '\r')"}
		file=${file#\*}
		if [ "${file#./}" = "$name" ]; then
			echo "$digest"
			found=1
		fi
	done <"$sums"
	if [ -z "$found" ]; then echo "note: $sums does not name $name: it is not checked" >&2; fi
}

machine() { # the word of the target triples
	case $(uname -m) in
	x86_64 | amd64) echo x86_64 ;;
	aarch64 | arm64) echo aarch64 ;;
	*) uname -m ;;
	esac
}

beside() { # the executable that lies beside this script
	[ -f "$0" ] || fail "which executable?" "sh install.sh FILE|URL [SHA256]"
	folder=$(dirname -- "$0")
	for file in "$folder/remotectl-$(machine)-unknown-linux-musl" "$folder/remotectl-$(machine)-unknown-linux-gnu" \
		"$folder/remotectl"; do
		if [ -f "$file" ]; then
			echo "$file"
			return
		fi
	done
	fail "there is no remotectl for $(machine) beside $0" "name the file: sh install.sh FILE"
}

# The head of the file is read before the file is run: a shell would take what is no executable for a script.
check_kind() { # file, its name for people
	if ! have od; then return 0; fi
	# shellcheck disable=SC2046 # the bytes are words, and meant to be
	set -- "$1" "$2" $(od -A n -t x1 -N 20 <"$1")
	if [ $# -ne 22 ] || [ "$3$4$5$6" != 7f454c46 ]; then
		fail "$2 is no executable for Linux" "name the remotectl that was built or downloaded"
	fi
	case ${21}${22} in
	3e00) kind=x86_64 ;;
	b700) kind=aarch64 ;;
	*) kind="another architecture" ;;
	esac
	if [ "$kind" = "$(machine)" ]; then return 0; fi
	fail "$2 is for $kind, and this machine is $(machine)" "take remotectl-$(machine)-unknown-linux-musl, or build it there"
}

tell_version() { # executable, its name for people
	status=0
	told=$("$1" version 2>"$work/complaint") || status=$?
	case $status in
	0) ;;
	126) fail "$2 can't be run in ${TMPDIR:-/tmp}" "it may be mounted noexec: TMPDIR=/root sh install.sh …" ;;
	*) fail "$2 does not tell its version: $(head -n 1 "$work/complaint")" "is it remotectl?" ;;
	esac
	version=
	set -f
	for word in $told; do
		case ${word#v} in
		[0-9]*.[0-9]*)
			version=${word#v}
			break
			;;
		esac
	done
	set +f
	[ -n "$version" ] || fail "$2 does not tell its version" "is it remotectl?"
	case $version in *[!A-Za-z0-9.+_-]*) fail "$2 tells a strange version" "is it remotectl?" ;; esac
}

make_room() { # a temporary directory, gone at the end
	if [ -n "$work" ]; then return 0; fi
	trap clean_up EXIT
	trap 'exit 1' HUP INT TERM
	work=$(mktemp -d "${TMPDIR:-/tmp}/remotectl.XXXXXX") ||
		fail "there is no room for temporary files in ${TMPDIR:-/tmp}" "TMPDIR=/somewhere sh install.sh …"
}

clean_up() { # what was made goes again, unless all of it was
	if [ -n "$work" ]; then rm -rf "$work"; fi
	printf '%s' "$made" | while read -r path; do
		if [ -d "$path" ] && [ ! -L "$path" ]; then rmdir "$path" 2>/dev/null || :; else rm -f "$path"; fi
	done
}

prepare() { # fetches, checks and asks the executable; sets executable and version
	make_room
	executable=$work/remotectl
	fetch "$source" "$executable"
	if [ -z "$digest" ]; then digest=$(promised "$source"); fi
	if [ -n "$digest" ]; then verify "$executable" "$digest"; fi
	check_kind "$executable" "$source"
	chmod 755 "$executable"
	tell_version "$executable" "$source"
}

# --- where it goes

supervisor() { # the init system that runs here, if remotectl knows it
	if [ -d /run/systemd/system ]; then
		echo systemd
	elif there /run/openrc/softlevel || there /run/openrc/started; then
		echo OpenRC
	elif [ "$(cat /proc/1/comm 2>/dev/null)" = runit ] || there /run/runit; then
		echo runit
	elif there /etc/inittab; then
		case $(readlink -f /proc/1/exe 2>/dev/null || readlink -f /sbin/init) in
		*/busybox) echo busybox ;;
		*) if [ -d /etc/init.d ]; then echo sysvinit; fi ;;
		esac
	fi
}

remember() { # a path that is made now; the last comes first
	made="$1
$made"
}

folder() { # makes a directory, with those above it
	if [ -d "$1" ]; then return 0; fi
	folder "$(dirname "$1")"
	mkdir "$1" || fail "$1 can't be made" "is its filesystem read-only, or full? df -h $(dirname "$1")"
	remember "$1"
}

place() { # file, to: written beside and renamed, so that a running executable is never cut
	folder "$(dirname "$2")"
	if cmp -s "$1" "$2" 2>/dev/null; then return 0; fi
	there "$2" || remember "$2"
	if ! { cp -- "$1" "$2.new" && chmod 755 "$2.new" && mv -f "$2.new" "$2"; }; then
		rm -f "$2.new"
		fail "$2 can't be written" "is its filesystem read-only, or full? df -h $(dirname "$2")"
	fi
}

link() { # to, at
	there "$2" || remember "$2"
	ln -sfn "$1" "$2" || fail "$2 can't be made" "is the filesystem read-only? mount"
}

is_ours() { # link
	case $(readlink "$1" || true) in
	/opt/remotectl/versions/*) ;;
	*) return 1 ;;
	esac
}

put_client() { # the command alone
	command=$prefix/usr/local/bin/remotectl
	if there "$command" && ! is_ours "$command"; then
		fail "$command is there and not ours" "move it away and run the same command again"
	fi
	place "$executable" "$home/versions/$version/remotectl"
	folder "$(dirname "$command")"
	# This link keeps the version while no role is installed.
	link "versions/$version/remotectl" "$home/client"
	link "/opt/remotectl/versions/$version/remotectl" "$command"
	outside=$(made_outside)
	if [ -n "$outside" ]; then printf '%s\n' "$outside" >>"$home/created"; fi
}

made_outside() { # the directories outside of ours that were made, as `remotectl … uninstall` reads them, topmost first
	upwards=
	printf '%s' "$made" | {
		while read -r path; do
			case $path in
			"$home" | "$home"/*) ;;
			*) if [ -d "$path" ] && [ ! -L "$path" ]; then upwards="${path#"$prefix/"}
$upwards"; fi ;;
			esac
		done
		printf '%s' "$upwards"
	}
}

install_for_user() {
	place "$executable" "$HOME/.local/bin/remotectl"
	echo "remotectl $version is in $HOME/.local/bin"
	case :$PATH: in
	*:"$HOME/.local/bin":*) ;;
	*) echo "help: PATH does not have $HOME/.local/bin yet" ;;
	esac
}

install_client() {
	put_client
	echo "remotectl $version is installed"
	echo "next: \`remotectl up\` on a Proxmox node, \`remotectl demo\` anywhere"
}

join() { # the executable, and what more; an agent that is a member already needs no string
	program=$1
	shift
	if [ -n "$string" ]; then set -- "$@" --join "$string"; fi
	"$program" "$role" install "$@"
}

install_role() {
	if [ -n "$(supervisor)" ]; then
		if [ "$role" = hub ]; then "$executable" hub install; else join "$executable"; fi
		return
	fi
	# No init system that services are known of: somebody else's supervisor runs it. A system as bare as that may lack the
	# place for its state.
	folder /var/lib
	put_client
	if [ "$role" = hub ]; then
		run="serve"
	else
		run="run"
		join "$command" --no-service
	fi
	echo "remotectl $version is installed; no init system was found here that keeps it running (systemd, OpenRC, sysvinit, runit and busybox are known)"
	echo "next: have your own keep this running: /usr/local/bin/remotectl $role $run"
}

# --- taking it away

installed_roles() {
	for one in agent pve-agent hub; do
		for trace in "/opt/remotectl/$one" "/etc/systemd/system/remotectl-$one.service" "/etc/init.d/remotectl-$one" \
			"/etc/sv/remotectl-$one" \
			"/etc/remotectl/$one.toml" "/var/lib/remotectl/$one"; do
			if there "$trace"; then
				echo "$one"
				break
			fi
		done
	done
}

remover() { # makes $work/away/remotectl, where a role has lost its own: another one's, the one that was named, or that lies beside
	make_room
	if [ -x "$work/away/remotectl" ]; then return 0; fi
	mkdir "$work/away"
	for file in /opt/remotectl/versions/*/remotectl; do
		if [ -x "$file" ] && "$file" version >/dev/null 2>&1; then
			# A copy: it may take its own file away.
			cp -- "$file" "$work/away/remotectl"
			chmod 755 "$work/away/remotectl"
			return 0
		fi
	done
	if [ -z "$source" ]; then source=$(beside) || exit 1; fi
	prepare
	cp -- "$executable" "$work/away/remotectl"
}

take_away() { # role, and what more is said to its own executable
	one=$1
	shift
	if [ -x "/opt/remotectl/$one" ]; then
		"/opt/remotectl/$one" uninstall "$@"
	else
		remover
		"$work/away/remotectl" "$one" uninstall "$@"
	fi
}

uninstall_role() { # role
	if [ -n "$(supervisor)" ]; then
		if [ "$purge" = yes ]; then take_away "$1" --purge; else take_away "$1"; fi
		return
	fi
	# Without an init system there was no service.
	if [ "$purge" = yes ]; then
		rm -rf "/etc/remotectl/$1.toml" "/var/lib/remotectl/$1" "/run/remotectl/$1.json"
		for directory in /etc/remotectl /var/lib/remotectl /run/remotectl; do rmdir "$directory" 2>/dev/null || :; done
	fi
	echo "stop what keeps the $1 running here$(if [ "$purge" = no ]; then echo "; --purge takes its keys and configuration"; fi)"
}

uninstall_client() { # the command, unless a role needs it
	rm -f "$home/client"
	for one in hub agent pve-agent; do
		if there "$home/$one"; then
			echo "the command stays: the $one needs it"
			return 0
		fi
	done
	command=$prefix/usr/local/bin/remotectl
	if there "$command" && is_ours "$command"; then rm -f "$command"; fi
	rm -rf "$home/versions"
	reversed=
	if [ -f "$home/created" ]; then
		while read -r directory; do reversed="$directory
$reversed"; done <"$home/created"
		rm -f "$home/created"
	fi
	if [ -d "$home" ]; then rmdir "$home" || fail "$home is not empty" "ls -lR $home"; fi
	printf '%s' "$reversed" | while read -r directory; do
		case $directory in
		'' | /* | *..*) ;;
		*) rmdir "$prefix/$directory" 2>/dev/null || : ;;
		esac
	done
	echo "remotectl is no more on this machine"
}

uninstall() {
	if [ "$root" = no ]; then
		there "$HOME/.local/bin/remotectl" || { echo "remotectl is not in $HOME/.local/bin"; return; }
		if [ "$dry" = yes ]; then echo "would remove $HOME/.local/bin/remotectl"; return; fi
		rm -f "$HOME/.local/bin/remotectl"
		echo "remotectl is no more in $HOME/.local/bin"
		return
	fi
	case ${role:-all} in
	all) roles=$(if [ -z "$prefix" ]; then installed_roles; fi) ;;
	client) roles= ;;
	*) roles=$(installed_roles | grep -x -e "$role" || true) ;;
	esac
	client=no
	case ${role:-all} in all | client) if there "$home"; then client=yes; fi ;; esac
	if [ -z "$roles" ] && [ "$client" = no ]; then
		echo "there is no ${role:-remotectl} here"
		return
	fi
	if [ "$dry" = yes ]; then
		for one in $roles; do echo "would take the $one away$(if [ "$purge" = yes ]; then echo ", keys and data too"; fi)"; done
		if [ "$client" = yes ]; then echo "would remove $home and the command"; fi
		return
	fi
	for role in $roles; do uninstall_role "$role"; done
	if [ "$client" = yes ] && there "$home"; then uninstall_client; fi
}

# --- what was asked for

plan() { # says what would be done
	echo "would install remotectl $version from $source"
	if [ "$root" = no ]; then
		echo "would write $HOME/.local/bin/remotectl"
		return
	fi
	echo "would write $home/versions/$version/remotectl and link $prefix/usr/local/bin/remotectl to it"
	if [ "$role" = client ]; then return; fi
	if [ -n "$(supervisor)" ]; then
		echo "would run it as the service remotectl-$role of $(supervisor)"
	else
		echo "no init system was found that services are known of: would leave running \`remotectl $role\` to your own"
	fi
}

read_words() {
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help)
			usage
			exit 0
			;;
		--role | --join) [ $# -ge 2 ] || wrong "$1 wants a value" ;;
		esac
		case $1 in
		--role)
			role=$2
			shift
			;;
		--role=*) role=${1#*=} ;;
		--join)
			string=$2
			shift
			;;
		--join=*) string=${1#*=} ;;
		--dry-run) dry=yes ;;
		--uninstall) away=yes ;;
		--purge) purge=yes ;;
		-*) wrong "there is no option $1" ;;
		*)
			if [ -z "$source" ]; then
				source=$1
			elif [ -z "$digest" ]; then
				digest=$1
			else
				wrong "what is $1?"
			fi
			;;
		esac
		shift
	done
}

main() {
	role='' string='' dry=no away=no purge=no source='' digest='' work='' made=''
	read_words "$@"
	prefix=${PREFIX:-}
	home=$prefix/opt/remotectl
	root=yes
	if [ -z "$prefix" ] && [ "$(id -u)" != 0 ]; then root=no; fi
	case $role in
	'' | client) ;;
	hub | agent | pve-agent)
		[ -z "$prefix" ] || wrong "PREFIX is for the command alone, not for a $role"
		[ "$root" = yes ] || fail "a $role is installed by root" "sudo sh install.sh --role $role …"
		;;
	*) wrong "there is no role $role: client, hub, agent and pve-agent are roles" ;;
	esac
	if [ "$purge" = yes ] && [ "$away" = no ]; then wrong "--purge goes with --uninstall"; fi
	if [ "$away" = yes ]; then
		uninstall
		return
	fi
	role=${role:-client}
	case $role in
	agent | pve-agent)
		if [ -z "$string" ] && [ ! -e "/etc/remotectl/$role.toml" ]; then
			fail "which hub is the $role for?" "--join STRING, with what \`remotectl hub join-token --role $role\` prints on the hub's machine"
		fi
		;;
	*) [ -z "$string" ] || wrong "--join is for an agent: --role agent, or --role pve-agent" ;;
	esac
	[ "$(uname -s)" = Linux ] || fail "remotectl runs on Linux, and this is $(uname -s)"
	if [ -z "$source" ]; then source=$(beside) || exit 1; fi
	case $source in
	http://*) [ -n "$digest" ] || fail "over http:// anybody on the way could change the file" "give its SHA-256 behind the address" ;;
	esac
	prepare
	if [ "$dry" = yes ]; then
		plan
	elif [ "$root" = no ]; then
		install_for_user
	elif [ "$role" = client ]; then
		install_client
	else
		install_role
	fi
	made=
}

main "$@"
