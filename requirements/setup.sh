#!/bin/sh
# setup.sh VENV: what a fresh Debian machine needs: packages by apt, then a virtual environment from the locked list.
set -eu
venv=$1
here=$(dirname "$0")

"$here/packages.sh" "$here/apt.txt"

rm -rf "$venv" # first: it is on make's PATH, and would be found as the newest
# the newest Python that is here: pyenv's, then the system's
python=$(
  for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9].*/bin/python /usr/bin/python3.1[1-9] "$(command -v python3)"; do
    [ -x "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; print("%d.%03d" % sys.version_info[:2], sys.executable)' 2>/dev/null
  done | sort -r | head -n 1 | cut -d' ' -f2
)
[ -n "$python" ] || { echo "setup: no Python 3.11 or newer with venv" >&2; exit 1; }
echo "setup: virtual environment with $("$python" --version) from $python"
"$python" -m venv "$venv"
if command -v uv >/dev/null; then
  uv pip install --quiet --python "$venv/bin/python" --require-hashes -r "$here/dev.txt"
else
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/dev.txt"
fi
touch "$venv/.ready"
