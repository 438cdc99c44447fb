#!/usr/bin/python3
"""One file of figures for Prometheus: what the scanner and gatekeeper publish, and what nobody else counts.

Run each minute. Logs are followed from where the last run ended, over multilog's and logrotate's turns, so counters
neither lose nor double a line. Managed by Gatewright.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import ssl
import stat
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewright_logs import Mark, files_of, head_of, unread, whole_lines

TAI = 4_611_686_018_427_387_914
"""What a TAI64 label says at the beginning of 1970, as supervise counts."""
PLACE = "var/lib/gatewright/metrics"
JOINED = {
    "scanner": "var/lib/gatescan/metrics/gatescan.prom",
    "scanner's master": "var/lib/gatescan/metrics/gatescan-daemon.prom",
    "gatekeeper": "run/gatekeeper/gatekeeper.prom",
}
"""What other programs publish; each line of theirs goes into the file as it is."""

FAMILIES = {
    "gatewright_queue_messages": ("gauge", "Messages in qmail's queue."),
    "gatewright_queue_unprocessed_messages": ("gauge", "Those that qmail-send has not looked at yet."),
    "gatewright_queue_oldest_age_seconds": ("gauge", "Age of the oldest message in the queue; 0 if it is empty."),
    "gatewright_attempts_total": ("counter", "Attempts to deliver, by their result."),
    "gatewright_deferrals_total": ("counter", "Attempts that failed for now, by reason."),
    "gatewright_bounces_total": ("counter", "Messages that went back to their sender."),
    "gatewright_deliveries_total": (
        "counter",
        "Deliveries to other servers, by TLS and verified name.",
    ),
    "gatewright_sessions_total": ("counter", "SMTP sessions that came in."),
    "gatewright_sessions_tls_total": ("counter", "Those that went over to TLS, by version."),
    "gatewright_door_refusals_total": ("counter", "Connections and recipients turned away before there was a message."),
    "gatewright_certificate_end_timestamp_seconds": ("gauge", "When the certificate of port 25 ends."),
    "gatewright_cutoff": ("gauge", "1 while mail of this way is cut off."),
    "gatewright_outbreak_rules": ("gauge", "Rules of an outbreak that are in force."),
    "gatewright_last_change_timestamp_seconds": (
        "gauge",
        "When a run of site.yml last changed a file.",
    ),
    "gatewright_last_run_timestamp_seconds": ("gauge", "When a whole run of site.yml last came to its end."),
    "gatewright_pull_failed": ("gauge", "1 after a pull of the inventory that failed, 0 after one that did not."),
    "gatewright_pull_timestamp_seconds": ("gauge", "When the last pull ended."),
    "gatewright_pull_applied_timestamp_seconds": ("gauge", "When a pull last applied the repository."),
    "gatewright_service_up": ("gauge", "1 while a service below /service runs."),
    "gatewright_service_start_timestamp_seconds": ("gauge", "Since when a service is in its present state."),
    "gatewright_disk_free_ratio": ("gauge", "Free share of the file system below a path, from 0 to 1."),
    "gatewright_inodes_free_ratio": ("gauge", "The same of its inodes."),
    "gatewright_source_readable": ("gauge", "0 when a log, a look, or what a program publishes cannot be read."),
    "gatewright_source_timestamp_seconds": ("gauge", "When a program last published its figures."),
    "gatewright_written_timestamp_seconds": ("gauge", "When this file was written."),
}
"""Name to kind and meaning."""

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A family's name, and its labels."""
Counts = Counter[Series]
Figures = Iterator[tuple[Series, float]]


def series(family: str, **labels: str) -> Series:
    """A series by its labels, in alphabetical order."""
    return family, tuple(sorted(labels.items()))


# --- what stands in the logs ---

