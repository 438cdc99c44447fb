"""Asking all gateways at once, by `ansible` in a process of its own."""

from __future__ import annotations

import argparse
import base64
import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gatescan.text import printable

from gatewright.fleet import EXIT_SILENT
from gatewright.fleet.filters import count

PROJECT = Path(__file__).resolve().parents[2]
ROOT = "{{ fleet_root | default('/') }}"
"""Where a host's files are: below `/`, or where its variable says, such as a copy of a gateway's logs."""
CONNECT_SECONDS = 10
MARGIN_SECONDS = 20
"""Before the end of a gateway's time it begins with nothing more, so that it can tell what it did."""
LONGEST_REASON = 300
LONGEST_ANSWER = 1 << 28
"""Bytes of a gateway's answer: some 500,000 held messages."""
UNREADABLE = (ValueError, TypeError, zlib.error, RecursionError)
"""What `answer_of` raises."""


class UsageError(Exception):
    """What was asked cannot be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Whom to ask, and how. seconds: that a gateway may take to answer. further: arguments for `ansible`.

    longest: seconds after which the question ends and whoever has not answered is silent; 0: when all have.
    """

    inventories: tuple[str, ...] = ()
    limit: str = ""
    forks: int = 20
    seconds: int = 120
    further: tuple[str, ...] = ()
    longest: float = 0.0

    @property
    def working_seconds(self) -> float:
        """How long a gateway may go on with a long list."""
        return max(self.seconds - MARGIN_SECONDS, self.seconds / 2)

    def command(self, module: str, names: Iterable[str], file: Path) -> list[str]:
        """The command line. The module's arguments are in a file: of thousands of messages they are too long."""
        arguments = json.dumps({name: f"{{{{ gw_{name} }}}}" for name in names})
        where = [word for inventory in self.inventories for word in ("-i", inventory)]
        limit = ["--limit", self.limit] if self.limit else []
        times = ["-T", str(CONNECT_SECONDS), "--task-timeout", str(self.seconds), "-f", str(self.forks)]
        told = ["-m", module, "-a", arguments, "-e", f"@{file}"]
        return ["ansible", "gateways", *where, *limit, *times, *told, *self.further]


@dataclass(frozen=True, slots=True)
class Answers:
    """What gateways said, by their names in the inventory; `silent` ones did not, with the reason."""

    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)

    def status(self, otherwise: int) -> int:
        """The exit status: a gateway that is silent outweighs what the others said. Names it."""
        for host, why in sorted(self.silent.items()):
            print(f"gw: {host} did not answer: {printable(why, LONGEST_REASON)}", file=sys.stderr)
        return EXIT_SILENT if self.silent else otherwise


def add_fleet(parser: argparse.ArgumentParser) -> None:
    """The options that say whom to ask."""
    group = parser.add_argument_group("which gateways")
    group.add_argument(
        "-i", "--inventory", action="append", default=[], metavar="INVENTORY", help="as with the playbooks"
    )
    group.add_argument("-l", "--limit", default="", metavar="HOSTS", help="some of them, such as gw1")
    group.add_argument("-f", "--forks", type=count, default=20, metavar="N", help="asked at the same time (20)")
    group.add_argument(
        "--timeout", type=count, default=120, metavar="SECONDS", help="that a gateway may take to answer (120)"
    )


def fleet_of(options: argparse.Namespace, further: list[str]) -> Fleet:
    """Whom the command line names."""
    return Fleet(tuple(options.inventory), options.limit, options.forks, options.timeout, tuple(further))


