#!/bin/sh
# packages.sh LIST: installs the Debian packages that a file names, one a line, unless they are there. A machine that is
# not Debian, or a user who is not root, is told what is missing.
set -eu

missing=
packages=$(grep -v '^#' "$1")
for package in $packages; do
  dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done
# Debian 13 renamed a library; its package provides the old name under a new one
case "$missing" in *" libarchive13"*) dpkg-query -W libarchive13t64 >/dev/null 2>&1 && missing=$(echo "$missing" | sed 's/ libarchive13//') ;; esac
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "setup: missing packages:$missing" >&2
  echo "setup: install them (as root on Debian: apt-get install --no-install-recommends$missing) and run this again" >&2
  exit 1
fi
echo "setup: installing$missing"
apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
