"""The doctor: looks at everything that the scanner needs, and knows what to do when it is missing."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gatescan.config import Config, ConfigError, load
from gatescan.engines.status import statuses
from gatescan.gatefence import Standing
from gatescan.health import metrics, sandbox
from gatescan.judging import rules
from gatescan.outcome.alarm import NEARLY_FULL
from gatescan.outcome.asked import Desk
from gatescan.outcome.quarantine import Quarantine
from gatescan.service import protocol

NOTICE_AGE = 3_600.0
"""Seconds beyond the digest time after which a waiting notice means that nobody sends them."""
REPLY_AGE = 600.0
"""Seconds after which a reply to a notice should have been answered."""
PATIENCE = 10.0
"""Seconds for the daemon to answer; all of its workers may be busy with large messages."""
FIGURES_AGE = 60.0
"""Seconds after which the master's figures say nothing any more."""
CERTIFICATE_DAYS = 14
"""Days before its end from which on a certificate should have been renewed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. advice: what to do, empty if it is well."""

    state: Literal["ok", "warning", "broken"]
    what: str
    advice: str = ""


def examine(config_path: Path | None = None) -> Iterator[Check]:
    """All checks, in the order in which things are needed."""
    try:
        config = load(config_path)
    except ConfigError as error:
        yield Check("broken", f"configuration: {error}", "correct the inventory and run playbooks/site.yml")
        return
    yield Check("ok", "configuration")
    looks = (
        _rules,
        _libraries,
        _engines,
        _daemon,
        _quarantine,
        _directories,
        _next_queue,
        _sandbox,
        _notices,
        _replies,
        _certificate,
    )
    for look in looks:
        yield from _safely(look, config)


def _safely(look: Callable[[Config], Iterator[Check]], config: Config) -> Iterator[Check]:
    try:
        yield from look(config)
    except OSError as error:
        name = look.__name__.strip("_")
        yield Check("broken", f"{name}: {error}", "run as root; if it is missing, run playbooks/site.yml")


def _rules(config: Config) -> Iterator[Check]:
    try:
        loaded = rules.load(config.rules.compiled)
    except rules.RulesError as error:
        yield Check("broken", f"rules: {error}", "run `gatescan rules build`; until then all mail gets 4xx")
        return
    if rules.is_stale(loaded):
        yield Check("warning", f"rules: {loaded.source} was edited since", "run `gatescan rules build`")
    elif not loaded.rules:
        yield Check("warning", "rules: there are none", f"write some into {loaded.source}")
    else:
        yield Check("ok", f"rules: {len(loaded.rules)} in force")


def _libraries(config: Config) -> Iterator[Check]:
    from gatescan.errors import Unavailable
    from gatescan.unpack import _libarchive

    del config
    try:
        _libarchive.library()
        yield Check("ok", "libraries: libarchive")
    except Unavailable as error:
        advice = "install the Debian package libarchive13; until then mail with archives gets 4xx"
        yield Check("broken", f"libraries: {error}", advice)


def _engines(config: Config) -> Iterator[Check]:
    try:
        found = list(statuses(config))
    except ConfigError as error:
        yield Check("broken", f"engines: {error}", "correct the inventory and run playbooks/site.yml")
        return
    if not found:
        yield Check("ok", "engines: none is configured; rules and types alone decide")
    for status in found:
        if status.error:
            yield Check("broken", f"engine {status.name}: {status.error}", status.advice)
        elif status.stale:
            advice = "does its updater run, and reach its server?"
            yield Check("warning", f"engine {status.name}: signatures are {status.age:.1f} days old", advice)
        elif status.left_alone:
            what = f"engine {status.name}: {status.record.streak} failures in a row: {status.record.why}"
            yield Check("warning", what, "it answers now; the next message will tell")
        else:
            yield Check("ok", f"engine {status.name}: {status.version}")