def who() -> str:
    """Who asks, for the journals of gateways: the controller's user, under sudo the person."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def ask(fleet: Fleet, module: str, request: Mapping[str, Any]) -> Answers:
    """Run a module on all gateways with the same request; UsageError if there is no gateway."""
    return run(fleet, module, packed(request))


def ask_each(fleet: Fleet, module: str, requests: Mapping[str, Mapping[str, Any]]) -> Answers:
    """Run a module on some gateways, each with a request of its own."""
    table = json.dumps({host: packed(request) for host, request in requests.items()})
    only = replace(fleet, limit=",".join(requests))
    return run(only, module, "{{ (" + table + ")[inventory_hostname] }}")


def packed(value: Any) -> str:
    """JSON in base64: nothing in it can be taken for a template."""
    return base64.b64encode(json.dumps(value).encode("ascii")).decode("ascii")


def run(fleet: Fleet, module: str, request: str) -> Answers:
    """Run one of the modules that take a request."""
    return run_module(fleet, module, {"request": request, "root": ROOT})


def run_module(fleet: Fleet, module: str, arguments: Mapping[str, Any]) -> Answers:
    """Run `ansible`, and read what our callback wrote. Arguments are templates: strangers' words come by `as_data`."""
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        file = Path(folder) / "answers"
        file.touch(mode=0o600)
        variables = Path(folder) / "arguments.json"
        variables.write_text(json.dumps({f"gw_{name}": value for name, value in arguments.items()}))
        errors = call(fleet.command(module, arguments, variables), environment(file), fleet.longest)
        answers = answers_of(file.read_text(encoding="utf-8"))
    if not (answers.said or answers.silent):
        raise UsageError(no_gateway(errors))
    return answers


def as_data(value: Any) -> str:
    """A template that gives a value, whatever stands in it."""
    return "{{ '" + packed(value) + "' | b64decode | from_json }}"


def call(command: list[str], environment: Mapping[str, str], longest: float) -> str:
    """Run a program, which ends with all that it has started after `longest` seconds; what it said of errors."""
    # apart from the terminal it can ask for no password, but be ended with its children
    apart: dict[str, Any] = {"stdin": subprocess.DEVNULL, "start_new_session": True} if longest else {}
    process: subprocess.Popen[bytes]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **apart
    ) as process:
        try:
            errors = process.communicate(timeout=longest or None)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            errors = process.communicate()[1]
    return errors.decode("utf-8", "replace")


def is_sure(question: str) -> bool:
    """Ask the person at the terminal; nobody there is no yes."""
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def environment(file: Path) -> dict[str, str]:
    """Ansible's settings: this project's, and our callback alone."""
    own = {
        "ANSIBLE_CONFIG": os.environ.get("ANSIBLE_CONFIG", str(PROJECT / "ansible.cfg")),
        "ANSIBLE_LIBRARY": str(PROJECT / "library"),
        "ANSIBLE_MODULE_UTILS": str(PROJECT / "module_utils"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
        "ANSIBLE_STDOUT_CALLBACK": "gw_answers",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "GATEWRIGHT_ANSWERS": str(file),
    }
    return {name: value for name, value in os.environ.items() if name != "ANSIBLE_CALLBACKS_ENABLED"} | own


def answers_of(text: str) -> Answers:
    """What the callback wrote; a gateway that was asked and is not heard of again is silent."""
    answers = Answers()
    for line in map(json.loads, text.rpartition("\n")[0].splitlines()):  # who was killed did not end its last line
        host = line["host"]
        answers.silent[host] = reason(line)
        if line["state"] == "ok":
            try:
                answers.said[host] = answer_of(line)
                del answers.silent[host]
            except UNREADABLE as error:
                answers.silent[host] = f"what it answered cannot be read: {error}"
    return answers


def answer_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """What a module of ours packed; of another module, the fields that the callback takes. UNREADABLE."""
    if "answer" not in line:
        return {name: line[name] for name in ("stdout", "rules") if name in line}
    found = json.loads(unpacked(line["answer"]))
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def unpacked(answer: str) -> bytes:
    """The JSON of an answer; ValueError, zlib.error. A gateway that was taken over may send what fills this machine."""
    reader = zlib.decompressobj()
    text = reader.decompress(base64.b64decode(answer), LONGEST_ANSWER)
    if not reader.eof:
        raise ValueError(f"it is cut, or longer than {LONGEST_ANSWER} bytes")
    return text


def reason(line: Mapping[str, str]) -> str:
    """Why there is no answer."""
    if line["state"] == "asked":
        return "ansible ended before it answered"
    words = " ".join(line.get("msg", "").split())
    more = (line.get("module_stderr") or line.get("module_stdout") or "").strip().splitlines()
    return f"{words or line['state']}{': ' + more[-1] if more else ''}"


def no_gateway(stderr: str) -> str:
    """Why nobody was asked, in Ansible's own words."""
    told = [line for line in stderr.splitlines() if line.strip() and "No hosts matched" not in line]
    return "\n".join(["no gateway was asked", *(told[-5:] or ["no host of the group gateways fits"])])
