"""The quarantine of one gateway, by its own command."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .frame import Refusal

SECONDS = 100
LONGEST = 8_000_000
"""Bytes of a message that are shown."""
PATH = "/command:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Request:
    """What to do. verb: list, show, message, release or delete. filters: of `gatescan quarantine list`, by name.

    ids: of messages; release and delete take nothing else. by: who asks. again: one more copy of what was released.
    """

    verb: str
    filters: dict[str, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    by: str = ""
    again: bool = False


class Quarantine:
    """A gateway's quarantine."""

    def __init__(self, command: Path, by: str) -> None:
        self.command = command
        # the command takes who asks from there
        self.environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "SUDO_USER": by or "root"} | (
            {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        )

    def answer(self, request: Request) -> dict[str, Any]:
        """Carry it out."""
        if request.verb == "list":
            filters = [f"--{name}={value}" for name, value in request.filters.items()]
            return {"entries": self._entries("list", "--json", *filters), "said": {}}
        if request.verb == "show":
            return {"entries": [entry for one in request.ids for entry in self._entries("show", "--json", "--", one)]}
        if request.verb == "message":
            return self._message(request.ids[0])
        again = ["--again"] if request.verb == "release" and request.again else []
        return {"said": {one: self._one(request.verb, *again, "--", one) for one in request.ids}}

    def _entries(self, *words: str) -> list[dict[str, Any]]:
        done = self._run(*words)
        if done.returncode not in (0, 1):
            raise OSError(0, done.stderr.decode("utf-8", "replace").strip()[-300:] or f"exit status {done.returncode}")
        return [
            json.loads(line) for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith("{")
        ]

    def _message(self, one: str) -> dict[str, Any]:
        done = self._run("show", "--message", "--", one)
        return {"message": base64.b64encode(done.stdout[:LONGEST]).decode("ascii"), "found": done.returncode == 0}

    def _one(self, *words: str) -> dict[str, Any]:
        done = self._run(*words)
        said = (done.stdout if done.returncode == 0 else done.stderr).decode("utf-8", "replace").strip()
        return {"done": done.returncode == 0, "text": said[:500]}

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self.command), "quarantine", *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False
        )


def parse(told: dict[str, Any]) -> Request:
    """A request, out of JSON."""
    return Request(**told | {"ids": tuple(told.get("ids", ()))})


def carry_out(request: Request, root: Path) -> dict[str, Any]:
    """Have gatescan do it; Refusal if it cannot."""
    command = root / "usr/bin/gatescan"
    try:
        return Quarantine(command, request.by).answer(request)
    except FileNotFoundError:
        raise Refusal(f"{command} is not there: this host has no scanner yet; run site.yml first") from None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"{command} quarantine: {getattr(error, 'strerror', None) or error}") from error


def changes(request: Request) -> bool:
    """Whether a request changes anything."""
    return request.verb in ("release", "delete")
