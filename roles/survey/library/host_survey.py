#!/usr/bin/python
"""Look at a host as it is before the first change, and tell all at once what would stop the run or harm the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_survey
short_description: Look at a host before the first change, and name everything that stands in the way
description:
  - Reads what a host has (firewalls, listening sockets, accounts, another qmail, packages, apt's sources and proxies,
    space, memory, time, name, sshd's port and keys, what name servers it reaches, which release built it)
    and compares it with what the run will make of it.
  - Fails with one list of sentences, each with what is wrong, where, and what to do. Changes nothing.
  - Where it does not fail, and in no check, it lets nobody ban the controller and C(administrators) for an hour, in
    C(steering), of which fail2ban asks /usr/local/lib/gatewright/steers. So a mistake with a key or a
    password shuts out neither the run itself nor whoever has to mend it.
  - What is no obstacle is a warning.
options:
  wanted:
    description: What the run is going to make of the host; see C(Wanted) in the module.
    type: dict
    required: true
  accept:
    description: Kinds of obstacles that are to be warnings, such as C(mirror) or C(clock); C(all) of them.
    type: list
    elements: str
    default: []
  administrators:
    description: Networks that are not banned while the run may last.
    type: list
    elements: str
    default: []
  steering:
    description: Where that is written.
    type: path
    default: /run/gatewright/steering
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Look at the host
  host_survey:
    wanted: {packages: [chrony], name: gw1.example.org}
"""

RETURN = r"""
problems: {description: "Obstacles, C(kind: sentence) each.", type: list, elements: str, returned: always}
remarks: {description: "What is no obstacle, in the same form.", type: list, elements: str, returned: always}
untouched:
  description: >-
    Digests of tasks for which everything is as their module left it (M(file_set) and others), each with what the module
    answers then. None where packages come or go in this run, as these may bring files of their own.
  type: dict
  returned: always
untrimmed:
  description: Of the names in C(masked), those of which a unit is not masked, or runs.
  type: list
  elements: str
  returned: where no package comes or goes in this run, and systemd says
running:
  description: Of the units that roles keep running, those that run, are started at boot, and run by the present files.
  type: list
  elements: str
  returned: where no package comes or goes in this run
answers:
  description: By name, what the command of each question printed; those that failed are left out.
  type: dict
  returned: where no package comes or goes in this run
due:
  description: By name, what the program of each of C(settles) would do; without those that failed or do not tell.
  type: dict
  returned: where no package comes or goes in this run
proved:
  description: Whether names resolve, and no file has changed since the last proof (M(gateway_proof)).
  type: bool
  returned: where no package comes or goes in this run
host:
  description: >-
    What later roles need to know: C(package_ports) (of apt's sources and proxies), C(ssh_port) (by which this run came
    in; 0 if unknown), C(controller) (its address), C(missing) (packages to install), C(has_fresh_lists),
    C(has_python_apt), C(has_old_resolv_conf), C(tables) (of other firewalls, C(family name)), C(users), C(groups) and
    C(primary_groups) (of the wanted names that are there, with their numbers), C(builds) (Gatewright's own packages,
    name to version).
  type: dict
  returned: always
"""

import contextlib
import dataclasses
import glob
import grp
import ipaddress
import json
import os
import pwd
import re
import shutil
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.on_gateway import listeners, logins, proof, stat_cache, trimming, units

MB = 1_000_000
BUILD_SPACE = 800 * MB
"""Bytes that a throwaway root with a compiler takes, with what is unpacked for it."""
RUN_SPACE = 300 * MB
"""Bytes that the packages of a gateway take."""
LEAST_MEMORY = 150 * MB
"""Bytes of memory and swap without which neither a compiler nor the scanner ends its work."""
GOOD_MEMORY = 900 * MB
FRESH_LISTS = 3600
"""Seconds for which apt's package lists are taken as they are."""
SECONDS = 3.0
"""Seconds that a server gets to answer."""
CLOCK_WARNING, CLOCK_WRONG = 60, 6 * 3600
"""Seconds between this host's clock and the controller's."""
PULL = "gatewright-pull.service"
"""By which a gateway applies its repository to itself."""
COMMAND_SECONDS = 60
STEERING_SECONDS = 3600
"""For how long fail2ban lets be who steers."""
BUILD_PLACE = Path("/var/lib/gatewright")
RELEASE = BUILD_PLACE / "gatewright_release"
QMAIL = Path("/var/qmail")
QUEUE_OWNER = "qmailq"
"""To whom messages in qmail's queue belong."""
FIREWALL_PACKAGES = ("ufw", "firewalld", "ferm", "shorewall", "iptables-persistent", "netfilter-persistent")
OUR_TABLES = ("inet gatewright", "inet f2b-table")
"""Ours, and fail2ban's, which the role hardening sets up."""
MTA_OWNERS = frozenset(
    {"exim4", "master", "sendmail", "sendmail-mta", "smtpd", "msmtpd", "nullmailer-send", "courierd"}
)
RESOLVER_OWNERS = frozenset({"systemd-resolve"})
REPLACED_OWNERS = MTA_OWNERS | RESOLVER_OWNERS
"""Programs whose place ours take."""
STATES = {"U": "unpacked, not configured", "F": "half configured", "H": "half installed", "W": "triggers awaited"}
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*")
STOPS = frozenset({"drop", "reject", "queue", "vmap", "xt", "synproxy"})
"""Statements of a rule that may stop a packet; xt is what iptables made and nft cannot read."""


# What is there, and what is to be


@dataclass(frozen=True)
class Chain:
    """A base chain of nftables; can_stop: whether it, or a chain that it leads to, may drop a packet."""

    table: str
    name: str
    hook: str
    policy: str
    can_stop: bool