REASONS = (
    ("tls", re.compile(rb"but_TLS_is_|no_handshake")),
    ("dns", re.compile(rb"find_any_host|CNAME_lookup|find_a_mail_exchanger|#4\.[14]\.[34]\)|DNSSEC|MTA-STS")),
    ("busy", re.compile(rb"Too_many_messages_to_this_host")),
    ("connection", re.compile(rb"establish_an_SMTP_connection|connection_died|took_longer_than|#4\.4\.[125]\)")),
    ("full", re.compile(rb"said:_452|[ _/-]4\.2\.2[_ ]")),
    ("policy", re.compile(rb"said:_4\d\d[-_ ]4\.7\.|said:_421|[Gg]r[ea]y-?list")),
    ("remote", re.compile(rb"Remote_host_said:|greeting_failed|name_was_rejected|sender_was_rejected|does_not_like")),
    ("local", re.compile(rb"#4\.3\.\d\)|[Uu]nable_to_|mailbox")),
)
"""Why a delivery is put off, the first that fits; texts are qmail-send's, with _ for a blank."""
SENT = re.compile(rb"(?m)^@[0-9a-f]{24} (?:delivery \d+: (success|failure|deferral): ?([^\n]*)|(bounce) msg )")
VERIFIED = ("certificate", "DANE", "MTA-STS")
"""By what gatepost verifies a server's name."""
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
DOOR = re.compile(
    rb"(?m)^@[0-9a-f]{24} (?:(?P<session>tcpserver: pid) "
    rb"|starttls: \d+ (?:(?P<version>TLSv1(?:\.[1-3])?):|(?P<tls>no handshake))"
    rb"|(?P<slots>slots: \d+ )|(?P<denied>tcpserver: deny )|(?P<listed>rblsmtpd: \S+ pid \d+:))"
)
DOOR_REASONS = {"tls": "tls", "slots": "too many connections", "denied": "denied", "listed": "DNS list"}
KEEPER = re.compile(
    rb"(?m)^@[0-9a-f]{24} gatekeeper\[\d+\]: \w+ (?:(?P<unknown>refused unknown )|(?P<sender>refused sender )"
    rb"|(?P<listed>refused listed )|(?P<limit>put off limit )|(?P<guesses>smtp-enum-users )"
    rb"|(?P<later>recipient=\S* is put off:))"
)
KEEPER_REASONS = {
    "unknown": "unknown recipient",
    "sender": "sender not allowed",
    "listed": "DNS list",
    "limit": "limit",
    "guesses": "too many unknown recipients",
    "later": "recipient not verified",
}


def reason_of(text: bytes) -> str:
    """Why a delivery was put off, in a word."""
    return next((name for name, pattern in REASONS if pattern.search(text)), "other")


def count_sent(block: bytes, counts: Counts) -> None:
    """Count what qmail-send tells of deliveries."""
    for result, text, bounce in SENT.findall(block):
        if bounce:
            counts[series("gatewright_bounces_total")] += 1
            continue
        counts[series("gatewright_attempts_total", result=result.decode())] += 1
        if result == b"deferral":
            counts[series("gatewright_deferrals_total", reason=reason_of(text))] += 1


def count_links(block: bytes, counts: Counts) -> None:
    """Count gatepost's deliveries by TLS."""
    for line in block.splitlines():
        told = parsed(line)
        if told.get("result") == "success":
            version = told.get("tls") if told.get("tls") in TLS_VERSIONS else "none"
            verified = told.get("verified") if told.get("verified") in VERIFIED else "no"
            counts[series("gatewright_deliveries_total", tls=str(version), verified=str(verified))] += 1


def parsed(line: bytes) -> dict[str, Any]:
    """A line's JSON object; an empty one if it is none."""
    with contextlib.suppress(ValueError):
        told = json.loads(line)
        return told if isinstance(told, dict) else {}
    return {}


def count_door(block: bytes, counts: Counts) -> None:
    """Count sessions, and those that were turned away by tcpserver and what it runs."""
    for found in DOOR.finditer(block):
        kind = str(found.lastgroup)
        if kind == "session":
            counts[series("gatewright_sessions_total")] += 1
        elif kind == "version":
            counts[series("gatewright_sessions_tls_total", tls=found["version"].decode())] += 1
        else:
            counts[series("gatewright_door_refusals_total", reason=DOOR_REASONS[kind])] += 1


def count_keeper(block: bytes, counts: Counts) -> None:
    """Count what gatekeeper turned away."""
    for found in KEEPER.finditer(block):
        counts[series("gatewright_door_refusals_total", reason=KEEPER_REASONS[str(found.lastgroup)])] += 1


@dataclass(frozen=True)
class Log:
    """A log: its present file, how its predecessors are named (a glob), and what counts its lines."""

    path: str
    older: str
    count: Callable[[bytes, Counts], None]


LOGS = (
    Log("var/log/qmail/current", "@*", count_sent),
    Log("var/log/qmail/smtpd/current", "@*", count_door),
    Log("var/log/gatepost/deliveries.jsonl", "deliveries.jsonl.1", count_links),
    Log("var/log/gatekeeper/daemon/current", "@*", count_keeper),
)


def zeros() -> Counts:
    """Every counter that there can be, so that an alert sees the first of its events as an increase."""
    counts: Counts = Counter({series("gatewright_bounces_total"): 0, series("gatewright_sessions_total"): 0})
    for result in ("success", "failure", "deferral"):
        counts[series("gatewright_attempts_total", result=result)] = 0
    for reason in (*(name for name, _ in REASONS), "other"):
        counts[series("gatewright_deferrals_total", reason=reason)] = 0
    for reason in (*DOOR_REASONS.values(), *KEEPER_REASONS.values()):
        counts[series("gatewright_door_refusals_total", reason=reason)] = 0
    return counts


