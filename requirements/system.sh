#!/usr/bin/env bash
# Installs missing Debian packages: `requirements/system.sh demo` or `... test`.
# As root or with password-less sudo it installs; otherwise it prints the one command to type.
# `demo` then goes on (the demo leaves out what is missing), `test` stops.
set -euo pipefail
kind=${1:-test}
packages=(mosquitto podman runc conmon catatonit busybox-static)
[ "$kind" = test ] && packages+=(clang lld wasi-libc libclang-rt-14-dev-wasm32 systemd python3-venv uidmap libfaketime)

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

install="apt-get install -y --no-install-recommends ${missing[*]}"
as=()
if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null; then as=(sudo -n); else
        echo "missing Debian packages; type: sudo $install" >&2
        [ "$kind" = demo ] && exit 0
        exit 1
    fi
fi
command -v apt-get >/dev/null || {
    echo "no apt-get here; install by hand: ${missing[*]}" >&2
    [ "$kind" = demo ] && exit 0
    exit 1
}
echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Mosquitto's own service is not wanted: Tender starts a private one.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ] && [ "$(id -u)" -eq 0 ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy && made=yes
fi
trap '[ -z "$made" ] || rm -f $policy' EXIT
if { "${as[@]}" apt-get update -q && "${as[@]}" $install; } > /tmp/tender-apt.$$ 2>&1; then
    rm -f /tmp/tender-apt.$$
else
    tail -20 /tmp/tender-apt.$$ >&2
    rm -f /tmp/tender-apt.$$
    [ "$kind" = demo ] && exit 0
    exit 1
fi
