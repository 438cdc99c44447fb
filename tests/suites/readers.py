"""Eight ordinary readers of mail: what each of them takes out of a message. What is not installed is left out."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from email.message import Message
from functools import partial
from pathlib import Path

_HERE = Path(__file__).parent
_SECONDS = 600

File = tuple[str, bytes]
Reader = Callable[[Sequence[Path]], list[list[File]]]
"""Paths of messages -> for each, in their order, the files that were taken out of it."""


def available(modules: Path) -> dict[str, Reader]:
    """The readers of this machine by name; `modules` may hold node's, in a folder `node_modules`."""
    found: dict[str, Reader] = {
        "email, compat32": partial(_by_email, email.policy.compat32),
        "email, default": partial(_by_email, email.policy.default),
    }
    env = {**os.environ, "NODE_PATH": os.environ.get("NODE_PATH", str(modules / "node_modules"))}
    for name in ("MIME::Parser", "Email::MIME"):
        if shutil.which("perl") and _runs(["perl", f"-M{name}", "-e", "1"], env):
            found[name] = partial(_by_script, ["perl", str(_HERE / "readers.pl"), name], env)
    for name in ("mailparser", "postal-mime"):
        if shutil.which("node") and _runs(["node", "-e", f"require('{name}')"], env):
            found[name] = partial(_by_script, ["node", str(_HERE / "readers.js"), name], env)
    if shutil.which("munpack"):
        found["munpack"] = partial(
            _by_program, lambda path, out: ["munpack", "-q", "-f", "-t", "-C", str(out), str(path)]
        )
    if shutil.which("ripmime"):
        found["ripmime"] = partial(_by_program, lambda path, out: ["ripmime", "-i", str(path), "-d", str(out)])
    return found


ALL = (
    "email, compat32",
    "email, default",
    "MIME::Parser",
    "Email::MIME",
    "munpack",
    "ripmime",
    "mailparser",
    "postal-mime",
)


def _runs(command: Sequence[str], env: dict[str, str]) -> bool:
    return subprocess.run(command, env=env, capture_output=True, timeout=60).returncode == 0


def _by_email(policy: email.policy.Policy, paths: Sequence[Path]) -> list[list[File]]:
    return [_taken_by_email(email.message_from_bytes(path.read_bytes(), policy=policy)) for path in paths]


def _taken_by_email(message: Message) -> list[File]:
    found = []
    for part in message.walk():
        if part.is_multipart():
            continue
        try:
            payload = part.get_payload(decode=True)
        except Exception:
            continue  # it gives up on this part, so nobody sees it
        try:
            name = part.get_filename() or ""
        except Exception:
            name = ""
        found.append((str(name), payload if isinstance(payload, bytes) else b""))
    return found


def _by_script(command: Sequence[str], env: dict[str, str], paths: Sequence[Path]) -> list[list[File]]:
    asked = "".join(f"{path}\n" for path in paths).encode()
    done = subprocess.run(command, input=asked, env=env, capture_output=True, timeout=_SECONDS, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths), f"{command}: {len(lines)} answers for {len(paths)} messages"
    return [[(name, base64.b64decode(content)) for name, content in json.loads(line)] for line in lines]


def _by_program(command: Callable[[Path, Path], list[str]], paths: Sequence[Path]) -> list[list[File]]:
    found = []
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(command(path, Path(folder)), capture_output=True, timeout=60)
            files = [p for p in sorted(Path(folder).rglob("*")) if p.is_file()]
            found.append([(file.name, file.read_bytes()) for file in files])
    return found
