#!/usr/bin/env bash
# Installs the Debian packages that the tests of deployments and of the page need. Runs as root; CI runs it.
set -euo pipefail

packages=(
    chromium
    fonts-dejavu-core
    make
    python3-venv
)

export DEBIAN_FRONTEND=noninteractive
missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
