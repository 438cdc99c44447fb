"""What the postmaster hears of at once: the daemon writes it down, a program that may send mail sends it.

The daemon itself has no right to run set-uid programs, and qmail-queue is one. What it writes down outlives it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from email.utils import formatdate
from pathlib import Path

from gatekeeper.config import Config
from gatekeeper.gatereport.post import host_name
from gatekeeper.store import Shelf

log = logging.getLogger("gatekeeper")

AGAIN = 3600.0
"""Seconds after which the same is told again while its cause lasts."""
WAITING = 1000
"""Alerts that may wait to be mailed; the log has the others."""
LINES = 100
"""Alerts that one mail shows."""
PAUSE = 45.0
"""Seconds between two mails."""
RETRY = 15.0
"""Seconds after a mail that could not be sent."""
SENDING = 60.0
"""Seconds for qmail-inject."""


def folder_of(config: Config) -> Path:
    """Where alerts wait."""
    return config.state.parent / "alerts"


class Alerts:
    """Says each thing once an hour, in the log and to the postmaster."""

    def __init__(self, folder: Path, told: Shelf) -> None:
        self.folder = folder
        self.told = told
        self.counts: Counter[str] = Counter()

    def tell(self, kind: str, key: str, text: str) -> None:
        """Tell something, unless it was told within the hour. kind: for the metric; key: what is the same."""
        now, told = self.told.clock(), self.told.get(key)
        if told and abs(now - told[0]) < AGAIN:  # a clock that was put right silences nobody
            return
        self.told.put(key, [now], AGAIN)
        self.counts[kind] += 1
        log.warning("ALERT %s", text)
        try:
            self._spool(text)
        except OSError as error:
            log.error("no mail of this will be sent: %s", error)

    def _spool(self, text: str) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if len(os.listdir(self.folder)) >= WAITING:
            raise OSError(f"{self.folder} has {WAITING} alerts that wait to be mailed")
        path = self.folder / f"{time.time_ns()}.alert"
        fresh = path.with_suffix(".new")
        fresh.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        fresh.replace(path)


def mail_all(config: Config, sleep: Callable[[float], None] = time.sleep) -> int:
    """Mail what waits, until nothing does; returns how many mails that were."""
    count = 0
    while waiting := sorted(folder_of(config).glob("*.alert")):
        if not _mail(config, waiting):
            sleep(RETRY)
            continue
        count += 1
        for path in waiting:
            path.unlink(missing_ok=True)
        sleep(PAUSE)  # what comes meanwhile is one more mail
    return count


def _mail(config: Config, waiting: Sequence[Path]) -> bool:
    """Mail some alerts in one message; whether qmail has it."""
    name = host_name(config.home)
    texts = [_text(path) for path in waiting[:LINES]]
    if len(waiting) > LINES:
        texts.append(f"... and {len(waiting) - LINES} more, which the log has")
    command = [str(config.home / "bin/qmail-inject"), "-a", "-f", "", f"postmaster@{name}"]
    message = compose(name, texts).encode("utf-8", "backslashreplace")
    try:
        done = subprocess.run(command, input=message, capture_output=True, timeout=SENDING, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.error("alerts wait: %s", error)
        return False
    if done.returncode:
        log.error("alerts wait: qmail-inject: %s", done.stderr.decode("utf-8", "replace").strip()[:300])
    return done.returncode == 0


def _text(path: Path) -> str:
    """When an alert was, and what it says."""
    try:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(path.stat().st_mtime))
        return f"{when}  {path.read_text(encoding='utf-8', errors='replace').strip()}"
    except OSError as error:
        return str(error)


def compose(name: str, texts: Sequence[str]) -> str:
    """The mail of some alerts."""
    subject = f"{name}: {len(texts)} alerts of gatekeeper" if len(texts) > 1 else f"{name}: an alert of gatekeeper"
    lines = [
        f"Date: {formatdate(localtime=True)}",
        f"From: gatekeeper <postmaster@{name}>",
        f"To: postmaster@{name}",
        f"Subject: {subject}",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        *texts,
        "",
        "Over a limit a client hears 451 and tries again later, so nothing is lost; has it been taken over?",
        f"The same is told again in an hour if it lasts. The log: /var/log/gatekeeper/daemon/current on {name}.",
    ]
    return "\n".join(lines) + "\n"