@dataclass(frozen=True)
class Socket:
    """A listening socket; unit and package are empty where they are not known."""

    proto: str
    address: str
    port: int
    owner: str
    unit: str = ""
    package: str = ""

    @property
    def listener(self) -> listeners.Listener:
        """The same, as declarations are compared with it."""
        return self.proto, self.address, self.port, self.owner

    @property
    def is_local(self) -> bool:
        """Whether only the host itself reaches it."""
        return ipaddress.ip_address(self.address).is_loopback if self.address != "*" else False


@dataclass(frozen=True)
class Release:
    """Which release of Gatewright built the host; migrations: by name, what an older one loses of its state."""

    number: str = ""
    migrations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Host:
    """What was found. Sizes in bytes, times in seconds; lists_age: of apt's lists, None if there are none.

    configured: packages that were removed and left their configuration; automatic: those that came for another's sake;
    unknown: wanted ones of which apt's fresh lists have nothing. queued: messages in qmail's queue, by owner.
    """

    name: str = ""
    chains: tuple[Chain, ...] = ()
    legacy: tuple[str, ...] = ()
    sockets: tuple[Socket, ...] = ()
    hidden: frozenset[str] = frozenset()
    users: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    installed: Mapping[str, str] = field(default_factory=dict)
    unfinished: Mapping[str, str] = field(default_factory=dict)
    configured: frozenset[str] = frozenset()
    automatic: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    units: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()
    mtas: frozenset[str] = frozenset()
    has_qmail: bool = False
    queued: Mapping[int, int] = field(default_factory=dict)
    controller: str = ""
    is_pulling: bool = False
    ssh_port: int = 0
    login: str = ""
    has_key: bool = True
    key_files: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    reached: tuple[str, ...] | None = None
    lists_age: float | None = 0
    has_python_apt: bool = True
    free: int = 10**12
    runs_programs: bool = True
    memory: int = 10**12
    clock_off: float = 0
    servers: tuple[str, ...] | None = None
    resolvers: tuple[str, ...] = ()
    resolving: tuple[str, ...] = ()
    has_old_resolv_conf: bool = False
    release: Release = Release()

    @property
    def package_ports(self) -> list[int]:
        """TCP ports of apt's sources and proxies."""
        return sorted({port_of(address) for address in (*self.proxies, *self.sources)} - {0})

    @property
    def has_fresh_lists(self) -> bool:
        """Whether apt knows today's packages."""
        return is_fresh(self.lists_age)


@dataclass(frozen=True)
class Wanted:
    """What the run is going to make of the host, by the variables of the same meaning.

    masked: names of units that are to be masked. units: names of units that roles keep running. listeners: programs of
    roles' services. questions: by name, a shell command whose output a role asks for. settles: by name, a command that
    prints what a program of the host's would do.
    """

    name: str = ""
    packages: Sequence[str] = ()
    purged: Sequence[str] = ()
    masked: Sequence[str] = ()
    units: Sequence[str] = ()
    questions: Mapping[str, str] = field(default_factory=dict)
    settles: Mapping[str, str] = field(default_factory=dict)
    sockets: Sequence[Mapping[str, Any]] = ()
    listeners: Sequence[str] = ()
    users: Sequence[Mapping[str, Any]] = ()
    groups: Sequence[Mapping[str, Any]] = ()
    adopt_accounts: bool = False
    builds: Sequence[str] = ()
    other_firewalls: str = "refuse"
    accepted_tables: Sequence[str] = ()
    admin_networks: Sequence[str] = ()
    ssh_port: int = 22
    ssh_port_is_said: bool = True
    key_files: Sequence[str] = (".ssh/authorized_keys",)
    needs_key: bool = True
    login: str = ""
    name_servers: Sequence[str] = ()
    forward_only: bool = False
    time: float = 0
    release: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """What stands in the way (or does not: is_remark), in a sentence that says what to do."""

    kind: str
    text: str
    is_remark: bool = False

    def __str__(self) -> str:
        """As it is shown."""
        return f"{self.kind}: {self.text}"


def is_fresh(age: float | None) -> bool:
    """Whether apt's lists of this age are taken as they are."""
    return age is not None and age < FRESH_LISTS


def port_of(address: str) -> int:
    """The TCP port of an address that apt uses; 0 for one that is no network's."""
    found = re.match(r"(https?)://(?:[^/@]*@)?(?:\[[^]]*\]|[^/:]*)(?::(\d+))?", address)
    return 0 if not found else int(found[2] or (443 if found[1] == "https" else 80))


def host_of(address: str) -> str:
    """The host of such an address."""
    found = re.match(r"https?://(?:[^/@]*@)?(?:\[([^]]*)\]|([^/:]*))", address)
    return (found[1] or found[2]) if found else ""


def several(items: Iterable[object]) -> str:
    """Items in a sentence."""
    return ", ".join(map(str, items))


# What stands in the way: each takes the host and what is wanted


