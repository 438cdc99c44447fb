"""tcp_smtp: what the compiled rules really answer, against an oracle that knows only networks."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright.addresses import tcpserver_text
from gatewright.chapters.tcp_smtp.render import tcp_smtp
from gatewright.problems import InventoryError

Answer = tuple[bool, dict[str, str]]
Lists = dict[str, Any]
SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example writes its files anew
    derandomize=True,
)


class Compiled:
    """Rules that went through tcprules."""

    def __init__(self, tcprules: str, text: str, folder: Path) -> None:
        self.cdb = folder / "rules.cdb"
        subprocess.run([tcprules, self.cdb, folder / "rules.tmp"], input=text.encode(), check=True, timeout=20)

    def ask(self, address: str) -> Answer:
        """What tcpserver would do with a client at this address (text as tcpserver writes it)."""
        run = subprocess.run(
            ["tcprulescheck", self.cdb],
            env={"TCPREMOTEIP": address, "PATH": "/usr/bin:/usr/local/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        env = {}
        for line in run.stdout.splitlines():
            if line.startswith("set environment variable "):
                name, _sign, value = line.removeprefix("set environment variable ").partition("=")
                env[name] = value
        return "deny connection" in run.stdout, env


def oracle(lists: Lists, address: str) -> Answer:
    """The answer by definition: the longest deny or relay network wins, deny of equals; env from wide to narrow."""
    client = ipaddress.ip_address(address)
    relay = [(ipaddress.ip_network(item), "") for item in [*lists["clients"], "127.0.0.0/8", "::1"]]
    deny = [(ipaddress.ip_network(item), "") for item in lists["deny"]]
    env_of = [(ipaddress.ip_network(item["address"]), item["env"]) for item in lists["networks"]]
    best_relay = max((net.prefixlen for net, _ in relay if client in net), default=-1)
    best_deny = max((net.prefixlen for net, _ in deny if client in net), default=-1)
    if best_deny >= 0 and best_deny >= best_relay:
        return True, {}
    env = {"RELAYCLIENT": ""} if best_relay >= 0 else {}
    for _, more in sorted(((net.prefixlen, more) for net, more in env_of if client in net), key=lambda pair: pair[0]):
        env.update(more)
    return False, env


def networks(version: int, bits: int, low: int, high: int) -> st.SearchStrategy[str]:
    """Networks whose addresses share so much that they nest and touch."""
    size = 32 if version == 4 else 128

    def build(length: int, number: int) -> str:
        base = {4: int(ipaddress.ip_address("10.200.0.0")), 6: int(ipaddress.ip_address("2001:db8::"))}[version]
        number = (base | number) >> (size - length) << (size - length)
        return str(ipaddress.ip_network((number, length)))

    return st.builds(build, st.integers(low, high), st.integers(0, (1 << bits) - 1))


def probes(lists: Lists, extra: list[int]) -> set[str]:
    """The edges of every network, both sides, and some addresses inside each."""
    found: set[str] = set()
    for item in [*lists["clients"], *lists["deny"], *(each["address"] for each in lists["networks"])]:
        network = ipaddress.ip_network(item)
        first, last = int(network[0]), int(network[-1])
        numbers = [first, last, first - 1, last + 1, *(first + number % network.num_addresses for number in extra)]
        found |= {str(type(network[0])(number)) for number in numbers if 0 <= number < 1 << network.max_prefixlen}
    return found


def lists_of(item: st.SearchStrategy[str]) -> st.SearchStrategy[Lists]:
    env = st.fixed_dictionaries({}, optional={"QMAILQUEUE": st.sampled_from(["/a", "/b"]), "DATABYTES": st.just("7")})
    return st.fixed_dictionaries(
        {
            "clients": st.lists(item, max_size=4, unique=True),
            "deny": st.lists(item, max_size=3, unique=True),
            "networks": st.lists(
                st.fixed_dictionaries({"address": item, "env": env.filter(bool)}),
                max_size=3,
                unique_by=lambda each: str(each["address"]),
            ),
        }
    )


@pytest.mark.slow
@SETTINGS
@given(lists_of(networks(4, 18, 9, 32)), st.lists(st.integers(0, 2**32), max_size=4))
def test_ipv4_rules_answer_as_the_networks_say(tcprules: str, tmp_path: Path, lists: Lists, extra: list[int]) -> None:
    rules = tcp_smtp(**lists)
    compiled = Compiled(tcprules, rules["text"], tmp_path)
    for address in probes(lists, extra):
        assert compiled.ask(address) == oracle(lists, address), (address, rules["text"])
    assert all(compiled.ask(p["address"]) == (p["deny"], {} if p["deny"] else p["env"]) for p in rules["proofs"])


# Addresses with few different groups look alike as text although they are far apart.
SHAPE = st.lists(st.sampled_from([0, 0, 0, 1, 5, 0xABCD]), min_size=7, max_size=7)


def number_of(shape: list[int]) -> int:
    """The IPv6 address 2001: and these seven groups."""
    number = 0x2001
    for group in shape:
        number = number << 16 | group
    return number


@pytest.mark.slow
@SETTINGS
@given(
    lists_of(
        st.builds(
            lambda length, tail: str(ipaddress.IPv6Network((number_of(tail) >> 128 - length << 128 - length, length))),
            st.sampled_from([32, 48, 64, 80, 96, 112, 128]) | st.integers(24, 31) | st.integers(119, 127),
            SHAPE,
        )
    ),
    st.lists(SHAPE, max_size=8),
    st.lists(st.integers(0, 2**128 - 1), max_size=2),
)
def test_ipv6_rules_answer_as_the_networks_say_or_are_refused(
    tcprules: str, tmp_path: Path, lists: Lists, shapes: list[list[int]], extra: list[int]
) -> None:
    try:
        rules = tcp_smtp(**lists)
    except InventoryError as error:
        known = ("compares IPv6 addresses as text", "more than a /32: that is an open relay")
        assert all(any(words in problem for words in known) for problem in error.problems)
        return
    compiled = Compiled(tcprules, rules["text"], tmp_path)
    alike = {str(ipaddress.IPv6Address(number_of(shape))) for shape in shapes}
    for address in probes(lists, extra) | alike:
        text = tcpserver_text(ipaddress.ip_address(address))
        if text.endswith("::"):
            continue  # a network's subnet-router anycast address, from which no client sends
        assert compiled.ask(text) == oracle(lists, address), (address, text, rules["text"])


CONNECT = """
import os, socket, subprocess, sys
cdb, *clients = sys.argv[1:]
for command in ("link set lo up", "-6 route add local 2001::/16 dev lo", "route add local 10.0.0.0/8 dev lo"):
    subprocess.run(["ip", *command.split()], check=True)
