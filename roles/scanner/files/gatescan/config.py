"""The scanner's configuration: one JSON file, every key with a default, every mistake named by its key.

The role renders /etc/gatescan/config.json from the inventory. A key that is unknown or of the wrong type is
an error and not a warning: a misspelt `quarantine` must not silently mean the default.
"""

from __future__ import annotations

import os
import re
import socket
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatescan.gatesettings import ConfigError as ConfigError
from gatescan.gatesettings import build, number, read
from gatescan.judging.budget import Limits

DEFAULT_PATH = Path("/etc/gatescan/config.json")
PATH_VARIABLE = "GATESCAN_CONFIG"
"""Names another configuration file, for tests and for a second instance."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})?")

ACTIONS = ("accept", "tag", "quarantine", "quarantine+reject", "reject", "tempfail")
"""What can be done with a message, from the mildest to the strictest."""

DEFAULT_ACTIONS: Mapping[str, str] = types.MappingProxyType(
    {
        # Nobody can undo the delivery of a virus; the copy is for the administrator who asks what it was.
        "infected": "quarantine",
        # As the paper has it: the sender's server gets 250, the recipient hears of it and can ask for a
        # release.
        "policy": "quarantine",
        # Readers that disagree are how filters are passed by; honest software does not write such mail.
        "ambiguous": "quarantine",
        # Not wholly looked at, thus not known to be clean; to try again would not change the outcome.
        "limit": "quarantine",
        # A password-protected archive is the commonest wrapping of malware; a person decides.
        "encrypted": "quarantine",
        # S/MIME and OpenPGP are made so that a gateway cannot look: two people wanted it. Delivered with a
        # tag.
        "encrypted-mail": "tag",
        # Could not look: the sender tries again, and the administrator is told.
        "engine-error": "tempfail",
        # Somebody outside writes as one of us: the commonest fraud. Lists and services that may do so are named.
        "spoofed": "quarantine",
        # Its domain says that it is not from there, and what is to be done (DMARC's p=reject, p=quarantine).
        "unauthenticated": "reject",
        "unauthenticated-quarantine": "quarantine",
        # Name servers do not answer; the sender tries again.
        "auth-temperror": "tempfail",
        # Two people may have one name.
        "own-name": "tag",
    }
)
"""The action of each verdict; `encrypted-mail` is the end-to-end encrypted mail among the `encrypted`, and
`unauthenticated-quarantine` what its domain wants held among the `unauthenticated`."""
RELEASABLE = ("policy", "encrypted", "ambiguous", "limit", "unauthenticated", "spoofed")
"""Verdicts of messages that recipients may be let release for themselves; `infected` is none of them."""
NEVER_ACCEPTED = {"engine-error": ("accept", "tag"), "auth-temperror": ("accept",)}
"""Actions that some verdicts cannot have: nothing passes in silence that could not be looked at."""


@dataclass(frozen=True, slots=True)
class RulesConfig:
    """Where the rules are: the text that people edit and the file that `rules build` makes of it."""

    source: Path = Path("/etc/gatescan/quarantine-attachments.txt")
    compiled: Path = Path("/var/lib/gatescan/rules.json")
    """Its directory is root's: a worker that a message took over must not write the rules."""


