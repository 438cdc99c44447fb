#!/bin/sh
# packages.sh LIST...: installs the Debian packages that files name, one a line, unless they are there. A machine that is
# not Debian, or a user who is not root, is told what is missing.
set -eu

is_there() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q ' installed$'; }

missing=
packages=$(grep -hv '^#' "$@")
for package in $packages; do
  case $package in # Debian 13 renamed a library
    libarchive13) is_there libarchive13t64 && continue ;;
  esac
  is_there "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "setup: missing packages:$missing" >&2
  echo "setup: install them (as root on Debian: apt-get install --no-install-recommends$missing) and run this again" >&2
  exit 1
fi
echo "setup: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; echo "setup: failed: $*" >&2; exit 1; }; }
quietly apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
quietly env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