server = subprocess.Popen(
    ["tcpserver", "-1", "-v", "-H", "-R", "-l", "0", "-x", cdb, "0", "2525",
     "sh", "-c", 'echo "$TCPREMOTEIP ${RELAYCLIENT-none}"'],
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
try:
    server.stdout.readline()  # -1: tcpserver prints its port when it listens
    for client in clients:
        family = socket.AF_INET6 if ":" in client else socket.AF_INET
        with socket.socket(family) as peer:
            peer.settimeout(10)
            if family == socket.AF_INET6:
                peer.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
            peer.bind((client, 0))
            peer.connect(("::1" if family == socket.AF_INET6 else "127.0.0.1", 2525))
            print(client, peer.makefile().read().strip() or "denied", flush=True)
finally:
    server.kill()
    server.wait()
"""


def test_tcpserver_itself_writes_and_judges_addresses_as_we_say(tcprules: str, tmp_path: Path) -> None:
    """Connections from many addresses to a real tcpserver, in a network of its own."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("cannot make a network namespace here (needs root)")
    lists: Lists = {
        "clients": ["10.0.16.0/20", "2001:db8:5::/44".replace("5::", "50::"), "2001:db8:0::/48", "2001:db8:9:9::77"],
        "deny": ["10.0.17.0/24", "2001:db8:51:8::/64"],
        "networks": [],
    }
    clients = {
        "10.0.16.0": "", "10.0.31.255": "", "10.0.32.0": "none", "10.0.15.255": "none", "10.0.17.9": None,
        "2001:db8:50::1": "", "2001:db8:5f:0:1:0:0:1": "", "2001:db8:60::1": "none", "2001:db8:51:8:1:2:3:4": None,
        "2001:db8:51:9:0:2:3:4": "", "2001:db8:0:1:2:3:4:5": "", "2001:db8:0:1::5": "", "2001:db8::5": "",
        "2001:db8:1:0:0:5:0:0": "none", "2001:db8:9:9:0:0:0:77": "", "2001:db8:9:9:0:77:0:0": "none",
    }  # short cases, many a line # fmt: skip
    compiled = Compiled(tcprules, tcp_smtp(**lists)["text"], tmp_path)
    run = subprocess.run(
        ["unshare", "-n", "python3", "-c", CONNECT, str(compiled.cdb), *clients],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    texts = {client: tcpserver_text(ipaddress.ip_address(client)) for client in clients}
    expected = [
        f"{client} denied" if right is None else f"{client} {texts[client]} {right}".strip()
        for client, right in clients.items()
    ]
    assert run.stdout.splitlines() == expected, run.stderr


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"clients": ["10.0.0.1/8"]}, "the network is 10.0.0.0/8, the single address is 10.0.0.1"),
        ({"clients": ["10.0."]}, "write the network, 10.0.0.0/16"),
        ({"clients": ["::ffff:10.0.0.1"]}, "write it as IPv4"),
        ({"clients": ["fe80::1%eth0"]}, "zone"),
        ({"clients": ["0.0.0.0/0"]}, "open relay"),
        ({"clients": ["::/0"]}, "open relay"),
        ({"clients": "10.0.0.1"}, "must be a list, not a string"),
        ({"clients": [{"adress": "10.0.0.1"}]}, "did you mean 'address'?"),
        ({"clients": ["10.0.0.1", "10.0.0.1/32"]}, "is a duplicate of tcp_smtp_relay_clients[0]"),
        ({"clients": [], "deny": ["127.0.0.1"]}, "loopback"),
        ({"clients": [], "networks": [{"address": "10.0.0.1", "env": {"RELAYCLIENT": ""}}]}, "let these clients relay"),
        ({"clients": [], "networks": [{"address": "10.0.0.1", "env": {"QMAILQUEUE": "x"}}]}, "absolute path"),
        ({"clients": [], "networks": [{"address": "10.0.0.1", "env": {"DATABYTES": "5M"}}]}, "number of bytes"),
        ({"clients": [], "networks": [{"address": "10.0.0.1", "env": {"A B": "x"}}]}, "not a name"),
        ({"clients": [], "networks": [{"address": "10.0.0.1"}]}, "needs env"),
        ({"clients": ["2001:db8:0:5::/64"]}, "looks like 2001:db8:0:0:5::/80"),
        ({"clients": ["2001:db8::1"], "ipv6": False}, "is IPv6"),
    ],
)
def test_a_wrong_list_is_refused_by_name(lists: dict[str, Any], words: str) -> None:
    with pytest.raises(InventoryError) as refused:
        tcp_smtp(**lists)
    assert words in str(refused.value)
    assert str(refused.value).startswith("tcp_smtp_")


