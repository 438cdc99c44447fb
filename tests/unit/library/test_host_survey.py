"""host_survey: made-up hosts, and what an administrator is told of each before anything is changed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import host_survey
import pytest
import yaml
from host_survey import Chain, Finding, Host, Socket, Wanted, findings, told

from gatewright import PROJECT
from gatewright.chapters.foundation import release_note
from gatewright.chapters.survey import may_have
from tests.modules import run_module

QMAILD = {"name": "qmaild", "uid": 64011, "gid": 64011, "home": "/var/qmail"}
NGINX = Socket("tcp", "0.0.0.0", 80, "nginx", "nginx.service", "nginx")


def problems(host: Host, wanted: Wanted | None = None) -> list[str]:
    """What stands in the way."""
    return [str(item) for item in findings(host, wanted or Wanted()) if not item.is_remark]


def remarks(host: Host, wanted: Wanted | None = None) -> list[str]:
    """What is no obstacle."""
    return [str(item) for item in findings(host, wanted or Wanted()) if item.is_remark]


def only(found: list[str], *words: str) -> None:
    """The one thing that was found has these words."""
    assert len(found) == 1, found
    for word in words:
        assert word in found[0], (word, found[0])


def test_a_plain_host_is_ready() -> None:
    assert findings(Host(), Wanted(name="gw1.example.org", packages=["chrony"])) == []


def test_everything_is_told_at_once() -> None:
    host = Host(sockets=(NGINX,), users={"qmaild": (7791, 65534)}, free=0)
    wanted = Wanted(name="mail1", users=[QMAILD], builds=["gatewright-qmail"])
    assert [item.kind for item in findings(host, wanted)] == ["socket", "account", "space", "name"]


# Releases


def release(number: str, **migrations: str) -> dict[str, Any]:
    """A release with some migrations."""
    return {"release": number, "migrations": migrations}


def built_by(number: str, **migrations: str) -> Host:
    """A host that such a release built."""
    return Host(release=host_survey.read_release(release(number, **migrations)))


def test_an_older_release_that_would_lose_state_is_refused_and_the_migration_named() -> None:
    host = built_by("1.2.0", shares="", given="who has had it")
    found = problems(host, Wanted(release=release("1.1.0", shares="")))
    only(found, "release: release 1.2.0", "1.1.0", "migration given", "who has had it", "survey_accept: [release]")


def test_an_older_release_that_loses_nothing_is_told_so() -> None:
    host, older = built_by("1.2.0", shares=""), Wanted(release=release("1.1.0"))
    only(remarks(host, older), "lacks its migration shares", "nothing is lost")
    assert problems(host, older) == []


def test_the_same_release_and_a_later_one_hear_nothing() -> None:
    later = Wanted(release=release("1.3.0", shares="", given="who has had it"))
    assert findings(built_by("1.2.0", given="who has had it"), later) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"release": "1.2.0"}', '{"release": 1, "migrations": ["x"]}'])
def test_a_note_of_a_release_that_is_none_stops_no_run(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_survey, "RELEASE", tmp_path / "note")
    assert host_survey.release_now() == host_survey.Release()
    (tmp_path / "note").write_text(text)
    assert host_survey.release_now() == host_survey.Release()


def test_a_run_notes_its_own_release() -> None:
    noted = host_survey.read_release(release_note({"shares": ""}))
    assert noted == host_survey.Release((PROJECT / "VERSION").read_text().strip(), {"shares": ""})


# Firewalls


def chain(table: str, name: str, hook: str = "", policy: str = "accept", kind: str = "filter") -> dict[str, Any]:
    """A chain as nft shows it; a base chain if it has a hook."""
    family, table = table.split()
    base = {"type": kind, "hook": hook, "prio": 0, "policy": policy} if hook else {}
    return {"chain": {"family": family, "table": table, "name": name, **base}}


def rule(table: str, name: str, *statements: dict[str, Any]) -> dict[str, Any]:
    """A rule as nft shows it."""
    family, table = table.split()
    return {"rule": {"family": family, "table": table, "chain": name, "expr": list(statements)}}


def ruleset(*items: dict[str, Any]) -> str:
    """What `nft -j list ruleset` prints."""
    return json.dumps({"nftables": [{"metainfo": {"version": "1.1.3"}}, *items]})


ACCEPT: dict[str, Any] = {"accept": None}
SCRIPTED = ruleset(chain("ip filter", "INPUT", "input", "drop"), rule("ip filter", "INPUT", ACCEPT))
JUMPING = ruleset(
    chain("inet crowd", "in", "input"),
    chain("inet crowd", "bad"),
    rule("inet crowd", "in", {"counter": {}}, {"jump": {"target": "bad"}}),
    rule("inet crowd", "bad", {"drop": None}),
    rule("inet crowd", "bad", {"goto": {"target": "in"}}),
)
DOCKER = ruleset(
    chain("ip nat", "PREROUTING", "prerouting", kind="nat"), chain("ip filter", "FORWARD", "forward", "drop")
)
# What Debian's own nftables.conf makes: chains that stop nothing.
STOCK = ruleset(chain("inet filter", "input", "input"), rule("inet filter", "input", {"counter": {}}, ACCEPT))


@pytest.mark.parametrize(
    ("text", "table", "name"),
    [(SCRIPTED, "ip filter", "INPUT"), (JUMPING, "inet crowd", "in"), (DOCKER, "ip filter", "FORWARD")],
)
def test_rules_of_others_that_can_drop_are_refused_by_name(text: str, table: str, name: str) -> None:
    host = Host(chains=host_survey.read_ruleset(text))
    only(problems(host), f"table {table} ", f"{name} (hook ", "firewall_accepted_tables", "firewall_other_firewalls")
    assert problems(host, Wanted(accepted_tables=[table])) == []
    assert problems(host, Wanted(other_firewalls="ignore")) == []
    assert problems(host, Wanted(other_firewalls="remove")) == []
    assert told(host, Wanted(other_firewalls="remove"))["tables"] == [table], "the firewall's role removes it"


@pytest.mark.parametrize("text", [STOCK, "", '{"nftables": []}'])
def test_rules_that_stop_nothing_may_stay(text: str) -> None:
    assert problems(Host(chains=host_survey.read_ruleset(text))) == []


@pytest.mark.parametrize("table", ["inet gatewright", "inet f2b-table"])
def test_our_own_tables_are_none_of_others(table: str) -> None:
    assert problems(Host(chains=(Chain(table, "input", "input", "drop", True),))) == []


def test_a_host_without_nft_is_read_by_iptables() -> None:
    saved = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n"
    only(
        problems(Host(chains=host_survey.read_iptables(saved, "ip"))),
        "table ip filter",
        "INPUT (hook input, policy drop)",
    )


def test_another_firewalls_package_and_legacy_rules_are_refused() -> None:
    only(problems(Host(installed={"ufw": "1"})), "ufw", "firewall_other_firewalls")
    only(problems(Host(legacy=("ip",)), Wanted(other_firewalls="remove")), "legacy iptables", "ip tables")


# Sockets


def test_a_socket_that_nobody_declared_is_told_with_what_to_write() -> None:
    only(
        problems(Host(sockets=(NGINX,))),
        "tcp 0.0.0.0 80 nginx (nginx.service, package nginx)",
        "service_trimming_allowed_sockets: {proto: tcp, port: 80, owner: nginx}",
    )
    assert problems(Host(sockets=(NGINX,)), Wanted(sockets=[{"proto": "tcp", "port": 80, "owner": "nginx"}])) == []


def test_a_program_on_loopback_is_declared_whatever_its_port() -> None:
    host = Host(sockets=(Socket("tcp", "127.0.0.1", 39711, "containerd", "containerd.service"),))
    only(problems(host), "{proto: tcp, owner: containerd, address: 127.0.0.1}")
    declared = [{"proto": "tcp", "owner": "containerd", "address": "127.0.0.1", "port": None}]
    assert problems(host, Wanted(sockets=declared)) == []


@pytest.mark.parametrize(
    ("socket", "wanted"),
    [
        (Socket("tcp", "0.0.0.0", 111, "systemd", "rpcbind.socket"), Wanted(masked=["rpcbind"])),
        (Socket("tcp", "0.0.0.0", 631, "cupsd", "cups.service", "cups-daemon"), Wanted(purged=["cups-daemon"])),
        (Socket("tcp", "127.0.0.1", 25, "exim4", "exim4.service", "exim4-daemon-light"), Wanted()),
        (Socket("tcp", "127.0.0.1", 25, "hidden"), Wanted()),
        (Socket("udp", "127.0.0.53", 53, "systemd-resolve"), Wanted()),
        (Socket("udp", "192.0.2.5", 68, "systemd-network", "systemd-networkd.service", "systemd"), Wanted()),
    ],
)
def test_what_the_run_closes_or_replaces_is_no_obstacle(socket: Socket, wanted: Wanted) -> None:
    assert findings(Host(sockets=(socket,)), wanted) == []


@pytest.mark.parametrize(
    "name", ["clamd", "spamd", "spamd child", "rspamd", "tcpserver", "dnscache", "sshd", "chronyd"]
)
def test_a_program_of_a_roles_service_is_none_wherever_it_listens_yet(name: str) -> None:
    """As rspamd does on 11332 as soon as Debian's package is there, also for a run after one that was cut just then."""
    defaults = [yaml.safe_load(path.read_text()) for path in PROJECT.glob("roles/*/defaults/main.yml")]
    listeners = [item for found in defaults for key in found if key.endswith("__listeners") for item in found[key]]
    host = Host(sockets=(Socket("tcp", "127.0.0.1", 11332, name),))
    assert findings(host, Wanted(listeners=listeners)) == []
    only(problems(host), "11332")


