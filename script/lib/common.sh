# shellcheck shell=bash
# What the scripts in this folder share. Sourced, never run.
#
# Sets: root (the checkout), venv, python (the one inside of venv).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$root/.venv
# shellcheck disable=SC2034  # for the scripts that source this file
python=$venv/bin/python

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

need_root() { # $1: what for
    is_root || die "$1 needs root (network namespaces, Open vSwitch); run: sudo $root/script/${0##*/}"
}

packages_missing() { # those of the given Debian packages that are not installed
    local package
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
    done
}

apt_get() { # says nothing unless it fails
    local words status=0
    words=$(DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null 2>&1) || status=$?
    [ "$status" = 0 ] || printf '%s\n' "$words" >&2
    return "$status"
}

apt_install() { # Debian packages, without those they only recommend; lists are fetched only when they have to be
    local attempt
    command -v apt-get >/dev/null || die "no apt-get here: install these by hand and run again: $*"
    is_root || die "Debian packages are missing: $*; run: sudo $root/script/setup"
    for attempt in 1 2 3 4; do
        if [ "$attempt" -gt 1 ] || ! apt-cache show --no-all-versions "$@" >/dev/null 2>&1; then
            apt_get update || say "apt-get update failed"
        fi
        apt_get install --no-install-recommends "$@" && return
        [ "$attempt" = 4 ] || { say "apt-get install failed; again in $((attempt * 5)) s"; sleep $((attempt * 5)); }
    done
    die "apt-get could not install: $*"
}

install_packages() { # Debian packages, those of them that are missing
    local missing package services=() policy=/usr/sbin/policy-rc.d
    mapfile -t missing < <(packages_missing "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing Debian packages: ${missing[*]}"
    # Switches, servers and load balancers that this project uses are its own. Debian's services are not started, nor
    # stopped if they were there before.
    for package in "${missing[@]}"; do
        case $package in
            openvswitch-switch | haproxy | ovn-central | ovn-host) services+=("$package") ;;
            nginx-light) services+=(nginx) ;;
        esac
    done
    if [ ${#services[@]} -gt 0 ] && is_root && [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        apt_install "${missing[@]}"
        rm -f "$policy"
        trap - EXIT
        if [ -d /run/systemd/system ]; then
            systemctl disable --quiet "${services[@]/%/.service}"
            say "Debian's services ${services[*]} stay off; start them if you want them for something else"
        fi
    else
        apt_install "${missing[@]}"
    fi
}
