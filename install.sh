#!/bin/sh
# Puts remotectl onto this machine:
#
#     sh install.sh FILE|URL [SHA256]
#
# FILE or URL is the executable for this machine's architecture. As root it goes to /opt/remotectl/versions/N/remotectl
# with a link in /usr/local/bin; as an ordinary user to ~/.local/bin. PREFIX=/somewhere installs below another root.
# With SHA256 the file must have that digest; from a URL without https:// it is required.
set -eu

fail() {
	echo "error: $1" >&2
	if [ $# -gt 1 ]; then echo "help: $2" >&2; fi
	exit 1
}

fetch() { # from, to
	case $1 in
	http://* | https://*)
		if command -v curl >/dev/null; then
			curl --fail --silent --show-error --location --proto-redir =https --output "$2" "$1"
		elif command -v wget >/dev/null; then
			wget -q -O "$2" "$1"
		else
			fail "there is neither curl nor wget here" "copy the executable here and name the file instead"
		fi
		;;
	*) cp -- "$1" "$2" ;;
	esac || fail "$1 could not be fetched" "check the address and run the same command again"
}

verify() { # file, digest
	command -v sha256sum >/dev/null || fail "there is no sha256sum here to check the digest with"
	found=$(sha256sum "$1" | cut -d ' ' -f 1)
	[ "$found" = "$2" ] || fail "the file has the SHA-256 $found, not $2" "do not run it; fetch it again"
}

place() { # file, to: written beside and renamed, so that a running executable is never cut
	mkdir -p "$(dirname "$2")"
	cp -- "$1" "$2.new"
	chmod 755 "$2.new"
	mv -f "$2.new" "$2"
}

main() {
	[ $# -ge 1 ] || fail "which executable?" "sh install.sh FILE|URL [SHA256]"
	case $1 in
	http://*) [ $# -ge 2 ] || fail "over http:// anybody on the way could change the file" "give its SHA-256 behind the address" ;;
	esac
	[ "$(uname -s)" = Linux ] || fail "remotectl runs on Linux, and this is $(uname -s)"

	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	fetch "$1" "$work/remotectl"
	if [ $# -ge 2 ]; then verify "$work/remotectl" "$2"; fi
	chmod 755 "$work/remotectl"
	told=$("$work/remotectl" version) || fail "$1 does not run here" "this machine is $(uname -m): is the executable for that?"
	version=$(echo "$told" | head -n 1 | tr ' ' '\n' | grep -E '^v?[0-9]+\.[0-9]' | head -n 1 | sed 's/^v//')
	[ -n "$version" ] || fail "$1 does not tell its version" "is it remotectl?"
	case $version in *[!A-Za-z0-9.+_-]*) fail "$1 tells a strange version" "is it remotectl?" ;; esac

	prefix=${PREFIX:-}
	if [ -z "$prefix" ] && [ "$(id -u)" != 0 ]; then
		place "$work/remotectl" "$HOME/.local/bin/remotectl"
		echo "remotectl $version is in $HOME/.local/bin"
		case :$PATH: in
		*:"$HOME/.local/bin":*) ;;
		*) echo "help: PATH does not have $HOME/.local/bin yet" ;;
		esac
	else
		home=$prefix/opt/remotectl
		command=$prefix/usr/local/bin/remotectl
		if [ -e "$command" ] || [ -L "$command" ]; then
			case $(readlink "$command" || true) in
			/opt/remotectl/versions/*) ;;
			*) fail "$command is there and not ours" "move it away and run the same command again" ;;
			esac
		fi
		place "$work/remotectl" "$home/versions/$version/remotectl"
		mkdir -p "$(dirname "$command")"
		# This link keeps the version while no role is installed; `rm` it and the two others to take the client away.
		ln -sfn "versions/$version/remotectl" "$home/client"
		ln -sfn "/opt/remotectl/versions/$version/remotectl" "$command"
		echo "remotectl $version is installed"
	fi
	echo "next: \`remotectl up\` on a Proxmox node, \`remotectl demo\` anywhere"
}

main "$@"