def test_a_socket_whose_owner_cannot_be_seen_is_a_remark() -> None:
    host = Host(sockets=(Socket("tcp", "0.0.0.0", 8080, "hidden"),))
    assert problems(host) == []
    only(remarks(host), "8080")


def test_sockets_are_read_with_unit_and_package() -> None:
    listed = 'tcp LISTEN 0 5 [::1%lo]:8000 [::]:* users:(("python3",pid=999,fd=3))\nudp UNCONN 0 0 *:323 *:*\n'
    found = host_survey.read_sockets(listed, lambda process, port: (f"{process}.service", f"package-{port}"))
    assert found == (
        Socket("tcp", "::1", 8000, "python3", "999.service", "package-8000"),
        Socket("udp", "*", 323, "hidden"),
    )
    assert found[0].is_local and not found[1].is_local
    (known, _hidden) = host_survey.read_sockets(listed, lambda *_asked: pytest.fail("asked"), {"python3"})
    assert (known.unit, known.package) == ("", ""), "nobody need ask whose one is that the run knows"


# Accounts


def test_an_account_with_another_number_is_refused_or_keeps_its_own() -> None:
    host = Host(users={"qmaild": (7791, 65534)}, groups={"nofiles": 7790})
    wanted = Wanted(users=[QMAILD], groups=[{"name": "nofiles", "gid": 64011}])
    found = problems(host, wanted)
    assert len(found) == 2
    assert "user qmaild has the number 7791 here, and 64011 in the inventory" in found[1]
    assert "foundation_adopt_accounts" in found[0] and "group nofiles" in found[0]
    assert problems(host, replace(wanted, adopt_accounts=True)) == []
    assert told(host, wanted)["users"] == {"qmaild": 7791}
    assert told(host, wanted)["primary_groups"] == {"qmaild": 65534}


