#!/usr/bin/env bash
# Makes .venv with the pinned versions. Honours PYTHON; otherwise takes the first Python 3.11 or newer.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-}
for candidate in python3.11 python3 python3.12 python3.13; do
  [ -n "$python" ] && break
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
  fi
done
[ -n "$python" ] || { echo "Bascule needs Python 3.11 or newer: install it, or set PYTHON" >&2; exit 1; }
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "» installing python3-venv (Debian splits it off)"
  apt-get install -y -qq python3-venv >/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; }
fi
echo "» making .venv with $("$python" --version) and the versions of constraints.txt"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
