#!/usr/bin/env bash
# Makes .checkov/, an environment of its own for checkov, whose libraries' versions do not agree with ours.
set -euo pipefail
cd "$(dirname "$0")/.."
version=3.3.30
[ ! -e ".checkov/$version" ] || exit 0
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
uv=$(command -v uv || echo .venv/bin/uv)
"$uv" venv --quiet --clear --python "${PYTHON:-python3}" .checkov
"$uv" pip install --quiet --compile-bytecode --python .checkov/bin/python "checkov==$version"
touch ".checkov/$version"