def test_every_number_of_an_account_can_be_the_hosts() -> None:
    specs = [yaml.safe_load(path.read_text()) for path in (PROJECT / "roles").glob("*/meta/argument_specs.yml")]
    options = {name for spec in specs for entry in spec["argument_specs"].values() for name in entry.get("options", {})}
    numbers = {name for name in options if name.endswith(("_uid", "_gid")) and "__" not in name}
    said = [
        entry
        for path in (PROJECT / "roles").glob("*/defaults/main.yml")
        for name, entries in yaml.safe_load(path.read_text()).items()
        if name.endswith("__numbers")
        for entry in entries
    ]
    assert {entry["variable"] for entry in said} == numbers | {"qmail_users", "qmail_groups"}
    files = [*(PROJECT / "roles").glob("*/defaults/main.yml"), *(PROJECT / "roles").glob("*/vars/main.yml")]
    texts = [line for path in files for line in path.read_text().splitlines() if "variable:" not in line]
    accounts = {found[1] for line in texts for found in re.finditer(r"'?name'?: '?([\w-]+)", line)}
    assert {entry["name"] for entry in said if "name" in entry} - accounts == set()


def test_a_number_that_somebody_else_has_is_told_with_a_free_one() -> None:
    host = Host(users={"backup-agent": (64011, 64011), "other": (64012, 64012)})
    only(problems(host, Wanted(users=[QMAILD], adopt_accounts=True)), "64011, which is backup-agent's", "64013 is free")