def other_firewalls(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """Rules of others that go on dropping what ours let through."""
    if wanted.other_firewalls == "ignore":
        return
    yield from (
        Finding("firewall", f"rules of legacy iptables are in force ({table} tables): remove them, and what loads them")
        for table in host.legacy
    )
    if wanted.other_firewalls == "remove":
        return
    packages = [name for name in FIREWALL_PACKAGES if name in host.installed]
    if packages:
        advice = "remove it, or set firewall_other_firewalls to remove (packages and their rules) or ignore"
        yield Finding("firewall", f"another firewall is installed: {several(packages)}; {advice}")
    chains = foreign_chains(host, wanted)
    for table in dict.fromkeys(chain.table for chain in chains):
        names = [f"{item.name} (hook {item.hook}, policy {item.policy})" for item in chains if item.table == table]
        yield Finding(
            "firewall",
            f"table {table} of somebody else's is in force and would go on dropping what Gatewright's lets through:"
            f" {several(names)}. Remove it, and what loads it, or set firewall_other_firewalls to remove;"
            f" if it may stay, put {table!r} into firewall_accepted_tables",
        )


def foreign_chains(host: Host, wanted: Wanted) -> list[Chain]:
    """Base chains that are neither ours nor accepted, and that may stop a packet."""
    known = (*OUR_TABLES, *wanted.accepted_tables)
    return [chain for chain in host.chains if chain.can_stop and chain.table not in known]


def undeclared_sockets(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """Sockets that nobody declared, and that the run would not close."""
    for item in host.sockets:
        if is_declared(item, host, wanted.sockets) or will_go(item, wanted):
            continue
        what = f"{item.proto} {item.address} {item.port} {item.owner}"
        where = several(word for word in (item.unit, item.package and f"package {item.package}") if word)
        if item.owner == listeners.HIDDEN:
            yield Finding("socket", f"{what}: nobody declared it; whose it is cannot be seen here", is_remark=True)
            continue
        entry = f"proto: {item.proto}, port: {item.port}, owner: {item.owner}"
        if item.is_local:
            entry = f"proto: {item.proto}, owner: {item.owner}, address: {item.address}"
        yield Finding(
            "socket",
            f"{what}{f' ({where})' if where else ''} listens, and nobody declared it. Stop it, name its unit in"
            f" service_trimming_extra_units, or declare it in service_trimming_allowed_sockets: {{{entry}}}",
        )


def is_declared(item: Socket, host: Host, declared: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a declaration covers a socket; one without a port covers any on its loopback address."""
    return any(listeners.covers(one, item.listener, host.hidden) for one in declared)


def will_go(item: Socket, wanted: Wanted) -> bool:
    """Whether the run closes a socket, or its role sees to it: of a unit that is trimmed, a package that is purged, a
    program that ours replaces, or one of ours, at which the run looks again at its end.
    """
    if listeners.is_dhcp_client(item.listener):
        return True  # the host's address comes so
    if item.owner in {*REPLACED_OWNERS, *wanted.listeners} or (item.port == 25 and item.owner == listeners.HIDDEN):
        return True
    return item.unit.rpartition(".")[0] in wanted.masked or item.package in wanted.purged


def clashing_accounts(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """Users and groups that have other numbers here, and numbers that others have."""
    kinds: tuple[tuple[Literal["user", "group"], str, Sequence[Mapping[str, Any]], Mapping[str, int]], ...] = (
        ("group", "gid", wanted.groups, host.groups),
        ("user", "uid", wanted.users, {name: ids[0] for name, ids in host.users.items()}),
    )
    for kind, key, accounts, present in kinds:
        names = {number: name for name, number in present.items()}
        for account in accounts:
            name, number = str(account["name"]), int(account[key])
            if name in present and present[name] != number:
                text = f"{kind} {name} has the number {present[name]} here, and {number} in the inventory"
                advice = "take the host's (foundation_adopt_accounts: true), or remove the account if nothing uses it"
                yield Finding("account", f"{text}; {advice}", is_remark=wanted.adopt_accounts)
            elif name not in present and number in names:
                yield Finding(
                    "account",
                    f"{kind} {name} is to have the number {number}, which is {names[number]}'s here. Give {name}"
                    f" another one in the inventory ({free_number(number, present.values())} is free), or remove"
                    f" {names[number]}",
                )


def free_number(after: int, taken: Iterable[int]) -> int:
    """The next number that nobody has."""
    numbers = set(taken)
    return next(number for number in range(after + 1, 2**31) if number not in numbers)


def former_qmail(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """A qmail that Gatewright did not install, with which its own would mix, or mail that one left."""
    if not must_build(host, wanted):
        return
    own = {int(account["uid"]) for account in wanted.users if account["name"] == QUEUE_OWNER}
    if wanted.adopt_accounts and QUEUE_OWNER in host.users:
        own = {host.users[QUEUE_OWNER][0]}
    waiting = sum(count for owner, count in host.queued.items() if host.has_qmail or owner not in own)
    mail = f" Messages that wait in its queue: {waiting}; let it send them first." if waiting else ""
    if host.has_qmail or waiting:
        yield Finding(
            "qmail",
            f"{QMAIL} is a qmail's that Gatewright did not install.{mail} Stop its services, take their links out of"
            " /service, and move the folder away; what is to stay of its control files goes into the inventory",
        )


def way_back_in(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """What would keep whoever runs this from coming again."""
    if host.controller and wanted.admin_networks:
        address = ipaddress.ip_address(host.controller)
        if not any(address in ipaddress.ip_network(item, strict=False) for item in wanted.admin_networks):
            yield Finding(
                "ssh",
                f"this run comes from {host.controller}, which is in none of firewall_admin_networks"
                f" ({several(wanted.admin_networks)}): the firewall would shut it out. Add its network",
            )
    if host.ssh_port and host.ssh_port != wanted.ssh_port:
        if wanted.ssh_port_is_said:
            text = f"sshd moves from port {host.ssh_port} to {wanted.ssh_port} (sshd_port)"
            yield Finding("ssh", text, is_remark=True)
        else:
            yield Finding(
                "ssh",
                f"this run came in by port {host.ssh_port}, and the inventory does not say sshd_port, which is"
                f" {wanted.ssh_port} then. Set sshd_port to {host.ssh_port} to stay there, or to {wanted.ssh_port}"
                " to move",
            )
    if wanted.needs_key and not host.has_key:
        yield Finding(
            "ssh",
            f"{host.login} has no authorized key in {several(wanted.key_files)}: logins by password end, so nobody"
            f" could log in again.{where_keys_are(host)} Put a key there, or name its place in"
            " sshd_authorized_keys_files",
        )


def where_keys_are(host: Host) -> str:
    """What sshd says now of the place of keys."""
    return f" sshd reads them from {several(host.key_files)} now." if host.key_files else ""


def packages(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """What would stop dpkg and apt."""
    if host.unfinished:
        states = several(f"{name} ({state})" for name, state in sorted(host.unfinished.items()))
        yield Finding("package", f"dpkg has not finished: {states}. Run dpkg --configure -a, then apt-get -f install")
    stuck = {name for name in (*wanted.purged, *host.mtas, *firewalls_to_remove(wanted)) if name in host.installed}
    stuck |= {name for name in wanted.packages if name not in host.installed}
    if held := sorted(stuck & host.held):
        advice = f"Release them: apt-mark unhold {' '.join(held)}"
        yield Finding("package", f"held packages would have to be installed or removed: {several(held)}. {advice}")
    if both := sorted(set(wanted.purged).intersection(wanted.packages)):
        advice = "A role needs them: take them out of service_trimming_purged_packages"
        yield Finding("package", f"would be installed and purged by each run: {several(both)}. {advice}")
    if host.unknown:
        advice = "Look at foundation_extra_packages and at apt's sources, or run apt-get update"
        yield Finding("package", f"apt knows no package of the name {several(sorted(host.unknown))}. {advice}")


def must_build(host: Host, wanted: Wanted) -> bool:
    """Whether a package of our own is not installed yet."""
    return any(name not in host.installed for name in wanted.builds)


def firewalls_to_remove(wanted: Wanted) -> tuple[str, ...]:
    """Packages that go with firewall_other_firewalls: remove."""
    return FIREWALL_PACKAGES if wanted.other_firewalls == "remove" else ()


def missing(host: Host, wanted: Wanted) -> list[str]:
    """Packages that are not installed yet."""
    return sorted(name for name in set(wanted.packages) if name not in host.installed)


def to_install(host: Host, wanted: Wanted) -> list[str]:
    """Packages that are not installed, or that apt would let go with the package for whose sake they came."""
    return sorted({*missing(host, wanted), *(host.automatic & set(wanted.packages))})


def to_purge(host: Host, wanted: Wanted) -> list[str]:
    """Packages that are to go, and of which anything is there; patterns are for apt to look at."""
    present = {*host.installed, *host.unfinished, *host.configured}
    return sorted(name for name in set(wanted.purged) if name in present or not PACKAGE.fullmatch(name))


def mirrors(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """Whether packages can be had."""
    absent = missing(host, wanted)
    if host.reached is None:
        return
    tried = host.ways or host.proxies or host.sources
    is_remark = not (absent or must_build(host, wanted))
    if not host.sources:
        yield Finding("mirror", "apt has no sources: write /etc/apt/sources.list.d/debian.sources", is_remark)
    elif not host.reached:
        what = f"{len(absent)} packages are to be installed" if absent else "packages may be needed"
        yield Finding(
            "mirror",
            f"no Debian mirror answers ({several(tried)}), and {what}. Look at the network, the name servers"
            f" ({several(host.resolvers) or 'none'}) and apt's sources and proxies",
            is_remark,
        )


def room(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """Space and memory."""
    builds = must_build(host, wanted)
    needed = (BUILD_SPACE if builds else 0) + (RUN_SPACE if missing(host, wanted) else 0)
    if host.free < needed:
        yield Finding(
            "space",
            f"{host.free // MB} MB are free below /var, and {needed // MB} MB are needed for packages"
            f"{' and the build in a throwaway root' if builds else ''}",
        )
    if builds and not host.runs_programs:
        yield Finding("space", f"programs may not run in {BUILD_PLACE} (mounted noexec), where qmail is built")
    if host.memory < LEAST_MEMORY:
        text = f"{host.memory // MB} MB of memory and swap are left; at least {LEAST_MEMORY // MB} are needed"
        yield Finding("memory", text)
    elif host.memory < GOOD_MEMORY:
        text = f"{host.memory // MB} MB of memory and swap are left; {GOOD_MEMORY // MB} are better"
        yield Finding("memory", text, is_remark=True)


def name(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """Whether the gateway has a name that mail can be sent to."""
    if wanted.name and "." not in wanted.name.strip("."):
        yield Finding(
            "name",
            f"the gateway would call itself {wanted.name!r}, which has no domain: mail to root would go nowhere. Set"
            " qmail_me to its full name, or give the host one (/etc/hosts, /etc/hostname)",
        )


def clock(host: Host, _wanted: Wanted) -> Iterator[Finding]:
    """Whether it is the same time here as where this run comes from."""
    off = abs(host.clock_off)
    if off > CLOCK_WARNING:
        text = f"the clock is {off:.0f} seconds {'ahead of' if host.clock_off > 0 else 'behind'} the controller's"
        yield Finding("clock", f"{text}; set one of them right", is_remark=off < CLOCK_WRONG)


def name_servers(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """Whether the servers that dnscache is going to ask do answer."""
    if host.servers is None or host.servers or not wanted.name_servers:
        return
    if wanted.forward_only:
        in_vain = several(wanted.name_servers)
        yield Finding(
            "resolver", f"none of dnscache_root_servers, resolvers that dnscache is to ask, answers: {in_vain}"
        )
        return
    forwarders = several(host.resolving)
    advice = (
        "The resolver that it uses now does answer: set dnscache_forward_only to true and dnscache_root_servers to"
        f" [{forwarders}]"
        if forwarders
        else "Open UDP and TCP 53 for this host, or set dnscache_forward_only to true and, in dnscache_root_servers,"
        " resolvers that it may ask"
    )
    yield Finding(
        "resolver",
        f"no root server answers here ({several(wanted.name_servers[:3])} ...), so no name would resolve. {advice}",
    )


def other_run(host: Host, _wanted: Wanted) -> Iterator[Finding]:
    """Whether this host is just applying its repository to itself: two runs at once would undo each other's changes."""
    if host.is_pulling and host.controller:
        yield Finding(
            "pull",
            "the gateway is just applying its repository to itself (systemctl status gatewright-pull): run this again"
            " when that has ended, or stop that and gatewright-pull.timer",
        )


def lost_state(host: Host, wanted: Wanted) -> Iterator[Finding]:
    """What a later release keeps here that this one does not know."""
    ours = read_release(wanted.release)
    for migration, loss in host.release.migrations.items():
        if migration in ours.migrations:
            continue
        later = f"release {host.release.number} was here"
        text = f"{later}, and this one, {ours.number}, lacks its migration {migration}"
        if not loss:
            yield Finding("release", f"{text}: nothing is lost by that", is_remark=True)
            continue
        yield Finding(
            "release",
            f"{text}. Lost by going back: {loss}. Stay with {host.release.number} or a later one, or accept that by"
            " survey_accept: [release]",
        )


def apt_ports(host: Host, _wanted: Wanted) -> Iterator[Finding]:
    """What the firewall opens for apt beside what the inventory says."""
    unusual = [port for port in host.package_ports if port not in (80, 443)]
    if unusual:
        addresses = several(host.proxies or host.sources)
        text = f"apt uses port {several(unusual)} ({addresses}): the firewall lets root and _apt out to it"
        yield Finding("apt", text, is_remark=True)


CHECKS: tuple[Callable[[Host, Wanted], Iterator[Finding]], ...] = (
    *(way_back_in, other_firewalls, undeclared_sockets, clashing_accounts, former_qmail, packages, mirrors, apt_ports),
    *(name_servers, room, name, clock, lost_state, other_run),
)


def findings(host: Host, wanted: Wanted) -> list[Finding]:
    """All that is to be told of a host."""
    return [item for check in CHECKS for item in check(host, wanted)]


# How it is found out


def run(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Run a program; None if it cannot be run, or does not end."""
    environment = {**os.environ, "LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", "")}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def output(*command: str) -> str:
    """What a program prints; nothing if it cannot be run or fails."""
    done = run(*command)
    return done.stdout if done and done.returncode == 0 else ""


def text_of(path: str | Path) -> str:
    """A file's text; nothing if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def read_ruleset(ruleset: str) -> tuple[Chain, ...]:
    """The base chains of type filter in what `nft -j list ruleset` prints."""
    items = json.loads(ruleset or "{}").get("nftables", [])
    rules: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for rule in (item["rule"] for item in items if "rule" in item):
        rules.setdefault((f"{rule['family']} {rule['table']}", rule["chain"]), []).append(rule)
    bases = [item["chain"] for item in items if "chain" in item and item["chain"].get("type") == "filter"]
    return tuple(
        Chain(
            table := f"{base['family']} {base['table']}",
            base["name"],
            base.get("hook", ""),
            base.get("policy", "accept"),
            base.get("policy") == "drop" or may_stop(table, base["name"], rules, set()),
        )
        for base in bases
    )


def may_stop(
    table: str, chain: str, rules: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], seen: set[str]
) -> bool:
    """Whether a rule of a chain, or of one that it leads to, may stop a packet."""
    if chain in seen:
        return False
    seen.add(chain)
    for rule in rules.get((table, chain), ()):
        for statement in rule.get("expr", ()):
            if STOPS & set(statement):
                return True
            target = (statement.get("jump") or statement.get("goto") or {}).get("target")
            if target and may_stop(table, target, rules, seen):
                return True
    return False


def read_iptables(saved: str, family: str) -> tuple[Chain, ...]:
    """The same of what `iptables-save` prints, for a host that has no nft."""
    found = []
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif table == "filter" and (policy := re.match(r":(INPUT|OUTPUT|FORWARD) (ACCEPT|DROP)", line)):
            stops = bool(re.search(r"^-A .* -j (?!ACCEPT|RETURN|LOG|DOCKER|LIBVIRT)", saved, re.MULTILINE))
            name, drops = policy[1], policy[2] == "DROP"
            found.append(Chain(f"{family} filter", name, name.lower(), policy[2].lower(), drops or stops))
    return tuple(found)


def chains_now() -> tuple[Chain, ...]:
    """The base chains in force, as far as a program is there that shows them."""
    ruleset = output("nft", "-j", "list", "ruleset")
    if ruleset:
        return read_ruleset(ruleset)
    return read_iptables(output("iptables-save"), "ip") + read_iptables(output("ip6tables-save"), "ip6")


def legacy_tables() -> tuple[str, ...]:
    """Families that have rules of the kernel's older firewall."""
    return tuple(family for family in ("ip", "ip6") if text_of(f"/proc/net/{family}_tables_names").strip())


def unit_of(process: str) -> str:
    """The systemd unit of a process."""
    found = re.findall(r"/([^/\n]+\.(?:service|socket|scope))", text_of(f"/proc/{process}/cgroup"))
    return str(found[-1]) if found else ""


def package_of(process: str) -> str:
    """The Debian package of a process's program."""
    try:
        program = os.readlink(f"/proc/{process}/exe")
    except OSError:
        return ""
    names = (program, program.removeprefix("/usr"))
    return next((found.partition(":")[0] for item in names if (found := output("dpkg-query", "-S", item))), "")


def socket_units() -> dict[int, str]:
    """Port to the socket unit that systemd itself listens for."""
    found = {}
    for line in output("systemctl", "list-sockets", "--no-legend", "--no-pager").splitlines():
        words = line.split()
        if len(words) > 1 and (port := re.search(r":(\d+)$", words[0])):
            found[int(port[1])] = next((word for word in words if word.endswith(".socket")), "")
    return found


def read_sockets(
    listed: str, describe: Callable[[str, int], tuple[str, str]], known: Collection[str] = ()
) -> tuple[Socket, ...]:
    """The sockets that `ss` lists. describe: process and port to unit and package; known: owners that need neither."""
    found = []
    for line in listed.splitlines():
        (proto, place, port, owner), process = listeners.read(line)
        is_known = not process or owner in known  # no need to ask dpkg, which takes its time
        unit, package = ("", "") if is_known else describe(process, port)
        found.append(Socket(proto, place, port, owner, unit, package))
    return tuple(sorted(set(found), key=lambda item: (item.proto, item.port, item.address)))


def sockets_now(wanted: Wanted) -> tuple[Socket, ...]:
    """The listening sockets with their owners, and units and packages of those that may be in the way."""
    units = socket_units()

    def describe(process: str, port: int) -> tuple[str, str]:
        return (units.get(port, ""), "") if process == "1" else (unit_of(process), package_of(process))

    known = {*REPLACED_OWNERS, *wanted.listeners}
    return read_sockets(output(*listeners.COMMAND), describe, known)


def dpkg_states(listed: str) -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """Of lines `abbreviation package version`: installed, with versions; what is unfinished; what has left files."""
    installed, unfinished, configured = {}, {}, set()
    for line in listed.splitlines():
        state, _, rest = line.partition("\t")
        package, _, version = rest.partition("\t")
        if state[1:2] == "i":
            installed[package] = version
        if state[1:2] in STATES or state[2:3] == "R":
            unfinished[package] = STATES.get(state[1:2], "needs to be installed again")
        if state[1:2] == "c":
            configured.add(package)
    return installed, unfinished, frozenset(configured)


def automatic_now() -> frozenset[str]:
    """Packages that apt notes as installed for another's sake."""
    parts = re.split(r"\n\s*\n", text_of("/var/lib/apt/extended_states"))
    marked = (part for part in parts if re.search(r"^Auto-Installed: 1$", part, re.MULTILINE))
    return frozenset(found[1] for part in marked if (found := re.search(r"^Package: (\S+)$", part, re.MULTILINE)))


def unknown_to_apt(names: Sequence[str]) -> frozenset[str]:
    """Those of the names that apt's lists have no package of; none where apt says nothing at all."""
    known = re.findall(r"^(\S+):$", output("apt-cache", "policy", "dpkg", *names) if names else "", re.MULTILINE)
    return frozenset(names).difference(known) if "dpkg" in known else frozenset()


def units_now() -> tuple[str, ...]:
    """Units of the host's own, and folders of services for svscan in /etc."""
    return tuple(sorted((*glob.glob("/etc/systemd/system/*.*"), *glob.glob("/etc/*/service"))))


def mail_servers() -> frozenset[str]:
    """Installed packages that are a mail server, but for ours."""
    listed = output("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Provides}\n")
    fields = [line.split("\t") for line in listed.splitlines()]
    found = {item[1] for item in fields if item[0][1:2] == "i" and "mail-transport-agent" in item[2]}
    return frozenset(found - {"gatewright-qmail"})


def queued_now(queue: Path) -> dict[int, int]:
    """How many messages a queue of qmail's has, by their owners' numbers."""
    found: Counter[int] = Counter()
    for message in queue.glob("mess/*/*"):
        with contextlib.suppress(FileNotFoundError):  # it has just been sent
            found[message.stat().st_uid] += 1
    return dict(found)


def connection() -> tuple[str, int]:
    """Where this run comes from, and the port of this host that it came in by; "" and 0 if not over SSH.

    sudo takes SSH_CONNECTION out of the environment; a process above this one still has it.
    """
    process = os.getpid()
    while process > 1:
        variables = text_of(f"/proc/{process}/environ").split("\0")
        words = next((item[15:].split() for item in variables if item.startswith("SSH_CONNECTION=")), [])
        if len(words) == 4:
            return words[0].removeprefix("::ffff:"), int(words[3])
        parent = re.search(r"^PPid:\s*(\d+)", text_of(f"/proc/{process}/status"), re.MULTILINE)
        process = int(parent[1]) if parent else 0
    return "", 0


def has_key(user: str, patterns: Iterable[str]) -> bool:
    """Whether one of a user's files has a line that is a key."""
    try:
        return bool(logins.has_key(pwd.getpwnam(user), patterns))
    except (KeyError, OSError):
        return False


def sshd_key_files() -> tuple[str, ...]:
    """Where sshd looks for keys now."""
    found = re.search(r"^authorizedkeysfile (.*)$", output("sshd", "-T"), re.MULTILINE | re.IGNORECASE)
    return tuple(found[1].split()) if found else ()


def proxies_of(dumped: str) -> tuple[str, ...]:
    """The proxies that apt uses, by what apt-config dumps."""
    found = re.findall(r'^Acquire::https?::(?:Proxy|proxy)(?:::\S+)? "(\S+?)";', dumped, re.MULTILINE)
    found += [os.environ.get(name, "") for name in ("http_proxy", "https_proxy")]  # apt heeds these too
    return tuple(dict.fromkeys(item for item in found if "://" in item))


def host_proxies(dumped: str) -> dict[str, str]:
    """The proxies that apt uses for single hosts alone, by host; DIRECT for one that it asks itself."""
    return dict(re.findall(r'^Acquire::https?::[Pp]roxy::(\S+) "(\S+?)";', dumped, re.MULTILINE))


def ways_of(sources: Sequence[str], proxies: Sequence[str], of_hosts: Mapping[str, str]) -> tuple[str, ...]:
    """Whom apt connects to for its sources: the proxy for a source's host, one for all hosts, or the source itself."""
    for_all = [proxy for proxy in proxies if proxy not in of_hosts.values()]
    found: list[str] = []
    for source in sources:
        own = of_hosts.get(host_of(source), "")
        found += [source] if own == "DIRECT" else [own] if own else for_all or [source]
    return tuple(dict.fromkeys(found))


def finds_proxies_itself(dumped: str) -> bool:
    """Whether apt asks a program for its proxy, so that nobody can say here what it is."""
    return bool(re.search(r'^Acquire::https?::Proxy-Auto-?Detect "\S', dumped, re.MULTILINE))


def sources_now() -> tuple[str, ...]:
    """The addresses that apt fetches from, without those that a line or file switches off."""
    found: list[str] = []
    for path in ("/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list"))):
        lines = [line for line in text_of(path).splitlines() if line.lstrip().startswith("deb")]
        found += [word for line in lines for word in line.split() if "://" in word]
    for path in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        for part in re.split(r"\n\s*\n", text_of(path)):
            if not re.search(r"^Enabled:\s*(no|false|0)", part, re.MULTILINE | re.IGNORECASE):
                found += [word for line in re.findall(r"^URIs:(.*)$", part, re.MULTILINE) for word in line.split()]
    return tuple(dict.fromkeys(found))


def answers(address: str) -> bool:
    """Whether a TCP connection to an address of apt's comes about."""
    if not port_of(address):
        return True  # a file or a medium
    try:
        socket.create_connection((host_of(address), port_of(address)), timeout=SECONDS).close()
    except OSError:
        return False
    return True


def at_once(look: Callable[[str], bool], items: Sequence[str]) -> tuple[str, ...]:
    """Those of the items for which a look succeeds, all looked at at once."""
    if not items:
        return ()
    with ThreadPoolExecutor(max_workers=len(items)) as pool:
        return tuple(item for item, is_there in zip(items, pool.map(look, items), strict=True) if is_there)


def asked(server: str, is_recursive: bool) -> bool:
    """Whether a name server says who serves the root."""
    question = struct.pack("!6H", 0x4757, 0x100 if is_recursive else 0, 1, 0, 0, 0) + b"\0" + struct.pack("!HH", 2, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    for _attempt in range(2):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as link:
                link.settimeout(SECONDS)
                link.connect((server, 53))
                link.send(question)
                answer = link.recv(4096)
        except OSError:
            continue
        code, records = answer[3] & 15, struct.unpack_from("!HH", answer, 6)
        return answer[:2] == question[:2] and code == 0 and any(records)
    return False


def resolvers_now() -> tuple[str, ...]:
    """The name servers that the host uses, those behind systemd-resolved's stub included."""
    texts = (text_of("/etc/resolv.conf"), text_of("/run/systemd/resolve/resolv.conf"))
    found = [word for text in texts for word in re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)]
    return tuple(dict.fromkeys(found))


def lists_age() -> float | None:
    """Seconds since apt's lists were fetched; None without any."""
    times = [os.stat(path).st_mtime for path in glob.glob("/var/lib/apt/lists/*_Packages*")]
    stamps = [os.stat(path).st_mtime for path in glob.glob("/var/lib/apt/periodic/update-success-stamp")]
    directory = [os.stat("/var/lib/apt/lists").st_mtime] if times else []
    return time.time() - max((*stamps, *directory)) if times else None


def read_release(note: Any) -> Release:
    """A note of a release; none if it is damaged."""
    try:
        return Release(str(note["release"]), {str(name): str(loss) for name, loss in note["migrations"].items()})
    except (TypeError, KeyError, AttributeError):
        return Release()


def release_now() -> Release:
    """What a run of site.yml has noted here of its release."""
    try:
        return read_release(json.loads(text_of(RELEASE)))
    except ValueError:
        return Release()


def existing(path: Path) -> Path:
    """A directory, or the nearest one above it that is there."""
    return path if path.is_dir() else existing(path.parent)


def memory_left() -> int:
    """Bytes of memory that are available, and free swap."""
    values = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text_of("/proc/meminfo"), re.MULTILINE))
    return 1024 * (int(values.get("MemAvailable", 0)) + int(values.get("SwapFree", 0)))


