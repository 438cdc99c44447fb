#!/bin/sh
# setup.sh VENV: what a fresh Debian machine needs: packages by apt, then a virtual environment from the locked list.
# A machine that is not Debian, or a user who is not root, is told what is missing.
set -eu
venv=$1
here=$(dirname "$0")

packages=$(grep -v '^#' "$here/apt.txt")
missing=
for package in $packages; do
  dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done
# Debian 13 renamed a library; its package provides the old name under a new one
case "$missing" in *" libarchive13"*) dpkg-query -W libarchive13t64 >/dev/null 2>&1 && missing=$(echo "$missing" | sed 's/ libarchive13//') ;; esac
if [ -n "$missing" ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "setup: missing packages:$missing" >&2
    echo "setup: install them (as root on Debian: apt-get install --no-install-recommends$missing) and run this again" >&2
    exit 1
  fi
  echo "setup: installing$missing"
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi

# the newest Python that is here: pyenv's, then the system's
python=$(
  for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9].*/bin/python /usr/bin/python3.1[1-9] "$(command -v python3)"; do
    [ -x "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; print("%d.%03d" % sys.version_info[:2], sys.executable)' 2>/dev/null
  done | sort -r | head -n 1 | cut -d' ' -f2
)
[ -n "$python" ] || { echo "setup: no Python 3.11 or newer with venv" >&2; exit 1; }
echo "setup: virtual environment with $("$python" --version) from $python"
rm -rf "$venv"
"$python" -m venv "$venv"
if command -v uv >/dev/null; then
  uv pip install --quiet --python "$venv/bin/python" --require-hashes -r "$here/dev.txt"
else
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/dev.txt"
fi
touch "$venv/.ready"