# SSH


QMAILQ = {"name": "qmailq", "uid": 64011}
OTHER_QMAIL = Host(has_qmail=True, queued={7794: 2, 64011: 1}, users={"qmailq": (7794, 2107)})
OURS_TO_BE = Wanted(users=[QMAILQ], builds=["gatewright-qmail"])


def test_a_qmail_of_somebody_elses_is_refused_with_the_number_of_messages_that_wait() -> None:
    found = [str(item) for item in host_survey.former_qmail(OTHER_QMAIL, OURS_TO_BE)]
    only(found, "qmail: /var/qmail", "in its queue: 3", "move the folder away")


def test_a_queue_may_be_there_before_qmail_if_its_mail_is_qmails() -> None:
    queue = replace(OTHER_QMAIL, has_qmail=False, installed={"gatewright-qmail": "1.09"})
    assert not list(host_survey.former_qmail(queue, OURS_TO_BE)), "its package is here"
    queue = replace(queue, installed={})
    only([str(item) for item in host_survey.former_qmail(queue, OURS_TO_BE)], "in its queue: 2")
    adopted = replace(OURS_TO_BE, adopt_accounts=True)
    only([str(item) for item in host_survey.former_qmail(queue, adopted)], "in its queue: 1")
    assert not list(host_survey.former_qmail(replace(queue, queued={64011: 9}), OURS_TO_BE))
    assert not list(host_survey.former_qmail(replace(queue, queued={}), OURS_TO_BE)), "a disk of its own"


