#!/usr/bin/env bash
# Installs the Debian packages that the tests of deployments and of the page need. Runs as root; CI runs it.
set -euo pipefail

packages=(
    make
    prometheus # with promtool
    python3-venv
)

export DEBIAN_FRONTEND=noninteractive
missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    # Some packages start a daemon. Tests start their own, so none of them shall run, nor be started at the next boot.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    for package in "${missing[@]}"; do
        systemctl disable --quiet "$package" 2>/dev/null || true # most have no unit of their name
    done
fi
