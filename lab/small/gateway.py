"""A small gateway that runs, the hosts around it on loopback addresses, and the example inventory made theirs."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import yaml

from gatewright.chapters.scanner.rules import scanner_domains, scanner_rules
from gatewright.chapters.smtproutes.routing import smtproutes_control
from gatewright.chapters.tcp_smtp.render import tcp_smtp
from lab.probe import converse
from lab.small import mta
from lab.small.place import Place, system_python, wait_until
from lab.small.sink import Sink
from lab.talk import Reply, eventually
from lab.topology import PROJECT

EXAMPLE = PROJECT / "inventory/example/group_vars/gateways.yml"
SCANNER = PROJECT / "roles/scanner/files"
GATEPOST = PROJECT / "roles/gatepost/files"
GATEKEEPER = PROJECT / "roles/gatekeeper/files"
RECIPIENTS = {"example.org": {"list": ["user", "hostmaster"]}}
"""Who has mail at the office; the example's routes leave that open."""
NAME = "gateway.example.org"
HERE = "127.0.0.1"
OFFICE, NEIGHBOUR, OUTSIDE = "127.0.2.70", "127.0.2.80", "127.0.113.31"
"""192.0.2.70 is a relay client of the example's, 192.0.2.80 is just outside its network, 203.0.113.31 is a stranger."""


def loopback(rules: str) -> str:
    """tcpserver's rules with each IPv4 address moved to 127.0.0.0/8 by its first part; loopback's own left out."""
    lines = [line for line in rules.splitlines() if not line.startswith(("127.", "[::1]", "::1"))]
    return "".join(re.sub(r"^\d+\.", "127.", line) + "\n" for line in lines)


@dataclass
class SmallPeer:
    """A host beside the gateway: sends from a loopback address, and looks into what its sink took."""

    source: str
    port: int
    sink: Sink

    def send(
        self,
        server: str,
        recipient: str,
        message: str | None = None,
        sender: str = "someone@world.test",
        source: str = "",
        mark: str = "",
    ) -> Reply:
        """Send one message to the gateway; message None stops after RCPT."""
        if message is None and mark:
            message = f"From: {sender}\r\nTo: {recipient}\r\nSubject: {mark}\r\n\r\n{mark}\r\n"
        order = {
            "server": server, "port": self.port, "sender": sender, "recipients": [recipient], "message": message,
            "source": source or self.source,
        }  # fmt: skip
        return Reply(**converse(order))  # type: ignore[arg-type]

    def find(self, mark: str) -> list[str]:
        """The messages in this host's mailbox that contain a word."""
        return [message.decode(errors="replace") for message in self.sink.messages if mark.encode() in message]

    def arrived(self, mark: str, seconds: float = 60) -> EmailMessage:
        """Wait for the message that contains a word, and return it."""
        found = eventually(lambda: self.find(mark), seconds, f"a message with {mark} at {self.source}")
        return email.message_from_string(found[0], policy=email.policy.default)

    def address(self, octet: int, family: int = 4) -> str:
        """This host has one address."""
        return self.source


@dataclass
class SmallGateway:
    """The running gateway."""

    place: Place
    qmail: str
    port: int
    office: SmallPeer
    outside: SmallPeer
    name: str = "gateway"
    ipv4: str = HERE
    ipv6: str = ""

    def run(self, *command: str) -> str:
        """Run gatescan, or one of qmail's programs, as the gateway's user."""
        if command[0] == "gatescan":
            return self.place.run(system_python(), "-m", *command, env=_scanner_env(self.place))
        return self.place.run(self.place.path / "qmail/bin" / command[0], *command[1:])

    def wait_for_empty_queue(self) -> None:
        """Wait until every message is delivered."""
        eventually(lambda: not self.run("qmail-qread").strip(), 60, "an empty queue")