def test_all_problems_come_at_once() -> None:
    with pytest.raises(InventoryError) as refused:
        tcp_smtp(["10.0.0.1/8", "nonsense"], ["x"], [{"address": "y", "env": {"A": "b"}}], {"RELAYCLIENT": ""})
    assert len(refused.value.problems) == 5


def test_the_file_reads_like_the_paper() -> None:
    text = tcp_smtp([{"address": "192.0.2.32/28", "comment": "office"}], default_env={"DATABYTES": 10})["text"]
    assert text.splitlines()[1:] == [
        '127.:allow,RELAYCLIENT="",DATABYTES="10"',
        '::1:allow,RELAYCLIENT="",DATABYTES="10"',
        "# 192.0.2.32/28 may relay: office",
        '192.0.2.32-47:allow,RELAYCLIENT="",DATABYTES="10"',
        ':allow,DATABYTES="10"',
    ]


def test_a_value_is_quoted_with_a_character_it_lacks(tcprules: str, tmp_path: Path) -> None:
    rules = tcp_smtp([], networks=[{"address": "10.0.0.0/8", "env": {"GREETING": 'say "it\'s", a=b'}}])
    assert Compiled(tcprules, rules["text"], tmp_path).ask("10.1.1.1") == (False, {"GREETING": 'say "it\'s", a=b'})