def has_python_apt() -> bool:
    """Whether Debian's python3 has apt's library."""
    return bool(glob.glob("/usr/lib/python3/dist-packages/apt_pkg*.so"))


def look(wanted: Wanted) -> Host:
    """Look at the host. What costs time (servers) is asked only where the run needs it."""
    return Host(
        name=socket.gethostname(),
        chains=chains_now(),
        legacy=legacy_tables(),
        sockets=sockets_now(wanted),
        hidden=listeners.hidden_programs(),
        users={item.pw_name: (item.pw_uid, item.pw_gid) for item in pwd.getpwall()},
        groups={item.gr_name: item.gr_gid for item in grp.getgrall()},
        units=units_now(),
        mtas=mail_servers(),
        release=release_now(),
        **look_at_packages(wanted),
        **look_at_login(wanted),
        **look_at_resources(wanted),
        **look_at_names(wanted),
    )


def look_at_packages(wanted: Wanted) -> dict[str, Any]:
    """The fields of Host about what is installed, and the ways to what is not."""
    states = output("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Version}\n")
    installed, unfinished, configured = dpkg_states(states)
    dumped = output("apt-config", "dump")
    proxies, sources, age = proxies_of(dumped), sources_now(), lists_age()
    ways = ways_of(sources, proxies, host_proxies(dumped))
    absent = [item for item in wanted.packages if item not in installed]
    needs_build = any(item not in installed for item in wanted.builds)
    needs_packages = bool(absent) or needs_build
    can_ask = needs_packages and not finds_proxies_itself(dumped)
    return {
        "installed": installed,
        "unfinished": unfinished,
        "configured": configured,
        "automatic": automatic_now(),
        "unknown": unknown_to_apt(absent) if is_fresh(age) else frozenset(),
        "held": frozenset(output("apt-mark", "showhold").split()),
        "proxies": proxies,
        "ways": ways,
        "sources": sources,
        "reached": at_once(answers, ways) if can_ask else None,
        "lists_age": age,
        "has_python_apt": has_python_apt(),
        "has_qmail": (QMAIL / "bin/qmail-send").exists(),
        "queued": queued_now(QMAIL / "queue") if needs_build else {},
    }


