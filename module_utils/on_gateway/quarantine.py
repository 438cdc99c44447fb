"""The quarantine of one gateway, by its own command."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .frame import Refusal

SECONDS = 100
AT_ONCE = 20
"""Messages that one call of the command releases or deletes: each call is a start of Python."""
LONGEST = 8_000_000
"""Bytes of a message that are shown."""
PATH = "/command:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Request:
    """What to do. verb: list, show, message, release or delete. filters: of `gatescan quarantine list`, by name.

    ids: of messages; release and delete take nothing else. by: who asks. again: one more copy of what was released.
    seconds: after which release and delete begin with no further message, so that what was done is told in time.
    """

    verb: str
    filters: dict[str, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    by: str = ""
    again: bool = False
    seconds: float = SECONDS


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
        return self._change(request)

    def _entries(self, *words: str) -> list[dict[str, Any]]:
        done = self._run(*words)
        if done.returncode not in (0, 1):
            raise OSError(0, done.stderr.decode("utf-8", "replace").strip()[-300:] or f"exit status {done.returncode}")
        return [
            json.loads(line) for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith("{")
        ]

    def _message(self, one: str) -> dict[str, Any]:
        done = self._run("show", "--message", "--", one)
        shown = base64.b64encode(done.stdout[:LONGEST]).decode("ascii")
        return {"message": shown, "found": done.returncode == 0, "is_cut": len(done.stdout) > LONGEST}

    def _change(self, request: Request) -> dict[str, Any]:
        """Release or delete some at a time; `left` are those that there was no time for."""
        again = ["--again"] if request.verb == "release" and request.again else []
        said: dict[str, Any] = {}
        end = time.monotonic() + request.seconds
        for start in range(0, len(request.ids), AT_ONCE):
            if time.monotonic() > end:
                break
            some = request.ids[start : start + AT_ONCE]
            said |= self._some(some, request.verb, *again, "--", *some)
        return {"said": said, "left": len(request.ids) - len(said)}

    def _some(self, ids: Sequence[str], *words: str) -> dict[str, Any]:
        """What the command says of each; its lines have the ids."""
        try:
            done = self._run(*words)
            out, errors = (text.decode("utf-8", "replace").splitlines() for text in (done.stdout, done.stderr))
        except subprocess.TimeoutExpired as error:
            out, errors = (error.stdout or b"").decode("utf-8", "replace").splitlines(), [f"no answer in {SECONDS} s"]
        said = {}
        for one in ids:
            good = next((line for line in out if line.split(" ")[0] == one), None)
            text = good or next((line for line in errors if one in line), "\n".join(errors) or "no word about it")
            said[one] = {"done": good is not None, "text": text.strip()[:500]}
        return said

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
