#!/usr/bin/env bash
# Makes .venv in this folder with everything that the targets of the Makefile need. Runs as any user; needs Python 3.11+.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

"$python" - <<'CHECK'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Python {sys.version.split()[0]} is too old: VDMini needs 3.11 or later. Set PYTHON=/path/to/python3.11")
CHECK

if command -v uv >/dev/null 2>&1; then
    uv=(uv)
    [ -x .venv/bin/python ] || uv venv --quiet --python "$python" .venv
else
    [ -x .venv/bin/python ] || "$python" -m venv .venv || {
        echo "python3-venv is missing: install it (Debian: apt-get install python3-venv) or install uv" >&2
        exit 1
    }
    [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
    uv=(.venv/bin/uv)
fi

# Where the machine has certificates of its own, as behind a proxy that inspects TLS, uv shall trust what pip trusts.
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"

# A folder of wheels that the environment names comes first; elsewhere uv picks the CPU or CUDA build of torch itself.
options=(--python .venv/bin/python --constraint constraints.txt --compile-bytecode --quiet)
if [ -n "${PIP_FIND_LINKS:-}" ]; then
    options+=(--find-links "$PIP_FIND_LINKS")
else
    options+=(--torch-backend=auto)
fi
"${uv[@]}" pip install "${options[@]}" --editable ".[dev]"
touch .venv/.ready