def look_at_login(wanted: Wanted) -> dict[str, Any]:
    """The fields of Host about how this run, and an administrator, comes in."""
    controller, port = connection()
    login = logins.login_name(wanted.login)
    is_there = has_key(login, wanted.key_files)
    return {
        "controller": controller,
        "is_pulling": output("systemctl", "show", "--property=ActiveState", PULL).strip() == "ActiveState=activating",
        "ssh_port": port,
        "login": login,
        "has_key": is_there,
        "key_files": () if is_there else sshd_key_files(),
    }


def look_at_resources(wanted: Wanted) -> dict[str, Any]:
    """The fields of Host about space, memory and time."""
    place = existing(BUILD_PLACE)
    return {
        "free": shutil.disk_usage(place).free,
        "runs_programs": not os.statvfs(place).f_flag & os.ST_NOEXEC,
        "memory": memory_left(),
        "clock_off": time.time() - wanted.time if wanted.time else 0,
    }


def look_at_names(wanted: Wanted) -> dict[str, Any]:
    """The fields of Host about who resolves names."""
    resolvers = tuple(item for item in resolvers_now() if "%" not in item)
    # where dnscache runs already, the firewall lets nobody else ask; the run ends with a look at it
    is_first = not Path("/service/dnscache").exists()
    servers = at_once(lambda item: asked(item, wanted.forward_only), list(wanted.name_servers)) if is_first else None
    return {
        "servers": servers,
        "resolvers": resolvers,
        "resolving": at_once(lambda item: asked(item, True), resolvers) if servers == () else (),
        "has_old_resolv_conf": os.path.lexists("/etc/resolv.conf.old"),
    }


