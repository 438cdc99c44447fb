"""How one gateway is, in figures."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .frame import Refusal

PATH = "/command:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SECONDS = 40


def lines(*command: str) -> list[dict[str, Any]]:
    """The JSON lines that a program prints; OSError if it cannot be run."""
    done = subprocess.run(
        command, env={"PATH": PATH}, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def queue(root: Path) -> dict[str, Any]:
    """Messages in the queue, and the seconds that the oldest is there."""
    born = []
    for path in (root / "var/qmail/queue/info").glob("*/*"):
        with contextlib.suppress(FileNotFoundError):
            born.append(path.stat().st_mtime)
    waiting = sum(1 for path in (root / "var/qmail/queue/todo").glob("**/*") if path.is_file())
    return {"count": len(born) + waiting, "oldest": time.time() - min(born) if born else 0}


def held(root: Path) -> int:
    """Messages in quarantine that nobody has released."""
    return sum(1 for _ in os.scandir(root / "var/spool/gatescan/quarantine/new"))


def cutoff(root: Path) -> list[str]:
    """Which ways are cut off."""
    return [way for way in ("inbound", "outbound") if (root / "var/lib/gatewright/cutoff" / way).exists()]


def outbreak(root: Path) -> int:
    """Rules of an outbreak that are in force."""
    try:
        text = (root / "etc/gatescan/outbreak.txt").read_text(errors="replace")
    except FileNotFoundError:
        return 0
    return sum(1 for line in text.splitlines() if line.strip() and not line.startswith("#"))


def engines(root: Path) -> list[dict[str, Any]]:
    """Name, error, and the days since their signatures were made."""
    found = []
    for line in lines(str(root / "usr/bin/gatescan"), "engines", "--json"):
        made = line.get("signatures")
        days = (time.time() - made) / 86_400 if isinstance(made, int | float) and made else None
        found.append(
            {"name": line["name"], "days": days, "is_stale": line.get("stale"), "error": line.get("error", "")}
        )
    return found


def certificate(root: Path) -> float:
    """Days until the certificate that STARTTLS offers ends."""
    command = ["openssl", "x509", "-noout", "-enddate", "-in", str(root / "etc/gatewright/starttls.pem")]
    done = subprocess.run(command, env={"PATH": PATH}, capture_output=True, text=True, timeout=SECONDS, check=True)
    return (ssl.cert_time_to_seconds(done.stdout.strip().partition("=")[2]) - time.time()) / 86_400


def last_change(root: Path) -> float:
    """When a run of site.yml last changed what Gatewright owns; seconds since 1970."""
    return (root / "var/lib/gatewright/owned").stat().st_mtime


def version(root: Path) -> str:
    """Gatewright's release there."""
    command = [str(root / "usr/bin/gatescan"), "version"]
    done = subprocess.run(command, env={"PATH": PATH}, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout.strip().removeprefix("gatescan ")


def pull(root: Path) -> dict[str, Any]:
    """How the gateway's last pull of its inventory went; FileNotFoundError where it pulls none, or has not yet."""
    found = json.loads((root / "var/lib/gatewright/pull/last.json").read_text())
    return {key: found[key] for key in ("result", "commit", "applied_commit", "applied", "at", "why") if key in found}


def doctor(root: Path) -> list[dict[str, Any]]:
    """What `gatescan doctor` finds that is not in order, and a pull that failed."""
    found = [line for line in lines(str(root / "usr/bin/gatescan"), "doctor", "--json") if line.get("state") != "ok"]
    with contextlib.suppress(FileNotFoundError):
        last = pull(root)
        if last["result"] != "ok":
            what = f"pull of {last['commit'][:12] or 'the inventory'} {last['result']}: {last['why']}"
            found.append({"name": "pull", "state": "broken", "what": what})
    return found


LOOKS: dict[str, Callable[[Path], Any]] = {
    "queue": queue,
    "held": held,
    "cutoff": cutoff,
    "outbreak": outbreak,
    "engines": engines,
    "certificate": certificate,
    "changed": last_change,
    "version": version,
    "pull": pull,
    "doctor": doctor,
}


def look(asked: dict[str, Any], root: Path) -> dict[str, Any]:
    """All of it, whatever is asked; a look that fails leaves its figure out. Refusal where there is no gateway."""
    if not (root / "var/qmail/control/me").exists():
        raise Refusal("/var/qmail/control/me is not there: this host is no gateway yet; run site.yml first")
    found: dict[str, Any] = {}
    for name, one in LOOKS.items():
        with contextlib.suppress(OSError, ValueError, KeyError, subprocess.SubprocessError):
            found[name] = one(root)
    return found
