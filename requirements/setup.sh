#!/bin/sh
# setup.sh VENV: the virtual environment of the controller, from the locked list; nothing to do where it is up to date.
set -eu
venv=$1
here=$(dirname "$0")

wanted=$(sha256sum < "$here/dev.txt")
if [ "$(cat "$venv/.ready" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

rm -rf "$venv" # first: it is on PATH, and would be found as the newest
# the newest Python that is here: pyenv's, then the system's
python=$(
  for candidate in "${PYENV_ROOT:-${HOME:-/root}/.pyenv}"/versions/3.1[1-9].*/bin/python /usr/bin/python3.1[1-9] "$(command -v python3)"; do
    [ -x "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; print("%d.%03d" % sys.version_info[:2], sys.executable)' 2>/dev/null
  done | sort -r | head -n 1 | cut -d' ' -f2
)
[ -n "$python" ] || { echo "setup: no Python 3.11 or newer with venv" >&2; exit 1; }
echo "setup: virtual environment with $("$python" --version) from $python"
"$python" -m venv "$venv"
if command -v uv >/dev/null; then
  uv pip install --quiet --python "$venv/bin/python" --require-hashes -r "$here/dev.txt"
elif ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/dev.txt"; then
  echo "setup: pip could not install requirements/dev.txt. Behind a proxy or an authority of your own, set" >&2
  echo "setup: HTTPS_PROXY, PIP_INDEX_URL or PIP_CERT (a file of certificates) and run this again." >&2
  exit 1
fi
echo "$wanted" > "$venv/.ready"