@contextlib.contextmanager
def small_gateway(more: Mapping[str, Any] | None = None) -> Iterator[SmallGateway]:
    """Build, start and at the end remove a gateway; `more` are variables beside the example's. Raises LabError."""
    with Place() as place, Sink(OFFICE) as office, Sink(OUTSIDE) as outside:
        variables = {**yaml.safe_load(EXAMPLE.read_text()), **(more or {})}
        home, qmail = mta.install(place)
        _write_control(home, variables, office, outside)
        _write_users(place, home)
        client = _make_client(place, home)
        _start_scanner(place, home, variables)
        agent = _start_gatepost(place, home)
        path = f"{agent}:{home}/bin:/usr/bin:/bin"
        place.start("qmail", home / "bin/qmail-start", "./Maildir/", env={"PATH": path})
        policy = _start_gatekeeper(place, home)
        port = _free_port()
        _serve(place, home, variables, {"QMAILQUEUE": str(client), "SMTPPOLICY": str(policy)}, port)
        yield SmallGateway(place, qmail, port, SmallPeer(OFFICE, port, office), SmallPeer(OUTSIDE, port, outside))


def _write_control(home: Path, variables: Mapping[str, Any], office: Sink, outside: Sink) -> None:
    """qmail's control files: the example's routes lead to the office's sink, all other mail to the outside's."""
    extra = variables.get("smtproutes_extra_rcpthosts", [])
    refused = variables.get("smtproutes_badmailfrom", [])
    rest = {"host": "mx.world.test"}
    files = smtproutes_control(variables["smtproutes_routes"], rest, extra, refused, variables["smtproutes_databytes"])
    files["smtproutes"] = "".join(_led_to(line, office, outside) for line in files["smtproutes"].splitlines())
    domain = NAME.partition(".")[2]
    files |= {"me": f"{NAME}\n", "locals": f"{NAME}\n", "defaultdomain": f"{domain}\n", "plusdomain": f"{domain}\n"}
    files["rcpthosts"] += f"{NAME}\n"
    for name, text in files.items():
        (home / "control" / name).write_text(text)
    for alias in ("root", "postmaster", "mailer-daemon"):
        (home / "alias" / f".qmail-{alias}").write_text(f"&{variables['qmail_postmaster']}\n")


def _write_users(place: Place, home: Path) -> None:
    """Every local part is the aliases': our one user has no home, where qmail would look for them."""
    if not (home / "bin/qmail-newu").exists():  # the stand-in looks in the right place by itself
        return
    user = place.account
    assign = home / "users/assign"
    assign.write_text(f"+:{user.pw_name}:{user.pw_uid}:{user.pw_gid}:{home}/alias:-::\n.\n")
    place.run(home / "bin/qmail-newu")


def _led_to(route: str, office: Sink, outside: Sink) -> str:
    """A line of smtproutes with its server exchanged: the line of no domain is the one for all other mail."""
    domain = route.partition(":")[0]
    address, port = (OFFICE, office.port) if domain else (OUTSIDE, outside.port)
    return f"{domain}:{address}:{port}\n"


def _make_client(place: Place, home: Path) -> Path:
    source, out = place.folder("client"), place.folder("bin")
    for path in (SCANNER / "client").iterdir():
        if path.is_file():
            shutil.copy(path, source)
    state = f"{place.path}/scanner"
    paths = (f"SOCKET={state}/socket", f"NEXT={home}/bin/qmail-queue", f"SPOOL={state}/spool/incoming")
    place.run("make", "-s", f"OUT={out}", *paths, cwd=source)
    return out / "gatescan-queue"


def _start_scanner(place: Place, home: Path, variables: Mapping[str, Any]) -> None:
    code, state = place.path / "code", place.folder("scanner")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SCANNER / "gatescan", code / "gatescan", ignore=ignored)
    boxes = (f"quarantine/{box}" for box in ("tmp", "new", "cur"))
    for name in ("spool", "spool/notices", "spool/incoming", "quarantine", *boxes, "log", "lib", "lib/counters"):
        place.folder(f"scanner/{name}")
    paper = (SCANNER / "gatescan/share/quarantine-attachments.txt").read_text()
    (state / "rules.txt").write_text(paper + scanner_rules(variables.get("scanner_extra_rules", [])))
    (state / "config.json").write_text(json.dumps(_scanner_config(state, home, variables), indent=1))
    python, env = system_python(), _scanner_env(place)
    place.run(python, "-m", "gatescan", "rules", "build", env=env)
    place.start("scanner", python, "-m", "gatescan", "daemon", env=env)
    wait_until((state / "socket").is_socket, "the scanner's socket", lambda: place.said("scanner"))