@dataclass(frozen=True, slots=True)
class QuarantineConfig:
    """The Maildir of held messages and its bounds. A full quarantine answers 4xx; clean mail still flows."""

    directory: Path = Path("/var/spool/gatescan/quarantine")
    max_bytes: int = 5_000_000_000
    max_messages: int = 50_000
    source_share: float = 0.1
    """Of both, what the mail of one source may take (an address, or a network of IPv6); the rest gets 4xx."""
    rule_share: float = 0.5
    """The same for what one rule, or one kind of finding, holds: an outbreak leaves room for other finds."""
    min_free_bytes: int = 500_000_000
    """Free space that must be left on the file system after a message was stored."""
    expire_days: float = 30.0
    """Held longer than this: removed by `gatescan quarantine expire`."""
    expire_released_days: float = 7.0
    """The same for messages that were released: their recipients have them."""


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """The warm process that answers the queue client."""

    socket: Path = Path("/run/gatescan/gatescan.sock")
    socket_mode: int = 0o660
    """Who may connect; a string such as "0666" in the file. The group is that of the socket's directory: the users
    that inject mail.
    """
    workers: int = 4
    spare_workers: int = 4
    """Workers that are added, one by one, while all others have been busy for a while; they end when they are idle."""
    source_wait: float = 30.0
    """Seconds that a message may wait for its source's share of the workers; then it gets 4xx."""
    watchdog: float = 60.0
    """Seconds without a worker that serves, after which the daemon ends, so that supervise starts it anew."""
    backlog: int = 64
    """Connections that may wait for a worker; more are refused at once with 4xx."""
    deadline: float = 180.0
    """Seconds that one message may take in all, engines included; then its worker is killed and the answer is
    4xx.
    """
    recycle_messages: int = 5_000
    recycle_bytes: int = 200_000_000
    """A worker that has judged so many messages, or has grown so large, ends and is replaced."""
    memory_bytes: int = 1_500_000_000
    """Address space of a worker (RLIMIT_AS)."""
    confined: bool = True
    """Filter its system calls, and take the files and ports that it needs not (seccomp, Landlock)."""
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    """What engines that are programs read and write beside what is known: their licences, caches, logs."""


@dataclass(frozen=True, slots=True)
class ActionsConfig:
    """What is done for each verdict: defaults, then the direction's, then the recipient domain's."""

    inbound: dict[str, str] = field(default_factory=dict)
    outbound: dict[str, str] = field(default_factory=dict)
    domains: dict[str, dict[str, str]] = field(default_factory=dict)
    reason: bool = False
    """Tell the sender's server why a message is refused (needs a qmail-smtpd that reads the text)."""

    def check(self) -> None:
        """Raise ConfigError for a verdict or an action that does not exist."""
        tables = {"inbound": self.inbound, "outbound": self.outbound}
        tables |= {f"domains.{domain}": table for domain, table in self.domains.items()}
        for where, table in tables.items():
            for verdict, action in table.items():
                key = f"actions.{where}.{verdict}"
                if verdict not in DEFAULT_ACTIONS:
                    raise ConfigError(key, f"no such verdict; one of {', '.join(DEFAULT_ACTIONS)}")
                if action not in ACTIONS:
                    raise ConfigError(key, f"no such action: {action}; one of {', '.join(ACTIONS)}")
                if action in NEVER_ACCEPTED.get(verdict, ()):
                    raise ConfigError(key, f"a message that could not be looked at never gets {action}")


@dataclass(frozen=True, slots=True)
class NoticesConfig:
    """Who hears of a blocked message, and how often."""

    enabled: bool = True
    admin: str = "postmaster"
    sender_name: str = "Mail gateway"
    admin_verdicts: tuple[str, ...] = (
        "infected",
        "policy",
        "encrypted",
        "ambiguous",
        "limit",
        "engine-error",
        "spoofed",
    )
    recipient_verdicts: tuple[str, ...] = ("policy", "encrypted", "ambiguous", "limit", "spoofed", "unauthenticated")
    """Local recipients hear of these if they are held; never of `infected`: nobody misses a virus."""
    digest_minutes: float = 60.0
    """An address gets at most one notice in this time; what was blocked meanwhile is in the next one."""
    max_pending: int = 10_000
    """Notices that may wait in the spool; further ones are only in the journal."""
    templates: Path = Path("/etc/gatescan/templates")
    """Files here replace the shipped templates of the same name."""
    language: str = "en"
    """Of all notices; de, en, es and fr are shipped. Another needs its texts in `templates`, else it is English."""
    languages: dict[str, str] = field(default_factory=dict)
    """The same for recipients of a domain; a leading dot covers the subdomains."""

    def check(self) -> None:
        """Raise ConfigError for what is no language."""
        named = {"language": self.language, **{f"languages.{name}": one for name, one in self.languages.items()}}
        for key, language in named.items():
            if not _LANGUAGE.fullmatch(language):
                raise ConfigError(f"notices.{key}", f"not a language, such as en or pt-br: {language}")