def test_messages_in_a_queue_are_counted_by_owner(tmp_path: Path) -> None:
    for name in ("mess/0/11", "mess/22/12", "info/0/11"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert host_survey.queued_now(tmp_path) == {os.getuid(): 2}
    assert host_survey.queued_now(tmp_path / "none") == {}


def test_a_controller_outside_the_admin_networks_is_told_which_variable() -> None:
    host = Host(controller="192.0.2.7", ssh_port=22)
    only(problems(host, Wanted(admin_networks=["10.0.0.0/8", "2001:db8::/32"])), "192.0.2.7", "firewall_admin_networks")
    assert problems(host, Wanted(admin_networks=["192.0.2.0/24"])) == []
    assert problems(Host(), Wanted(admin_networks=["10.0.0.0/8"])) == [], "not over SSH"


def test_sshd_on_another_port_stays_only_where_the_inventory_says_so() -> None:
    host = Host(controller="192.0.2.7", ssh_port=2222)
    only(problems(host, Wanted(ssh_port=22, ssh_port_is_said=False)), "port 2222", "Set sshd_port to 2222 to stay")
    assert problems(host, Wanted(ssh_port=22, ssh_port_is_said=True)) == []
    only(remarks(host, Wanted(ssh_port=22)), "sshd moves from port 2222 to 22")
    assert findings(host, Wanted(ssh_port=2222)) == []


def test_keys_in_another_place_are_told_with_that_place() -> None:
    host = Host(login="admin", has_key=False, key_files=("/etc/ssh/keys/%u",))
    only(problems(host), "admin has no authorized key", "/etc/ssh/keys/%u", "sshd_authorized_keys_files")
    assert problems(host, Wanted(needs_key=False)) == []


# Packages, space, name, time


def test_held_packages_that_the_run_moves_are_refused_and_others_are_not() -> None:
    held = frozenset({"exim4-base", "linux-image-amd64", "chrony", "openssh-server"})
    host = Host(held=held, installed={"exim4-base": "4", "openssh-server": "9"}, mtas=frozenset({"exim4-base"}))
    wanted = Wanted(packages=["chrony", "openssh-server"])
    only(problems(host, wanted), "chrony, exim4-base.", "apt-mark unhold chrony exim4-base")


def test_a_package_that_a_role_needs_on_this_host_and_the_site_purges_is_refused() -> None:
    wanted = Wanted(packages=["chrony", "needrestart"], purged=["at", "needrestart"])
    only(problems(Host(), wanted), "package: ", " needrestart. ", "service_trimming_purged_packages")
    assert findings(Host(), replace(wanted, packages=["chrony"])) == []


def test_a_package_that_apt_does_not_know_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    only(problems(Host(unknown=frozenset({"chronny"}))), "package: apt knows no package of the name chronny.", "update")
    said = "dpkg:\n  Installed: 1\nchrony:\n  Candidate: 4\n  Version table:\nvirtual:\n  Candidate: (none)\n"
    monkeypatch.setattr(host_survey, "output", lambda *_command: said)
    assert host_survey.unknown_to_apt(["chrony", "chronny", "virtual"]) == {"chronny"}
    monkeypatch.setattr(host_survey, "output", lambda *_command: "")
    assert host_survey.unknown_to_apt(["chrony"]) == frozenset() == host_survey.unknown_to_apt([])


def test_what_dpkg_has_not_finished_is_named() -> None:
    listed = "ii \tbash\t5\niF \tpostfix\t3.7\niHR\tcups\t2\nrc \told\t1\nhi \texim4\t4\n"
    installed, unfinished, configured = host_survey.dpkg_states(listed)
    assert configured == {"old"}
    assert set(unfinished) == {"postfix", "cups"} and {"bash", "exim4"} <= set(installed) and "old" not in installed
    only(problems(Host(unfinished=unfinished)), "cups", "postfix (half configured)", "dpkg --configure -a")


def test_apt_is_asked_to_install_what_is_not_there_or_would_go_with_what_brought_it() -> None:
    host = Host(installed={"chrony": "4", "openssl": "3", "bash": "5"}, automatic=frozenset({"openssl", "bash"}))
    seen = told(host, Wanted(packages=["chrony", "openssl", "aide"]))
    assert (seen["missing"], seen["to_install"]) == (["aide"], ["aide", "openssl"])


def test_apt_is_asked_to_purge_what_has_left_a_file_and_what_it_alone_can_look_for() -> None:
    host = Host(installed={"chrony": "4", "at": "3"}, configured=frozenset({"rpcbind"}))
    assert told(host, Wanted(purged=["at", "rpcbind", "cups"]))["to_purge"] == ["at", "rpcbind"]
    assert told(host, Wanted(purged=["php*", "cups:i386"]))["to_purge"] == ["cups:i386", "php*"]


def test_what_was_switched_off_is_taken_back_where_it_is_or_nobody_has_looked() -> None:
    unit, other = "/etc/systemd/system/rspamd.service", "/etc/systemd/system/spamd.service"
    seen = told(Host(units=(unit,)), Wanted())
    assert may_have(seen, other, unit)
    assert not may_have(seen, other)
    assert may_have({}, other)


def test_an_apt_proxy_is_a_remark_and_its_port_goes_to_the_firewall() -> None:
    host = Host(proxies=("http://10.0.0.9:3142",), sources=("https://mirror.example/debian",))
    only(remarks(host), "3142")
    assert told(host, Wanted())["package_ports"] == ["443", "3142"]


APT = """\
Acquire::http::Proxy "http://10.0.0.9:3142";
Acquire::http::Proxy::near.example "DIRECT";
Acquire::http::Proxy::far.example "http://10.0.0.8:8080";
"""


def test_apt_is_tried_where_it_would_go() -> None:
    """A proxy for one host alone was taken for the way to all: a fresh host was refused whose mirrors answered."""
    of_hosts = host_survey.host_proxies(APT)
    assert of_hosts == {"near.example": "DIRECT", "far.example": "http://10.0.0.8:8080"}
    near, far, other = (f"http://{name}.example/debian" for name in ("near", "far", "other"))
    every = ["http://10.0.0.9:3142", "http://10.0.0.8:8080"]
    assert host_survey.ways_of([near, far, other], every, of_hosts) == (near, every[1], every[0])
    assert host_survey.ways_of([other], [every[1]], of_hosts) == (other,)
    assert host_survey.ways_of([], every, of_hosts) == ()


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("http://mirror.example/debian", "mirror.example", 80),
        ("https://user:word@[2001:db8::1]:8443/debian", "2001:db8::1", 8443),
        ("file:/srv/debian", "", 0),
        ("cdrom:[Debian]/", "", 0),
    ],
)
def test_addresses_of_apt_are_read(address: str, host: str, port: int) -> None:
    assert (host_survey.host_of(address), host_survey.port_of(address)) == (host, port)


