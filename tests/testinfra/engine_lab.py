"""The engines of a gateway as their tests see them: real clamd and spamd, well, ill, and replaced by liars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lab_hosts import Gateway, eventually
from scanner_lab import Scanner

from lab.topology import PROJECT

# In two halves each, so that no scanner takes this file itself for what it describes.
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
CONFIG = "/etc/gatescan/config.json"
CLAMD_CONFIG = "/etc/clamav/clamd.conf"
SIGNATURES = "/var/lib/clamav"
UNITS = {"clamd": "clamav-daemon", "spamd": "spamd"}
SOCKETS = {"clamd": "/run/clamav/clamd.ctl", "spamd": "/run/spamd/spamd.sock"}

IMPOSTOR = """
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind("{path}")
os.chmod("{path}", 0o666)
listener.listen()
while True:
    client = listener.accept()[0]
    try:
        client.recv(65536)
        client.sendall({answer})
    except OSError:
        pass
    client.close()
"""

_DUMP = "import json, sys; from tests.corpus.generate import cases"
_DUMP += "; print(json.dumps({c.name: c.message.decode('latin-1') for c in cases()}))"


def corpus_with(program: bytes) -> dict[str, bytes]:
    """The corpus's messages that hide a program, by name, with these bytes in its place."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(program)
        file.flush()
        plain, other = _corpus({}), _corpus({"GATEWRIGHT_CORPUS_PROGRAM": file.name})
    return {name: text.encode("latin-1") for name, text in other.items() if text != plain[name]}


def _corpus(environment: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", _DUMP], cwd=PROJECT, env=os.environ | environment, capture_output=True, check=True
    )
    made: dict[str, str] = json.loads(done.stdout)
    return made


class Engines:
    """The engines of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        """Skip unless the gateway's inventory switches clamd and spamd on."""
        self.gateway = gateway
        self.scanner = Scanner(gateway)
        if gateway.sh("command -v gatescan", check=False) == "":
            pytest.skip(f"{gateway.name} has no scanner")
        if not {"clamd", "spamd"} <= set(found := self.states()):
            pytest.skip(f"{gateway.name}'s inventory switches on {sorted(found) or 'no engines'}, not clamd and spamd")

    def states(self) -> dict[str, dict[str, Any]]:
        """What `gatescan engines` says, by name."""
        lines = self.gateway.run("gatescan", "engines", "--json", check=False).splitlines()
        return {str(engine["name"]): engine for engine in map(json.loads, lines)}

    def units(self, *names: str) -> list[str]:
        """Of each of systemd's units, whether it runs and whether it does so after a boot: `active enabled`."""
        told = "echo $(systemctl is-active $unit) $(systemctl is-enabled $unit)"
        return self.gateway.sh(f"for unit in {' '.join(names)}; do {told}; done", check=False).splitlines()

    def wait_until_well(self) -> None:
        """Wait until all answer."""
        eventually(lambda: all(not state["error"] for state in self.states().values()), 60, "engines that answer")

    @contextmanager
    def configured(self, change: str) -> Iterator[None]:
        """The scanner with a changed list `engines`, by a line of Python; afterwards as before."""
        edit = f"import json; c = json.load(open('{CONFIG}')); engines = c['engines']; {change}"
        edit += f"; c['engines'] = engines; json.dump(c, open('{CONFIG}', 'w'))"
        try:
            with self.scanner.down():
                self.gateway.run("cp", "-p", CONFIG, f"{CONFIG}.test")
                self.gateway.run("python3", "-c", edit)
            yield
        finally:
            with self.scanner.down():
                self.gateway.run("mv", f"{CONFIG}.test", CONFIG)

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """An engine that does not run."""
        self.gateway.run("systemctl", "stop", UNITS[name])
        try:
            yield
        finally:
            self.gateway.run("systemctl", "start", UNITS[name])

    @contextmanager
    def hung(self, name: str) -> Iterator[None]:
        """An engine all of whose processes are stopped: it takes connections and never answers."""
        self.gateway.run("systemctl", "kill", "--signal=STOP", UNITS[name])
        try:
            yield
        finally:
            self.gateway.run("systemctl", "kill", "--signal=CONT", UNITS[name])

    @contextmanager
    def without_memory(self, name: str) -> Iterator[None]:
        """An engine that gets no more memory than it has: its limit of address space is what it uses now."""
        pid = self.gateway.run("systemctl", "show", "--property=MainPID", "--value", UNITS[name]).strip()
        used = f"$(($(sed -n 's/^VmSize:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{pid}/status) * 1024))"
        user = f"--reuid $(stat -c %u /proc/{pid}) --regid $(stat -c %g /proc/{pid}) --clear-groups"
        self.gateway.sh(f"setpriv {user} prlimit --pid {pid} --as={used}")
        try:
            yield
        finally:
            self._restart(name)

    @contextmanager
    def impostor(self, name: str, answer: str) -> Iterator[None]:
        """In an engine's place, somebody who says the same to everybody; `answer` is a line of Python making bytes."""
        path = SOCKETS[name]
        script = IMPOSTOR.format(path=path, answer=answer)
        directory = path.rpartition("/")[0]
        with self.stopped(name):
            self.gateway.sh(f"install -d -g gatescan -m 0750 {directory}; rm -f {path}")
            self.gateway.run("systemd-run", "--quiet", "--collect", "--unit=impostor", "python3", "-c", script)
            try:
                eventually(lambda: self.gateway.sh(f"test -S {path} && echo there", check=False), what="an impostor")
                yield
            finally:
                self.gateway.run("systemctl", "stop", "impostor")
                self.gateway.run("rm", "-f", path)

    def _restart(self, name: str) -> None:
        """Restart an engine; so many tests do in ten seconds that systemd would refuse one more."""
        self.gateway.run("systemctl", "reset-failed", UNITS[name])
        self.gateway.run("systemctl", "restart", UNITS[name])

    @contextmanager
    def clamd_with(self, settings: str) -> Iterator[None]:
        """clamd with a sed script over its configuration; afterwards as before."""
        self.gateway.run("cp", "-p", CLAMD_CONFIG, f"{CLAMD_CONFIG}.test")
        try:
            self.gateway.run("sed", "-i", "-e", settings, CLAMD_CONFIG)
            self._restart("clamd")
            yield
        finally:
            self.gateway.run("mv", f"{CLAMD_CONFIG}.test", CLAMD_CONFIG)
            self._restart("clamd")