def _daemon(config: Config) -> Iterator[Check]:
    path = config.daemon.socket
    try:
        pong = protocol.ping(path, PATIENCE)
    except OSError as error:
        advice = "look at the daemon's log and at `svstat`; until it answers all mail gets 4xx"
        yield Check("broken", f"daemon: {path}: {error.strerror or error}", advice)
        yield from _workers(config)
        return
    yield from _workers(config)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode != config.daemon.socket_mode:
        yield Check("warning", f"daemon: socket has mode {mode:o}", "restart the daemon")
    yield Check("ok", f"daemon: answers on {path}")
    yield _fence(pong)


def _workers(config: Config) -> Iterator[Check]:
    """What the master says of its workers; old figures are those of a daemon that has ended."""
    known = metrics.read_master(config)
    with contextlib.suppress(OSError):
        if time.time() - metrics.master_file(config).stat().st_mtime > FIGURES_AGE:
            known = {}
    if not known:
        return
    serving, wanted = known.get("gatescan_workers", 0), known.get("gatescan_workers_wanted", 0)
    since = known.get("gatescan_without_worker_seconds", 0)
    advice = "the daemon's log says why they end"
    if not serving:
        what = f"daemon: no worker has served for {since:.0f} seconds; after {config.daemon.watchdog:g} it starts anew"
        yield Check("broken", what, advice)
    elif serving < wanted:
        yield Check("warning", f"daemon: {serving:.0f} of {wanted:.0f} workers serve", advice)


def _fence(pong: protocol.Pong) -> Check:
    """What the worker that answered says of its fence, and what the kernel says of the daemon's workers."""
    standing = Standing.parse(pong.fence)
    if standing is None:
        return Check("warning", "fence: the daemon tells nothing of it", "svc -h /service/gatescan")
    if standing.state == "off":
        return Check(
            "warning",
            f"fence: {standing.text}",
            "set scanner_settings.daemon.confined to true, unless it is off on purpose",
        )
    what = f"fence: {standing.text}"
    seen = sandbox.of_workers(pong.daemon)
    open_ones = [pid for pid, confined in seen.items() if not confined]
    if open_ones:
        what += f"; without NoNewPrivs or Seccomp: process {', '.join(map(str, sorted(open_ones)))}"
    if standing.state == "part" or open_ones:
        advice = "mail is served; is the kernel Debian's, and does a container's or a unit's own filter allow it?"
        return Check("warning", what, advice)
    return Check("ok", f"{what}; NoNewPrivs and Seccomp in {len(seen)} workers")


def _quarantine(config: Config) -> Iterator[Check]:
    settings = config.quarantine
    for place in ("tmp", "new", "cur"):
        if not (settings.directory / place).is_dir():
            advice = "run playbooks/site.yml; until then what should be held gets 4xx"
            yield Check("broken", f"quarantine: no {settings.directory / place}", advice)
            return
    state = settings.directory.stat()
    if stat.S_IMODE(state.st_mode) & 0o077:
        yield Check("warning", "quarantine: others may look into it", f"chmod 700 {settings.directory}")
    disk = os.statvfs(settings.directory)
    free = disk.f_bavail * disk.f_frsize
    if free <= settings.min_free_bytes:
        yield Check("broken", f"quarantine: {free} bytes free", "make room: what should be held gets 4xx")
    count, total = Quarantine(settings).measure()
    full = max(count / max(1, settings.max_messages), total / max(1, settings.max_bytes))
    if full >= 1:
        advice = "delete or expire some, or raise quarantine.max_...; what should be held gets 4xx"
        yield Check("broken", f"quarantine: full ({count} messages, {total} bytes)", advice)
    elif full >= NEARLY_FULL:
        yield Check("warning", f"quarantine: {full:.0%} full", "look through `gatescan quarantine list`")
    else:
        yield Check("ok", f"quarantine: {count} messages, {full:.0%} full")


def _directories(config: Config) -> Iterator[Check]:
    journal = config.journal
    wanted = {
        "journal": {journal.quarantine_log.parent, journal.json_log.parent},
        "metrics": {journal.metrics.parent, journal.counters},
        "notices": {config.notices_spool},
    }
    for what, directories in wanted.items():
        missing = [directory for directory in sorted(directories) if not directory.is_dir()]
        for directory in missing:
            yield Check("broken", f"{what}: no directory {directory}", "run playbooks/site.yml")
        if not missing:
            yield Check("ok", f"{what}: {', '.join(map(str, sorted(directories)))}")