# --- logs that turn ---


def follow(root: Path, log: Log, mark: Mark | None, counts: Counts) -> Mark | None:
    """Count a log's new lines; how far that went. Without a mark it begins at the end, as counters do at 0."""
    now = time.time()
    with contextlib.ExitStack() as stack:
        files = files_of(root / log.path, log.older, stack)
        if not files:
            return mark
        if mark is None:
            files[-1].seek(0, os.SEEK_END)
        else:
            for file in unread(files, mark):
                for block in whole_lines(file):
                    log.count(block, counts)
        last = files[-1]
        return Mark(os.fstat(last.fileno()).st_ino, head_of(last), last.tell(), now)


class State:
    """What is kept from run to run: counters, and how far each log has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = zeros()
        self.marks: dict[str, Mark] = {}
        self.readable: dict[str, bool] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            self._take(json.loads(path.read_text()))

    def _take(self, kept: Mapping[str, Any]) -> None:
        marks = {name: Mark(**mark) for name, mark in kept["marks"].items()}
        for family, labels, count in kept["counts"]:
            if family in FAMILIES:  # a release before may have counted other things
                self.counts[family, tuple((str(name), str(value)) for name, value in labels)] = int(count)
        self.marks = marks

    def follow_all(self, root: Path) -> None:
        """Count what the logs have got since."""
        for log in LOGS:
            try:
                mark = follow(root, log, self.marks.get(log.path), self.counts)
                self.readable[log.path] = True
            except OSError:
                mark = None
                self.readable[log.path] = False
            if mark:
                self.marks[log.path] = mark

    def told(self) -> Figures:
        """Whether each log could be read."""
        for name, is_readable in self.readable.items():
            yield series("gatewright_source_readable", source=f"/{name}"), is_readable

    def keep(self) -> None:
        """Write it down; raise OSError."""
        counts = [[family, labels, count] for (family, labels), count in self.counts.items()]
        marks = {name: vars(mark) for name, mark in self.marks.items()}
        replace(self.path, json.dumps({"counts": counts, "marks": marks}), 0o600)


# --- what is looked at ---


def queue(root: Path) -> Figures:
    """qmail's queue."""
    place, born = root / "var/qmail/queue", []
    for part in (place / "info").iterdir():
        for path in part.iterdir():
            with contextlib.suppress(FileNotFoundError):
                born.append(path.stat().st_mtime)
    waiting = sum(len(files) for _, _, files in os.walk(place / "todo"))
    yield series("gatewright_queue_messages"), len(born) + waiting
    yield series("gatewright_queue_unprocessed_messages"), waiting
    yield series("gatewright_queue_oldest_age_seconds"), max(0.0, time.time() - min(born)) if born else 0


