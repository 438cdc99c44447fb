"""What a gateway does without, and what may listen on it."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems
from gatewright.published import published

OWNER = kinds.matching(r"[!-~]([ -~]{0,30}[!-~])?", "the name of a program")
"""A program as the kernel names the owner of a socket."""
_SOCKET_KEYS = {"proto": kinds.choice("tcp", "udp"), "port": kinds.port, "owner": OWNER, "address": kinds.address}
SOCKET = kinds.record(_SOCKET_KEYS, needed=["proto", "port", "owner"])
"""A socket of a role's that may be there."""
_socket = kinds.record(_SOCKET_KEYS, needed=["proto", "owner"])


def _allowed(problems: Problems, where: str, value: Any) -> None:
    """A socket of the site's. Without a port it is a program's on loopback, which takes any."""
    before = len(problems.found)
    _socket(problems, where, value)
    if len(problems.found) > before or value.get("port") is not None:
        return
    address = value.get("address")
    if address is None or not ipaddress.ip_address(str(address)).is_loopback:
        problems.add(where, "needs port, or an address of loopback, where a program may take any port")


# Packages without which no host boots, is logged in to, or is managed; what needs one of them is purged with it.
_BASE = re.compile(
    r"adduser|apt|base-(files|passwd)|bash|bsdutils|coreutils|dash|dbus(-bin|-daemon|-system-bus-common)?|debconf"
    r"|debian-archive-keyring|debianutils|diffutils|dpkg|e2fsprogs|findutils|gcc-\d+-base|gpgv|grep|grub-.*|gzip|hostname"
    r"|ifupdown2?|init|initramfs-tools(-.*)?|init-system-helpers|iproute2|kmod|login(\.defs)?|lsb-base|mawk|mount"
    r"|ncurses-(base|bin)|netbase|openssh-(client|server|sftp-server)|passwd|perl|perl-base|procps"
    r"|python3(\.\d+)?(-minimal)?|python3-apt|sed|sudo|systemd(-sysv)?|sysvinit-utils|tar|tzdata"
    r"|udev|util-linux(-extra)?|zlib1g|linux-image-.*|lib(acl1|apt-pkg.*|attr1|audit.*|c6|c-bin|cap2|crypt1|gcc-s1|pam.*"
    r"|python3.*|seccomp2|selinux1|ssl3.*|stdc\+\+6|systemd.*|udev1|zstd1)"
)
_OWN = re.compile(r"gatewright(-.*)?")
_UNITS = ("service_trimming_units", "service_trimming_mta_units", "service_trimming_extra_units")


def check(site: Site, problems: Problems) -> None:
    """A gateway does not go without what its roles need: nobody could log in any more, or no mail would go."""
    units = {str(unit): role for role, unit in published(site, "units")}
    trimmed = [entry for variable in _UNITS for entry in site.texts(variable)]
    for kind in ("trimmed_units", "replaced_units"):
        trimmed += [(f"{role}__{kind} ({unit})", str(unit)) for role, unit in published(site, kind)]
    for place, name in trimmed:
        if role := units.get(name) or units.get(name.partition("@")[0]):
            problems.add(place, f"role {role} needs this unit running: it cannot be trimmed")
    # units too, as many a package has the name of its unit; the survey checks those that depend on facts
    packages = units | {str(package): role for role, package in published(site, "packages")}
    extra = {name: place for place, name in site.texts("foundation_extra_packages")}
    for place, name in site.texts("service_trimming_purged_packages"):
        if name in packages:
            problems.add(place, f"role {packages[name]} needs this package: it cannot be purged")
        elif _BASE.fullmatch(name):
            problems.add(
                place, "is a package of Debian's base, without which the host does not work: leave it away here"
            )
        elif _OWN.fullmatch(name):
            problems.add(place, "is a package of Gatewright's own: remove.yml takes it from a host, not this list")
        elif name in extra:
            problems.add(place, f"would be installed and purged by each run: it is {extra[name]} too")


CHAPTER = Chapter(
    options={
        "service_trimming_units": kinds.listed(kinds.unit),
        "service_trimming_mta_units": kinds.listed(kinds.unit),
        "service_trimming_extra_units": kinds.listed(kinds.unit),
        "service_trimming_purged_packages": kinds.listed(kinds.package),
        "service_trimming_allowed_sockets": kinds.listed(_allowed),
    },
    check=check,
)
