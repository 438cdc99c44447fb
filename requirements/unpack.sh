#!/bin/sh
# unpack.sh FOLDER PACKAGE...: Debian packages and what they need, unpacked below a folder for tests to run, once, and again
# when the list is another. They are not installed: daemons would start then, and listen on this machine. Where that cannot be
# done it says so, leaves what is there, and no more.
set -eu
case $1 in /*) folder=$1 ;; *) folder=$PWD/$1 ;; esac # apt's own folder counts for it otherwise
shift
[ "$(cat "$folder/packages" 2>/dev/null)" != "$*" ] || exit 0
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
mkdir "$archives/root"
for archive in "$archives"/*.deb; do
  case ${archive##*/} in
    libc6_*) continue ;; # a newer one than the machine's own loader fits no program
    perl_* | perl-base_* | perl-modules-* | libperl5*) continue ;; # the machine has its own
  esac
  [ ! -e "$archive" ] || dpkg-deb -x "$archive" "$archives/root" # none: they are installed
done
for what in doc fonts javascript locale man; do rm -rf "$archives/root/usr/share/$what"; done # no test's
echo "$*" >"$archives/root/packages"
rm -rf "$folder"
mv "$archives/root" "$folder"