def certificate(root: Path) -> Figures:
    """When the certificate that STARTTLS offers ends; nothing where there is none."""
    path = root / "etc/gatewright/starttls.pem"
    if not path.exists():
        return
    command = ["/usr/bin/openssl", "x509", "-noout", "-enddate", "-in", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    yield (
        series("gatewright_certificate_end_timestamp_seconds"),
        ssl.cert_time_to_seconds(told.strip().partition("=")[2]),
    )


def switches(root: Path) -> Figures:
    """What an administrator has switched: cutoffs and outbreaks."""
    for way in ("inbound", "outbound"):
        yield series("gatewright_cutoff", way=way), (root / "var/lib/gatewright/cutoff" / way).exists()
    path = root / "etc/gatescan/outbreak.txt"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    rules = [line for line in lines if line.strip() and not line.startswith("#")]
    yield series("gatewright_outbreak_rules"), len(rules)


def runs(root: Path) -> Figures:
    """When the playbook was here."""
    places = {"gatewright_last_change_timestamp_seconds": "owned", "gatewright_last_run_timestamp_seconds": "last-run"}
    for family, name in places.items():
        with contextlib.suppress(FileNotFoundError):
            yield series(family), (root / "var/lib/gatewright" / name).stat().st_mtime


def pulls(root: Path) -> Figures:
    """How the last pull of the inventory went, where the gateway pulls it."""
    path = root / "var/lib/gatewright/pull/last.json"
    if not path.exists():
        return
    last = json.loads(path.read_text())
    yield series("gatewright_pull_failed"), last["result"] != "ok"
    yield series("gatewright_pull_timestamp_seconds"), last["at"]
    yield series("gatewright_pull_applied_timestamp_seconds"), last.get("applied", 0)


def services(root: Path) -> Figures:
    """What supervise says of each service: a TAI64N label, then the process's number."""
    for path in sorted((root / "service").glob("*/supervise/status")):
        name, status = path.parts[-3], path.read_bytes()
        if len(status) < 16:
            continue
        since, pid = struct.unpack(">Q", status[:8])[0] - TAI, struct.unpack("<I", status[12:16])[0]
        yield series("gatewright_service_up", service=name), pid > 0
        yield series("gatewright_service_start_timestamp_seconds", service=name), since


def disks(root: Path) -> Figures:
    """Room where mail and logs are."""
    for place in ("var/qmail/queue", "var/spool/gatescan", "var/log"):
        with contextlib.suppress(FileNotFoundError):
            state = os.statvfs(root / place)
            yield series("gatewright_disk_free_ratio", path=f"/{place}"), state.f_bavail / max(1, state.f_blocks)
            # some file systems have no fixed number of inodes, and say 0
            free = state.f_favail / state.f_files if state.f_files else 1.0
            yield series("gatewright_inodes_free_ratio", path=f"/{place}"), free


LOOKS: tuple[Callable[[Path], Figures], ...] = (queue, certificate, switches, runs, pulls, services, disks)


def looked(root: Path) -> Figures:
    """All looks; one that fails leaves its figures out, and says so."""
    for look in LOOKS:
        try:
            yield from list(look(root))
            is_readable = True
        except (OSError, ValueError, subprocess.SubprocessError):
            is_readable = False
        yield series("gatewright_source_readable", source=look.__name__), is_readable


# --- the file ---

VALID = re.compile(
    r'# (?:HELP|TYPE) [^\n]+|[a-zA-Z_:][\w:]*(?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? '
    r"(?:[+-]?(?:\d[\d.]*(?:e[+-]?\d+)?|Inf)|NaN)",
    re.IGNORECASE,
)
"""A line of Prometheus' text format. One that is none would cost the whole file."""


LONGEST = 8 << 20
"""Bytes of what another program publishes."""


def joined(root: Path) -> tuple[list[str], Figures]:
    """The lines of what other programs publish, and what is to be said of each."""
    lines: list[str] = []
    told: list[tuple[Series, float]] = []
    for source, name in JOINED.items():
        found, is_valid = [], False
        try:
            text, moment = published(root / name)
            found = text.splitlines()
            is_valid = all(VALID.fullmatch(line) for line in found)
            told.append((series("gatewright_source_timestamp_seconds", source=source), moment))
        except FileNotFoundError:
            continue
        except OSError:
            pass  # it is told of as unreadable
        lines += found if is_valid else []
        told.append((series("gatewright_source_readable", source=source), is_valid))
    return lines, iter(told)


def published(path: Path) -> tuple[str, float]:
    """What another user's program publishes, and when it wrote that; OSError, also for a link, and for a pipe, which
    would be waited for."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_size > LONGEST:
            raise OSError(f"{path} is no file of at most {LONGEST} bytes")
        return file.read(LONGEST).decode("utf-8", "replace"), state.st_mtime


def exposition(figures: Iterable[tuple[Series, float]]) -> list[str]:
    """Figures in Prometheus' text format, those of a family together."""
    lines = []
    shown = ""
    order = list(FAMILIES)
    for (family, labels), value in sorted(figures, key=lambda item: (order.index(item[0][0]), item[0][1])):
        if family != shown:
            shown = family
            lines += [f"# HELP {family} {FAMILIES[family][1]}", f"# TYPE {family} {FAMILIES[family][0]}"]
        text = ",".join(f'{name}="{escaped(label)}"' for name, label in labels)
        lines.append(f"{family}{{{text}}} {value:.15g}" if text else f"{family} {value:.15g}")
    return lines


def escaped(label: str) -> str:
    """The value of a label as the format wants it."""
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def replace(path: Path, text: str, mode: int) -> None:
    """Put a text in the place of a file's, never half of it; raise OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.replace(path)


def publish(root: Path) -> None:
    """Count, look, and write the file; raise OSError."""
    place = root / PLACE
    state = State(place / "state.json")
    state.follow_all(root)
    state.keep()
    others, told = joined(root)
    now = (series("gatewright_written_timestamp_seconds"), time.time())
    lines = exposition([*state.counts.items(), *state.told(), *looked(root), *told, now])
    replace(place / "gatewright.prom", "\n".join([*lines, *others]) + "\n", 0o644)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"), help="folder that stands for /")
    publish(parser.parse_args().root)


if __name__ == "__main__":
    main()