def test_a_mirror_that_does_not_answer_stops_only_a_run_that_needs_it() -> None:
    silent = Host(reached=(), sources=("http://mirror.example/debian",), installed={"chrony": "4"})
    only(problems(silent, Wanted(packages=["chrony", "aide"])), "no Debian mirror answers", "1 packages")
    only(problems(Host(reached=(), sources=()), Wanted(builds=["gatewright-qmail"])), "apt has no sources")
    assert problems(silent, Wanted(packages=["chrony"])) == []


def test_a_network_without_root_servers_is_told_what_to_set() -> None:
    wanted = Wanted(name_servers=["198.41.0.4"])
    host = Host(servers=(), resolvers=("10.0.0.2",), resolving=("10.0.0.2",))
    only(problems(host, wanted), "198.41.0.4", "dnscache_forward_only", "dnscache_root_servers to [10.0.0.2]")
    only(problems(Host(servers=()), wanted), "Open UDP and TCP 53")
    assert problems(Host(servers=("198.41.0.4",)), wanted) == []
    only(problems(host, Wanted(name_servers=["10.0.0.3"], forward_only=True)), "10.0.0.3")


def test_too_little_room_is_told_in_numbers() -> None:
    full = Host(free=80_000_000, runs_programs=False)
    found = problems(full, Wanted(builds=["gatewright-qmail"], packages=["aide"]))
    assert "80 MB are free" in found[0] and "noexec" in found[1]
    built = Host(free=80_000_000, installed={"gatewright-qmail": "1", "aide": "1"})
    assert problems(built, Wanted(builds=["gatewright-qmail"], packages=["aide"])) == []
    only(problems(Host(memory=100_000_000)), "memory")
    only(remarks(Host(memory=500_000_000)), "memory")


def test_a_name_without_a_domain_is_refused() -> None:
    only(problems(Host(), Wanted(name="mail1")), "'mail1'", "qmail_me")


def test_a_push_waits_for_a_pull_and_the_pull_itself_goes_on() -> None:
    only(problems(Host(is_pulling=True, controller="192.0.2.1")), "applying its repository to itself")
    assert findings(Host(is_pulling=True), Wanted()) == []


def test_a_clock_that_is_off_is_told_and_one_that_is_wrong_refused() -> None:
    only(remarks(Host(clock_off=-200)), "200 seconds behind")
    only(problems(Host(clock_off=86_400 * 300)), "ahead of the controller's")
    assert findings(Host(clock_off=5), Wanted()) == []


def test_nothing_that_was_seen_is_trusted_in_a_run_that_installs_or_purges_a_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("host_survey.stat_cache.untouched", lambda place: {"a": {}})
    monkeypatch.setattr("host_survey.proof.holds", lambda: True)
    wanted = Wanted(packages=["chrony"], questions={"name": "echo it"})
    seen = host_survey.lasting(Host(installed={"chrony": "4"}), wanted)
    assert seen == {
        **{"untouched": {"a": {}}, "untrimmed": [], "running": []},
        **{"answers": {"name": "it\n"}, "due": {}, "proved": True},
    }
    assert host_survey.lasting(Host(), wanted) == {"untouched": {}}
    assert host_survey.lasting(Host(installed={"at": "3"}), Wanted(purged=["at"])) == {"untouched": {}}


def test_a_question_whose_command_fails_is_left_to_its_role() -> None:
    questions = {"yes": "true", "no": "echo half; false", "gone": "no-such-program", "two": "printf 'a\nb'"}
    assert host_survey.lasting(Host(), Wanted(questions=questions))["answers"] == {"yes": "", "two": "a\nb"}