def test_everyone_can_be_denied_in_each_family_apart(tcprules: str, tmp_path: Path) -> None:
    for deny, v4, v6 in ((["::/0"], False, True), (["0.0.0.0/0"], True, False), (["::/0", "0.0.0.0/0"], True, True)):
        compiled = Compiled(tcprules, tcp_smtp(["10.1.2.3"], deny)["text"], tmp_path)
        assert compiled.ask("192.0.2.1")[0] is v4
        assert compiled.ask("2001:db8::1")[0] is v6
        for client in ("10.1.2.3", "127.0.0.1", "::1"):
            assert compiled.ask(client) == (False, {"RELAYCLIENT": ""})


def test_without_ipv6_no_rule_is_ipv6() -> None:
    assert "::1" not in tcp_smtp(["10.0.0.1"], ipv6=False)["text"]


def test_deny_wins_over_a_relay_client_of_the_same_network(tcprules: str, tmp_path: Path) -> None:
    rules = tcp_smtp(["10.0.0.0/8"], ["10.0.0.0/8"], [{"address": "10.0.0.0/8", "env": {"DATABYTES": 1}}])
    assert Compiled(tcprules, rules["text"], tmp_path).ask("10.1.2.3") == (True, {})


@pytest.mark.parametrize("local_relay", [True, False])
def test_whether_the_gateways_own_programs_may_relay_is_said(local_relay: bool) -> None:
    rules = tcp_smtp(["192.0.2.1"], local_relay=local_relay)
    assert ('127.:allow,RELAYCLIENT=""' in rules["text"].splitlines()) == local_relay
    proof = next(proof for proof in rules["proofs"] if proof["address"] == "127.0.0.0")
    assert ("RELAYCLIENT" in proof["env"]) == local_relay


def test_for_whom_a_client_sends_is_the_narrowest_entrys() -> None:
    wide = {"address": "192.0.2.0/24", "senders": [".Example.org", "ann@example.com", "example.org"]}
    rules = tcp_smtp([wide, "192.0.2.7", {"address": "192.0.2.8", "senders": ["example.net"]}])["text"].splitlines()
    assert '192.0.2.:allow,RELAYCLIENT="",RELAYSENDERS=".example.org ann@example.com example.org"' in rules
    assert '192.0.2.7:allow,RELAYCLIENT=""' in rules
    assert '192.0.2.8:allow,RELAYCLIENT="",RELAYSENDERS="example.net"' in rules


def test_senders_are_gatekeepers() -> None:
    with pytest.raises(InventoryError, match="comes of senders"):
        tcp_smtp([{"address": "192.0.2.0/24", "env": {"RELAYSENDERS": "example.org"}}])
    with pytest.raises(InventoryError, match="has a blank"):
        tcp_smtp([{"address": "192.0.2.0/24", "senders": ["two words"]}])
    for entry in ("*", "@", "", ".", "*@example.org", "@example.org", "*.example.org"):
        with pytest.raises(InventoryError, match="senders"):
            tcp_smtp([{"address": "192.0.2.0/24", "senders": [entry]}])