def told(host: Host, wanted: Wanted) -> dict[str, Any]:
    """What later roles need to know."""
    users, groups = ({str(item["name"]) for item in items} for items in (wanted.users, wanted.groups))
    return {
        "package_ports": list(map(str, host.package_ports)),
        "ssh_port": host.ssh_port,
        "controller": host.controller,
        "missing": missing(host, wanted),
        "to_install": to_install(host, wanted),
        "to_purge": to_purge(host, wanted),
        "units": list(host.units),
        "has_fresh_lists": host.has_fresh_lists,
        "has_python_apt": host.has_python_apt,
        "has_old_resolv_conf": host.has_old_resolv_conf,
        "tables": sorted({chain.table for chain in foreign_chains(host, wanted)}),
        "users": {name: ids[0] for name, ids in host.users.items() if name in users},
        "primary_groups": {name: ids[1] for name, ids in host.users.items() if name in users},
        "groups": {name: gid for name, gid in host.groups.items() if name in groups},
        "builds": {name: version for name, version in host.installed.items() if name.startswith("gatewright-")},
    }


def lasting(host: Host, wanted: Wanted) -> dict[str, Any]:
    """What will hold for the run, and saves a role its own look; none of it where packages come or go, and change it.

    untouched: tasks for which everything is as they left it. untrimmed: names of units that are to be trimmed.
    answers: to the questions of roles, and due: what programs would do; of both those whose command did not fail.
    """
    if to_install(host, wanted) or to_purge(host, wanted):
        return {"untouched": {}}
    with ThreadPoolExecutor() as pool:
        settles = {name: command for name, command in wanted.settles.items() if tells(command)}
        due = [pool.submit(answer, command) for command in settles.values()]
        answers = [pool.submit(answer, command) for command in wanted.questions.values()]
        proved = pool.submit(proof.holds)
        pending = untrimmed(wanted.masked)
        found = {
            "untouched": stat_cache.untouched(str(BUILD_PLACE)),
            "answers": known(wanted.questions, (item.result() for item in answers)),
            "due": known(settles, (item.result() for item in due)),
            "proved": proved.result(),
            "running": running(wanted.units),
        }
    return found | ({} if pending is None else {"untrimmed": pending})