def _next_queue(config: Config) -> Iterator[Check]:
    program = config.next_queue[0]
    if os.access(program, os.X_OK):
        yield Check("ok", f"next queue: {program}")
    else:
        yield Check("broken", f"next queue: cannot run {program}", "is qmail installed? see next_queue")


def _sandbox(config: Config) -> Iterator[Check]:
    svscan = sandbox.of_svscan()
    if svscan is None:
        return
    advice = "loosen it: `systemctl cat svscan`, `systemctl restart svscan`; until then mail gets 4xx"
    if not svscan.may_gain:
        what = "sandbox: svscan's services have NoNewPrivileges, so set-uid qmail-queue cannot write its queue"
        yield Check("broken", what, advice)
    shut = [str(path) for path in _written(config) if path.exists() and not svscan.can_write(path)]
    if shut:
        yield Check("broken", f"sandbox: svscan's services may not write to {', '.join(shut)}", advice)
    elif svscan.may_gain:
        yield Check("ok", "sandbox: svscan's services may write what mail needs")


def _written(config: Config) -> list[Path]:
    """What services below svscan must write to: the next program's queue, beside its bin as qmail's is, and our own."""
    journal = config.journal
    own = (config.daemon.socket.parent, config.spool, config.quarantine.directory, journal.json_log.parent)
    return sorted({Path(config.next_queue[0]).parent.parent / "queue", journal.metrics.parent, *own})


def _notices(config: Config) -> Iterator[Check]:
    if not config.notices.enabled:
        yield Check("ok", "notices: switched off")
        return
    advice = "does `gatescan notify --loop` run? look at its log"
    yield _waiting("notices", config.notices_spool, config.notices.digest_minutes * 60 + NOTICE_AGE, advice)


def _replies(config: Config) -> Iterator[Check]:
    if config.release.enabled:
        advice = "systemctl status gatescan-answers.path gatescan-answers.service"
        yield _waiting("replies to notices", Desk(config).directory, REPLY_AGE, advice)


def _waiting(what: str, spool: Path, patience: float, advice: str) -> Check:
    """How many files of a spool wait, which have the time of their coming in their names, and whether one is late."""
    names = [entry.name for entry in os.scandir(spool) if entry.name[:1].isdigit() and entry.name.endswith(".json")]
    age = time.time() - min((float(name.split("-", 1)[0]) for name in names), default=time.time())
    if age > patience:
        return Check("warning", f"{what}: {len(names)} wait, one for {age / 60:.0f} minutes", advice)
    return Check("ok", f"{what}: {len(names)} wait")


def _certificate(config: Config) -> Iterator[Check]:
    """The SMTP server's certificate: mail servers take any, but some people ask for a good one."""
    if not config.certificate:
        return
    what = f"certificate: {config.certificate}"
    advice = (
        "put a renewed certificate and key where starttls_certificate and starttls_key say, if those are set;"
        " then run `gatewright-certificate renew`, which says what is wrong"
    )
    text = Path(config.certificate).read_bytes()
    shown = subprocess.run(["openssl", "x509", "-noout", "-enddate"], input=text, capture_output=True, check=False)
    _, _, date = shown.stdout.decode("ascii", "replace").strip().partition("=")
    if shown.returncode or not date:
        yield Check("broken", f"{what}: holds no certificate; STARTTLS is not to be had", advice)
        return
    days = (ssl.cert_time_to_seconds(date) - time.time()) / 86_400
    if days < 0:
        yield Check("broken", f"{what}: expired {-days:.0f} days ago, on {date}", advice)
    elif days < CERTIFICATE_DAYS:
        yield Check("warning", f"{what}: ends in {days:.0f} days, on {date}", advice)
    else:
        yield Check("ok", f"{what}: good for {days:.0f} days")
