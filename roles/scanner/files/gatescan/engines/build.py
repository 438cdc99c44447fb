"""Engines out of the configuration: a table each, with its `type` and the keys of that type.

    {"type": "clamd"}
    {"type": "uvscan", "timeout": 90, "max_signature_days": 3}
    {"type": "spamd", "socket": "127.0.0.1:783", "inbound": {"tag": 5, "reject": 15}}
    {"type": "rspamd", "inbound": {"add header": "tag", "reject": "quarantine"}}

All have: `name` (in logs and findings; the type if empty), `timeout` (seconds), `group` (one answer of a
group is enough) and `max_signature_days` (from then on there are warnings; 0: never).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gatescan.config import Config, ConfigError
from gatescan.engines.base import Engine
from gatescan.engines.clamd import Clamd, ClamdSettings
from gatescan.engines.commandline import CommandLine, ProgramSettings
from gatescan.engines.needs import Needs
from gatescan.engines.panel import Member, Panel
from gatescan.engines.records import RECORDS, Records
from gatescan.engines.rspamd import Rspamd, RspamdSettings
from gatescan.engines.sockets import DIALOGUES, SocketEngine, SocketSettings
from gatescan.engines.spamd import Spamd, SpamdSettings
from gatescan.engines.table import PROGRAMS
from gatescan.gatesettings import build


@dataclass(frozen=True, slots=True)
class CommonSettings:
    """The keys that every engine has."""

    type: str = ""
    name: str = ""
    timeout: float = 60.0
    group: str = ""
    max_signature_days: float = 7.0


class _Checked(Protocol):
    def check(self, where: str) -> None: ...


_S = TypeVar("_S", bound=_Checked)

TYPES = ("clamd", "spamd", "rspamd", *DIALOGUES, *PROGRAMS)
"""All types of engines."""


def panel(config: Config, *, keep: bool = True) -> Panel | None:
    """All engines of the configuration; None if there are none. ConfigError names what is wrong.

    keep: what the workers learn of the engines is kept in a file that all of them share.
    """
    members = [_member(table, f"engines[{index}]", config) for index, table in enumerate(config.engines)]
    names = [member.engine.name for member in members]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ConfigError(f"engines[{index}].name", f"there is another engine called {name}")
    if not members:
        return None
    return Panel(members, Records(config.journal.counters / RECORDS if keep else None, names))


def engines(config: Config) -> list[Engine]:
    """The engines alone; ConfigError names what is wrong."""
    return [_member(table, f"engines[{index}]", config).engine for index, table in enumerate(config.engines)]


def needs_of(config: Config) -> Needs:
    """What all engines need of a worker; ConfigError names what is wrong."""
    return Needs.of_all(engine.needs for engine in engines(config))


def _member(table: Mapping[str, Any], where: str, config: Config) -> Member:
    common_keys = CommonSettings.__dataclass_fields__
    common = build(CommonSettings, {key: table[key] for key in table if key in common_keys}, where)
    own = {key: table[key] for key in table if key not in common_keys}
    if common.type not in TYPES:
        raise ConfigError(f"{where}.type", f"no such engine: {common.type!r}; one of {', '.join(TYPES)}")
    if not 0 < common.timeout < config.daemon.deadline:
        raise ConfigError(f"{where}.timeout", f"more than 0 and less than daemon.deadline ({config.daemon.deadline:g})")
    name = common.name or common.type
    if len(name.encode()) > 48 or not name.isprintable():
        raise ConfigError(f"{where}.name", "at most 48 printable bytes")
    engine = _adapter(common, name, own, where)
    return Member(engine, common.group or name, common.max_signature_days)


def _adapter(common: CommonSettings, name: str, own: Mapping[str, Any], where: str) -> Engine:
    kind, timeout = common.type, common.timeout
    if kind == "clamd":
        return Clamd(name, timeout, _settings(ClamdSettings, own, where))
    if kind == "spamd":
        return Spamd(name, timeout, _settings(SpamdSettings, own, where))
    if kind == "rspamd":
        return Rspamd(name, timeout, _settings(RspamdSettings, own, where))
    if kind in DIALOGUES:
        address, dialogue = DIALOGUES[kind]
        return SocketEngine(name, timeout, _settings(SocketSettings, own, where).socket or address, dialogue)
    return CommandLine(name, timeout, PROGRAMS[kind], _settings(ProgramSettings, own, where))


def _settings(cls: type[_S], own: Mapping[str, Any], where: str) -> _S:
    settings = build(cls, dict(own), where)
    settings.check(where)
    return settings
