"""The doctor: whether the daemon answers, and whether all that it decides by is in order."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gatekeeper.config import ConfigError, load
from gatekeeper.gatefence import Standing
from gatekeeper.store import ASIDE

FETCHED = Path("/var/lib/gatekeeper-ldap")
"""Where gatekeeper-ldap puts what it fetches."""
PATIENCE = 10.0
"""Seconds for the daemon to answer."""
MOST = 16 << 20
"""Bytes of an answer."""
GO_ON = b"request=smtpd_access_policy\nprotocol_state=CONNECT\n\n"


class NoAnswer(Exception):
    """The daemon cannot be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. advice: what to do, empty if it is well."""

    state: Literal["ok", "warning", "broken"]
    what: str
    advice: str = ""


def order(path: Path, verb: str, /, **given: str) -> Mapping[str, Any]:
    """What the daemon says to an order; raise NoAnswer."""
    lines = {"request": f"gatekeeper_{verb}", **given}
    text = "".join(f"{name}={value}\n" for name, value in lines.items()) + "\n"
    said = _ask(path, text.encode("utf-8", "surrogateescape"))
    try:
        found = json.loads(said)
    except ValueError:
        raise NoAnswer(f"{path} gives no answer to the commands of this release; is the daemon an older one?") from None
    if not isinstance(found, dict):
        raise NoAnswer(f"{path} gives an answer that is none")
    return found


def _ask(path: Path, text: bytes) -> bytes:
    """The answer to a text, up to the empty line; raise NoAnswer."""
    said = b""
    try:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(PATIENCE)
            wire.connect(str(path))
            wire.sendall(text)
            while not said.endswith(b"\n\n") and len(said) < MOST and (more := wire.recv(65536)):
                said += more
    except OSError as error:
        raise NoAnswer(f"{path}: {error.strerror or error}") from None
    return said


def examine(config_path: Path) -> Iterator[Check]:
    """All checks, in the order in which things are needed."""
    try:
        config = load(config_path)
    except ConfigError as error:
        yield Check("broken", f"configuration: {error}", "correct the inventory and run playbooks/site.yml")
        return
    yield Check("ok", "configuration")
    path = config.socket
    try:
        if not _ask(path, GO_ON).startswith(b"action="):
            raise NoAnswer(f"{path} lets nobody ask now")
        found = order(path, "status")
    except NoAnswer as error:
        advice = "look at /var/log/gatekeeper/daemon/current and `svstat /service/gatekeeper`; senders hear 451"
        yield Check("broken", f"daemon: {error}", advice)
        return
    yield Check("ok", f"daemon: answers on {path}")
    yield _fence(found["fence"])
    yield _state(found["state"])
    # a daemon of the release before, which runs on until the end of an upgrade, does not say all
    if (trouble := found.get("names")) is not None:
        yield _names(trouble, f"{config.name_server}:{config.name_server_port}")
    yield from map(_list, found["lists"])
    yield from map(_dns_list, found["dns_lists"])
    if config.authentication:
        yield _authentication(config.authentication_socket)


def _authentication(path: Path) -> Check:
    """Whether somebody answers at the queue client's socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as wire:
            wire.settimeout(PATIENCE)
            wire.connect(str(path))
            wire.send(b"\0")
            is_ready = wire.recv(MOST).endswith(b"ready")
    except OSError as error:
        advice = "svc -t /service/gatekeeper; until then mail from outside gets 451"
        return Check("broken", f"authentication: {path}: {error.strerror or error}", advice)
    if not is_ready:
        return Check("broken", f"authentication: {path} gives no answer", "svc -t /service/gatekeeper")
    return Check("ok", f"authentication: answers on {path}")


def _fence(told: str) -> Check:
    """How much of the worker's fence stands."""
    standing = Standing.parse(told)
    if standing is None or standing.state == "part":
        advice = "mail is served; is the kernel Debian's, and does a container's own filter allow it?"
        return Check("warning", f"fence: {standing.text if standing else told}", advice)
    if standing.state == "off":
        advice = "take confined out of gatekeeper_settings, unless it is off on purpose"
        return Check("warning", f"fence: {standing.text}", advice)
    return Check("ok", f"fence: {standing.text}")


def _state(found: Mapping[str, Any]) -> Check:
    if found["trouble"]:
        advice = "make room, or give it to the user gatekeeper; until then a restart forgets counters"
        return Check("broken", f"state: {found['path']} cannot be written: {found['trouble']}", advice)
    aside = Path(f"{found['path']}{ASIDE}")
    if aside.exists():
        advice = "look at the disk (dmesg, smartctl), then remove that file; counters of before may be lost"
        return Check("warning", f"state: it was corrupt and was made anew; the old one is {aside}", advice)
    return Check("ok", f"state: {found['path']} is written")


def _names(trouble: str, server: str) -> Check:
    """Whether the name server answers."""
    if trouble:
        advice = (
            "does it run (systemctl status unbound, svstat /service/dnscache)? mail whose author is not known gets 451"
        )
        return Check("broken", f"name server: {server} gives no answer: {trouble}", advice)
    return Check("ok", f"name server: {server} answers")


def _list(found: Mapping[str, Any]) -> Check:
    what = f"recipients: {found['path']}"
    if found["addresses"] is None:
        why = found["trouble"] or "it was written just now"
        return Check("broken", f"{what}: {why}", "mend the file; mail of its domains gets 451")
    if found.get("unserved"):
        advice = "mend the file, or take the domain out of gatekeeper_recipients; its mail gets 451"
        return Check("broken", f"{what}: no address at {', '.join(found['unserved'])}", advice)
    if found["trouble"]:
        advice = "mend the file, or `gatekeeper accept FILE` if it is right; the list of before is in force"
        return Check("warning", f"{what}: {found['trouble']}", advice)
    if days := _days_old(Path(found["path"])):
        return Check("warning", f"{what}: the directory was last read {days} days ago", "journalctl -u gatekeeper-ldap")
    return Check("ok", f"{what}: {found['addresses']} addresses")


def _days_old(path: Path) -> int:
    """How many whole days ago a directory was fetched; 0 for a file of the site's own."""
    if path.parent != FETCHED or not path.exists():
        return 0
    return max(0, int((time.time() - path.stat().st_mtime) / 86_400))


def _dns_list(found: Mapping[str, Any]) -> Check:
    if found["trouble"]:
        return Check("warning", f"DNS list {found['zone']}: left out: {found['trouble']}", "see docs/door.md")
    return Check("ok", f"DNS list {found['zone']}: in order")
