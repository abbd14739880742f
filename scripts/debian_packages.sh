#!/usr/bin/env bash
# Installs the Debian packages that the tests of deployments and of the page need. Runs as root; CI runs it.
set -euo pipefail

packages=(
    docker.io
    iptables
    make
    mmdebstrap
    prometheus
    python3-venv
    redis-server
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

# Docker's compose and buildx: packages since trixie. Before, they are taken out of trixie's, which this system's own mirror has, too;
# apt checks their signatures in folders of its own, so that nothing else of this system comes from there.
plugins_of_trixie() {
    local folder mirror
    folder=$(mktemp -d)
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" >"$folder/sources.list"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" /usr/local/lib/docker/cli-plugins
    local apt=(apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$folder/lists"
        -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$folder" && "${apt[@]}" download docker-compose/trixie docker-buildx/trixie)
    for package in "$folder"/*.deb; do dpkg-deb --extract "$package" "$folder/root"; done
    find "$folder/root" -path '*/cli-plugins/docker-*' -type f -exec install -m 755 -t /usr/local/lib/docker/cli-plugins {} +
    rm -r "$folder"
}

if ! docker compose version >/dev/null 2>&1 || ! docker buildx version >/dev/null 2>&1; then
    if apt-cache show docker-buildx >/dev/null 2>&1; then
        apt-get install -y -qq --no-install-recommends docker-buildx docker-cli docker-compose >/dev/null
    else
        plugins_of_trixie
    fi
fi
