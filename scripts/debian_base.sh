#!/usr/bin/env bash
# Makes a small Debian with Python as a tar for `docker import`: the base image of tests, and of sites without a registry.
#   scripts/debian_base.sh base.tar [bookworm] && docker import base.tar debian-python && export BASE_IMAGE=debian-python
# It has this machine's certificates, so that builds trust what this machine trusts. Runs as root; needs mmdebstrap.
set -euo pipefail
target=$1 suite=${2:-bookworm}

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' "Codename: $suite" | head -n 1)
certificates=/etc/ssl/certs/ca-certificates.crt
options=(
    --quiet --mode=root --variant=minbase
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr # or perl comes along to merge it
    --include=usr-is-merged,ca-certificates,python3-minimal,python3-venv
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"'
    --dpkgopt=force-unsafe-io
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
)
[ ! -e "$certificates" ] || options+=(--customize-hook="upload $certificates $certificates")
mmdebstrap "${options[@]}" "$suite" "$target" "${mirror:-http://deb.debian.org/debian}"