@dataclass(frozen=True, slots=True)
class ReleaseConfig:
    """Release by mail (outcome/answers.py)."""

    enabled: bool = False
    verdicts: tuple[str, ...] = ("policy", "encrypted", "ambiguous", "limit")
    """What a recipient may release for himself; never `infected`."""
    days: float = 7.0
    """From a message's arrival on; a later reply does nothing."""
    hourly: int = 20
    """Messages that one recipient may release in an hour."""
    gateways: tuple[str, ...] = ()
    """Names of the fleet's gateways: a reply to what another one holds is passed on to it."""

    def check(self) -> None:
        """Raise ConfigError for a verdict that is none, or that is not for recipients to release, as a virus is."""
        for verdict in self.verdicts:
            if verdict not in RELEASABLE:
                raise ConfigError("release.verdicts", f"{verdict}: one of {', '.join(RELEASABLE)}")


@dataclass(frozen=True, slots=True)
class JournalConfig:
    """Where it is written down what was done."""

    quarantine_log: Path = Path("/var/log/gatescan/quarantine.log")
    json_log: Path = Path("/var/log/gatescan/messages.jsonl")
    metrics: Path = Path("/var/lib/gatescan/metrics/gatescan.prom")
    """Prometheus' text format; its directory is the daemon's to write."""
    counters: Path = Path("/var/lib/gatescan/metrics")
    """Directory of the workers' counter files."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the scanner can be told. `load` reads it from a file."""

    hostname: str = field(default_factory=socket.gethostname)
    local_domains: tuple[str, ...] = ()
    """Domains whose recipients may get notices; a leading dot covers the subdomains."""
    spool: Path = Path("/var/spool/gatescan")
    next_queue: tuple[str, ...] = ("/var/qmail/bin/qmail-queue",)
    """The program that takes released messages and notices: the real qmail-queue, past the scanner."""
    rules: RulesConfig = field(default_factory=RulesConfig)
    quarantine: QuarantineConfig = field(default_factory=QuarantineConfig)
    daemon: DaemonConfig = field(default_factory=DaemonConfig)
    limits: Limits = field(default_factory=Limits)
    actions: ActionsConfig = field(default_factory=ActionsConfig)
    notices: NoticesConfig = field(default_factory=NoticesConfig)
    release: ReleaseConfig = field(default_factory=ReleaseConfig)
    journal: JournalConfig = field(default_factory=JournalConfig)
    authentication: bool = False
    """Whether gatekeeper has to have said of each message from outside who it is from."""
    fleet: tuple[str, ...] = ()
    """Names of the other gateways: whoever believes this one's results may believe theirs, so none may be forged."""
    certificate: str = ""
    """File of the SMTP server's certificate, for the doctor to look at; empty if it speaks no TLS."""
    engines: tuple[dict[str, typing.Any], ...] = ()
    """One table an engine; the engine's adapter knows its keys."""

    @property
    def incoming(self) -> Path:
        """Directory of the large messages that are coming in: files without names."""
        return self.spool / "incoming"

    @property
    def notices_spool(self) -> Path:
        """Directory of the notices that wait to be sent."""
        return self.spool / "notices"


def load(path: Path | None = None) -> Config:
    """Read the configuration from `path`, else from $GATESCAN_CONFIG, else from the default place.

    A file that is not there is an error: a scanner must not run on defaults that nobody chose.
    """
    path = path or Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    return read(path, parse)


def parse(data: object) -> Config:
    """Make a Config of decoded JSON; raise ConfigError for what is unknown or of the wrong type."""
    config = build(Config, data, own={"socket_mode": _mode})
    config.actions.check()
    config.notices.check()
    config.release.check()
    if config.daemon.workers < 1:
        raise ConfigError("daemon.workers", "at least 1")
    for key, paths in (("readable", config.daemon.readable), ("writable", config.daemon.writable)):
        if any(not path.is_absolute() or path == Path("/") for path in paths):
            raise ConfigError(f"daemon.{key}", "whole paths are needed, and not of everything")
    if not config.next_queue:
        raise ConfigError("next_queue", "names no program")
    return config


def _mode(key: str, value: object) -> int:
    """A file's mode: a number, or its octal digits as a string."""
    try:
        return int(value, 8) if isinstance(value, str) else number(key, value)
    except ValueError:
        raise ConfigError(key, f"not an octal mode: {value}") from None
