#!/usr/bin/env bash
# Installs the Debian packages that the tests of deployments and of the page need. Runs as root; CI runs it.
set -euo pipefail

packages=(
    chromium
    docker.io
    fonts-dejavu-core
    iptables
    make
    mmdebstrap
    prometheus # with promtool
    python3-venv
    redis-server
)

export DEBIAN_FRONTEND=noninteractive
missing=()
command -v npm >/dev/null 2>&1 || packages+=(npm) # Grafana's types; a Node.js from elsewhere brings its own
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

# Docker's compose and buildx are packages since trixie, and kubectl renders our overlays since then. Before, they are taken out
# of trixie's, which this system's own mirror has, too; apt checks their signatures in folders of its own, so that nothing else
# of this system comes from there.
unpack_of_trixie() {
    local folder=$1 mirror
    shift
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" >"$folder/sources.list"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    local apt=(apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$folder/lists"
        -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$folder" && "${apt[@]}" download "${@/%//trixie}")
    for package in "$folder"/*.deb; do dpkg-deb --extract "$package" "$folder/root"; done
}

wanted=()
docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 || wanted+=(docker-buildx docker-compose)
command -v kubectl >/dev/null 2>&1 || wanted+=(kubectl)
if [ "${#wanted[@]}" -gt 0 ]; then
    if apt-cache show docker-buildx >/dev/null 2>&1; then
        apt-get install -y -qq --no-install-recommends docker-cli "${wanted[@]}" >/dev/null
    else
        folder=$(mktemp -d)
        unpack_of_trixie "$folder" "${wanted[@]}"
        mkdir -p /usr/local/lib/docker/cli-plugins
        find "$folder/root" -path '*/cli-plugins/docker-*' -type f -exec install -m 755 -t /usr/local/lib/docker/cli-plugins {} +
        find "$folder/root" -path '*/bin/kubectl' -type f -exec install -m 755 -t /usr/local/bin {} +
        rm -r "$folder"
    fi
fi