def known(names: Iterable[str], answers: Iterable[str | None]) -> dict[str, str]:
    """By name, the answers that were given."""
    return {name: said for name, said in zip(names, answers, strict=True) if said is not None}


def tells(command: str) -> bool:
    """Whether a program tells what it would do: an earlier release's knows no `look`, and would do it."""
    program = next((word for word in command.split() if word.startswith("/")), "")
    return bool(re.search(r"\blook\b", text_of(program))) if program else False


def untrimmed(names: Sequence[str]) -> list[str] | None:
    """The names of which a unit is not masked yet, or runs; None where systemd does not say."""
    asked_of = trimming.units_of(names)
    said = output(*trimming.question(asked_of)) if asked_of else ""
    if asked_of and not said:
        return None
    return sorted({unit.rpartition(".")[0] for unit in trimming.plan(names, trimming.read(said, asked_of))})


def running(names: Sequence[str]) -> list[str]:
    """Of the units that roles keep running, those that need nothing."""
    there = units.present(names)
    return units.in_order(output(*units.question(there))) if there else []


def answer(command: str) -> str | None:
    """What a shell command prints; None if it fails."""
    done = run("sh", "-c", command)
    return done.stdout if done and done.returncode == 0 else None


def let_steer(place: Path, networks: Sequence[str], until: float) -> None:
    """Let nobody ban these networks for a while; until: seconds since 1970 by this host's clock."""
    place.parent.mkdir(mode=0o755, exist_ok=True)
    written = place.with_name(f"{place.name}.new")
    written.write_text("".join(f"{line}\n" for line in (int(until), *networks)))
    written.replace(place)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "wanted": {"type": "dict", "required": True},
            "accept": {"type": "list", "elements": "str", "default": []},
            "administrators": {"type": "list", "elements": "str", "default": []},
            "steering": {"type": "path", "default": "/run/gatewright/steering"},
        },
        supports_check_mode=True,
    )
    known = {item.name for item in dataclasses.fields(Wanted)}
    if unknown := sorted(set(module.params["wanted"]) - known):
        module.fail_json(msg=f"wanted has no {unknown[0]!r}")
    wanted = Wanted(**module.params["wanted"])
    host = look(wanted)
    found = findings(host, wanted)
    accepted = module.params["accept"]
    problems = [str(item) for item in found if not item.is_remark and accepted != ["all"] and item.kind not in accepted]
    remarks = [str(item) for item in found if str(item) not in problems]
    result = {"changed": False, "problems": problems, "remarks": remarks, "host": told(host, wanted)}
    result |= {**lasting(host, wanted), "seen": time.time_ns()}
    for remark in remarks:
        module.warn(remark)
    if problems:
        listed = "\n".join(f"  - {item}" for item in problems)
        module.fail_json(msg=f"This host is not ready, and nothing was changed:\n{listed}", **result)
    if not module.check_mode:
        networks = [*filter(None, [host.controller]), *module.params["administrators"]]
        let_steer(Path(module.params["steering"]), networks, time.time() + STEERING_SECONDS)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