def _start_gatepost(place: Place, home: Path) -> Path:
    """Start the delivery agent; returns the folder of its client, which stands in qmail-remote's place."""
    state, source = place.folder("gatepost"), place.folder("gatepost/client")
    agent = place.folder("gatepost/remote")
    for path in (GATEPOST / "client").iterdir():
        if path.is_file():
            shutil.copy(path, source)
    place.run("make", "-s", f"OUT={agent}", f"SOCKET={state}/socket", cwd=source)
    (agent / "gatepost-remote").rename(agent / "qmail-remote")
    journal = str(state / "deliveries.jsonl")
    config = {"home": str(home), "socket": str(state / "socket"), "takes_loopback": True, "journal": journal}
    _start_daemon(place, GATEPOST / "gatepost", config, state / "socket")
    return agent


def _start_gatekeeper(place: Place, home: Path) -> Path:
    """Start the policy daemon; returns the socket at which qmail-smtpd asks it."""
    state = place.folder("gatekeeper")
    config = {
        "home": str(home),
        "socket": str(state / "socket"),
        "state": str(state / "state.sqlite"),
        "metrics": str(state / "metrics"),
        "recipients": RECIPIENTS,
    }
    _start_daemon(place, GATEKEEPER / "gatekeeper", config, state / "socket")
    return state / "socket"


def _start_daemon(place: Place, package: Path, config: Mapping[str, Any], socket_path: Path) -> None:
    """Start a daemon of ours from a copy of its code, and wait for its socket."""
    name = package.name
    shutil.copytree(package, place.path / "code" / name, ignore=shutil.ignore_patterns("__pycache__"))
    settings = place.path / name / "config.json"
    settings.write_text(json.dumps(config, indent=1))
    env = {"PYTHONPATH": f"{place.path}/code", "PYTHONUNBUFFERED": "1"}
    place.start(name, system_python(), "-m", name, "--config", settings, "daemon", env=env)
    wait_until(socket_path.is_socket, f"{name}'s socket", lambda: place.said(name))


def _scanner_env(place: Place) -> dict[str, str]:
    return {"PYTHONPATH": f"{place.path}/code", "GATESCAN_CONFIG": f"{place.path}/scanner/config.json"}


def _scanner_config(state: Path, home: Path, variables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hostname": NAME,
        "local_domains": scanner_domains(variables["smtproutes_routes"]),
        "actions": variables.get("scanner_actions", {}),
        "limits": variables.get("scanner_limits", {}),
        "spool": str(state / "spool"),
        "next_queue": [str(home / "bin/qmail-queue")],
        "daemon": {"socket": str(state / "socket"), "workers": 2},
        "quarantine": {"directory": str(state / "quarantine")},
        "rules": {"source": str(state / "rules.txt"), "compiled": str(state / "lib/rules.json")},
        "journal": {
            "quarantine_log": str(state / "log/quarantine.log"),
            "json_log": str(state / "log/messages.jsonl"),
            "metrics": str(state / "lib/gatescan.prom"),
            "counters": str(state / "lib/counters"),
        },
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        port: int = probe.getsockname()[1]
        return port


def _serve(place: Place, home: Path, variables: Mapping[str, Any], env: Mapping[str, str], port: int) -> None:
    """tcpserver with the example's relay clients, at their loopback addresses."""
    rules, cdb = place.path / "tcp.smtp", place.folder("tcp") / "tcp.smtp.cdb"
    made = tcp_smtp(variables["tcp_smtp_relay_clients"], variables.get("tcp_smtp_deny", []))
    rules.write_text(loopback(str(made["text"])))
    place.run("tcprules", cdb, f"{cdb}.tmp", stdin=rules.read_text())
    place.start(
        "smtpd", "tcpserver", "-v", "-R", "-H", "-l", "0", "-x", cdb, "-c", "20", HERE, str(port),
        home / "bin/qmail-smtpd", env=env,
    )  # fmt: skip
    wait_until(lambda: _answers(port), f"qmail-smtpd on port {port}", lambda: place.said("smtpd"))


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HERE, port), 5) as connection:
        return connection.recv(3) == b"220"
    return False
