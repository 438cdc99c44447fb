"""A lab with no route to the internet: its name server is a package mirror, and the sources lie in a folder.

Only the host `dns` has an uplink. What the gateways install comes through its proxy; what they build comes from the
controller's folder of archives.
"""

from __future__ import annotations

from pathlib import Path

from lab.artifacts import ARCHIVES, is_standin_in_use
from lab.hosts import execute
from lab.machine import LabError, run
from lab.topology import Host

PROXY_PORT = 3142
# Debian carries daemontools and ucspi-tcp as their author packed them, and djbdns packed again.
SOURCES = {
    "daemontools": "daemontools_0.76.orig.tar.gz",
    "ucspi-tcp": "ucspi-tcp_0.88.orig.tar.gz",
    "djbdns": "djbdns_1.05.orig.tar.gz",
}
# The two other releases of qmail, which no mirror of Debian's has.
RELEASES = ("qmail-1.03", "netqmail-1.06")
SOURCES_DIRECTORY = "/var/lib/lab-sources"
# Only the original archive is asked for. The lists go to a place of their own: the host's sources stay as they are.
FETCH = """
set -e
mkdir -p {directory}/lists/partial {directory}/archives
cd {directory}/archives
sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > ../sources.list
apt='apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::sourcelist={directory}/sources.list'
apt="$apt -o Dir::Etc::sourceparts=- -o Dir::State::lists={directory}/lists"
$apt update
$apt source --download-only --tar-only {packages}
"""


def missing_sources() -> list[str]:
    """Debian's source packages whose original archive is not in the folder yet."""
    return [package for package, archive in SOURCES.items() if not (ARCHIVES / archive).is_file()]


def fetch_sources(mirror: Host) -> None:
    """Put the originals in Debian's source packages into the folder of archives; roles prove them by their pins."""
    packages = missing_sources()
    if not packages:
        return
    execute(mirror, "sh", "-c", FETCH.format(directory=SOURCES_DIRECTORY, packages=" ".join(packages)))
    for package in packages:
        copied = Path(ARCHIVES / f".{SOURCES[package]}")
        run("podman", "cp", f"{mirror.container}:{SOURCES_DIRECTORY}/archives/{SOURCES[package]}", str(copied))
        copied.replace(ARCHIVES / SOURCES[package])


def warn_of_missing_releases() -> None:
    """Say loudly which release of qmail the paper's way has to do without, and what is built in its place."""
    instead = "its stand-in for qmail" if is_standin_in_use() else "notqmail-1.09"
    for release in RELEASES:
        if not any(ARCHIVES.glob(f"{release}.tar.*")):
            print(f"*** No archive of {release} in $GATEWRIGHT_ARTIFACTS: the lab builds {instead} instead. ***")


def serve_packages(mirror: Host) -> None:
    """Start the package mirror: a proxy with a cache, by which hosts with no uplink reach their own sources."""
    execute(mirror, "systemctl", "start", "apt-cacher-ng.service")


def use_mirror(host: Host, mirror: Host) -> None:
    """Point a host's apt to the lab's mirror, as its installer would, and fetch the lists to prove that it answers."""
    line = f'Acquire::http::Proxy "http://{mirror.ipv4}:{PROXY_PORT}";\n'
    execute(host, "sh", "-c", "cat > /etc/apt/apt.conf.d/50mirror && apt-get update -qq", input_text=line)


def check(host: Host) -> None:
    """Raise LabError when a host has a way out of the lab."""
    for family in ("-4", "-6"):
        if execute(host, "ip", family, "route", "show", "default").strip():
            raise LabError(f"{host.name} has a default route: the lab stands on a network that is not internal")


def furnish(hosts: list[Host]) -> None:
    """Make the hosts that are up a lab that needs no internet; raise LabError where one of them still reaches it."""
    mirror = next(host for host in hosts if host.name == "dns")
    fetch_sources(mirror)
    warn_of_missing_releases()
    serve_packages(mirror)
    for host in hosts:
        if host != mirror:
            check(host)
        if host.image == "gateway":
            use_mirror(host, mirror)