def test_programs_tell_what_they_would_do_and_none_that_would_do_it_is_run(tmp_path: Path) -> None:
    programs = {
        "new": '#!/bin/sh\nif [ "$2" = look ]; then echo "told the daemon"; fi\n',
        "fails": '#!/bin/sh\n[ "$1" = look ] && exit 1\n',
        "old": f"#!/bin/sh\ntouch {tmp_path}/done\n",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    settles = {name: f"{tmp_path}/{name} look" for name in (*programs, "none")}
    settles["new"] = f"SPREAD=on {tmp_path}/new enforce look"
    assert host_survey.lasting(Host(), Wanted(settles=settles))["due"] == {"new": "told the daemon\n"}
    assert not (tmp_path / "done").exists()


def test_controller_and_administrators_are_not_banned_for_a_while(tmp_path: Path) -> None:
    place = tmp_path / "run/steering"
    host_survey.let_steer(place, ["192.0.2.7", "10.1.0.0/16"], 2000.9)
    host_survey.let_steer(place, ["192.0.2.7"], 3000)
    assert place.read_text() == "3000\n192.0.2.7\n"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["steering"]


def test_a_look_at_this_machine_tells_of_all_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_survey, "asked", lambda server, _is_recursive: server == "192.0.2.53")
    host = host_survey.look(Wanted(login="root", time=1, name_servers=["192.0.2.53", "192.0.2.54"]))
    assert host.users["root"] == (0, 0) and host.login == "root"
    assert host.free != Host.free and host.memory != Host.memory and host.clock_off > 10**9
    assert host.servers == ("192.0.2.53",) and host.reached is None


def test_names_are_untrimmed_as_long_as_a_unit_is_not_masked_or_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"at.timer": ("loaded", "active"), "cups.service": ("masked", "failed")}

    def output(*command: str) -> str:
        return "\n".join(shown(unit) for unit in command[command.index("--") + 1 :])

    def shown(unit: str) -> str:  # of syslog systemd makes an alias: that one's name answers for it
        load, active = known.get(unit, ("not-found" if unit.startswith("none.") else "masked", "inactive"))
        return f"Id={unit.replace('syslog', 'rsyslog')}\nLoadState={load}\nActiveState={active}\n"

    monkeypatch.setattr("host_survey.output", output)
    assert host_survey.untrimmed(["old", "at", "cups", "none", "syslog"]) == ["at", "cups", "none"]
    assert host_survey.untrimmed([]) == []
    monkeypatch.setattr("host_survey.output", lambda *_command: "")
    assert host_survey.untrimmed(["old"]) is None
    assert "untrimmed" not in host_survey.lasting(Host(), Wanted(masked=["old"]))


# The module as Ansible runs it


def run(wanted: dict[str, Any], accept: list[str], steering: Path, check: bool = False) -> Any:
    """Run the module on this machine, of which it changes nothing."""
    arguments = {"wanted": wanted, "accept": accept, "administrators": ["10.1.0.0/16"], "steering": str(steering)}
    return run_module("host_survey", arguments, check)


KINDS = ["firewall", "socket", "account", "ssh", "package", "mirror", "resolver", "space", "memory", "clock"]


@pytest.mark.parametrize("check", [False, True])
def test_a_host_that_is_not_ready_fails_in_check_mode_too_and_what_is_accepted_is_a_warning(
    check: bool, tmp_path: Path
) -> None:
    steering = tmp_path / "steering"
    refused = run({"name": "mail1", "needs_key": False}, KINDS, steering, check)
    assert refused["failed"] and refused["changed"] is False
    assert "nothing was changed" in refused["msg"] and "qmail_me" in refused["msg"]
    assert not steering.exists()
    for kinds in ([*KINDS, "name"], ["all"]):
        accepted = run({"name": "mail1", "needs_key": False}, kinds, steering, check)
        assert not accepted.get("failed")
        assert steering.exists() is not check
        assert any("qmail_me" in str(remark) for remark in accepted["warnings"])
    assert set(accepted["host"]) >= {"package_ports", "missing", "has_fresh_lists", "builds"}


def test_a_finding_is_shown_with_its_kind() -> None:
    assert str(Finding("clock", "is wrong")) == "clock: is wrong"
