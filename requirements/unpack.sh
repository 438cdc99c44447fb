#!/bin/sh
# unpack.sh FOLDER PACKAGE...: Debian packages and what they need, unpacked below a folder for tests to run, once. They are
# not installed: daemons would start then, and listen on this machine. Where that cannot be done it says so, and no more.
set -eu
folder=$1
shift
[ ! -d "$folder" ] || exit 0
archives=$folder.archives
trap 'rm -rf "$archives"' EXIT
rm -rf "$archives"
mkdir -p "$archives/partial"
download() {
  apt-get -qq -y --download-only -o Dir::Cache::archives="$archives" -o Debug::NoLocking=1 \
    install --no-install-recommends "$@" >"$archives/log" 2>&1
}
download "$@" || { apt-get -qq update >/dev/null 2>&1 && download "$@"; } || {
  echo "setup: not to be had: $*; their tests are left out" >&2
  exit 0
}
for archive in "$archives"/*.deb; do
  case $archive in */libc6_*) continue ;; esac # a newer one than the machine's own loader fits no program
  [ ! -e "$archive" ] || dpkg-deb -x "$archive" "$archives/root" # none: they are installed
done
mkdir -p "$archives/root"
mv "$archives/root" "$folder"
