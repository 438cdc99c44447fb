"""qmail's control files, read as qmail-remote reads them, and read again when they have changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gatepost.model import Level, Route

TEXT_LIMIT = 16 << 20
"""Bytes of a control file."""
SMTP_PORT = 25


class ControlError(Exception):
    """A control file is there and cannot be read or understood; the text names it."""


class Control:
    """The files below `control`; `home` is qmail's directory."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "control"
        self._kept: dict[str, tuple[tuple[int, int, int], str]] = {}
        self._tables: dict[str, tuple[str, dict[str, str]]] = {}

    def text(self, name: str) -> str | None:
        """A file's text, None if there is none; raise ControlError."""
        path = f"{self.folder}/{name}"
        try:
            status = os.stat(path)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            kept = self._kept.get(name)
            if kept and kept[0] == stamp:
                return kept[1]
            if status.st_size > TEXT_LIMIT:
                raise ControlError(f"{path} is larger than {TEXT_LIMIT} bytes")
            text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ControlError(f"{path}: {os.strerror(error.errno or 0)}") from error
        self._kept[name] = (stamp, text)
        return text

    def line(self, name: str) -> str | None:
        """The first line without the blanks at its end."""
        text = self.text(name)
        return None if text is None else text.split("\n", 1)[0].rstrip(" \t")

    def number(self, name: str, default: int) -> int:
        """A number in a file's first line, or the default."""
        line = self.line(name)
        digits = "" if line is None else line[: len(line) - len(line.lstrip("0123456789"))]
        return int(digits) if digits else default

    def table(self, name: str) -> Mapping[str, str] | None:
        """Lines of `key:value` by key in lower case; the last one of a key counts. None if there is no file."""
        text = self.text(name)
        if text is None:
            return None
        kept = self._tables.get(name)
        if kept and kept[0] is text:
            return kept[1]
        lines = (line.rstrip(" \t") for line in text.split("\n") if not line.startswith("#"))
        table = {key.lower(): value for key, colon, value in (line.partition(":") for line in lines) if colon}
        self._tables[name] = (text, table)
        return table

    def helo(self) -> str:
        """The name of this host in EHLO; raise ControlError when there is none."""
        name = self.line("helohost")
        if name is None:
            name = self.line("me")
        if not name:
            raise ControlError(f"{self.folder}/me names no host")
        return name

    def route(self, domain: str) -> Route | None:
        """The route of a domain: its own, else that of its nearest parent (`.parent`), else the default; None: by MX.

        The TLS level is that of the same line in tlsroutes; without one the route is spoken to in plain text.
        """
        routes = self.table("smtproutes")
        if not routes:
            return None
        levels = self.table("tlsroutes") or {}
        for key in keys_of(domain):
            if key in routes:
                return _route(routes[key], levels.get(key), f"{self.folder}/smtproutes")
        return None


def keys_of(domain: str) -> list[str]:
    """What a domain is looked up by: itself, each parent with the dot in front, and the empty default."""
    labels = domain.lower().split(".")
    return [domain.lower(), *("." + ".".join(labels[at:]) for at in range(1, len(labels))), ""]


def port_of(value: str) -> int:
    """The port of a route's value, 0 if it has none that can be used."""
    _, colon, rest = value.partition(":")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    port = int(digits or 0) if colon else SMTP_PORT
    return port if port < 65536 else 0


def _route(value: str, level: str | None, path: str) -> Route | None:
    host = value.partition(":")[0]
    if not host:
        return None
    port = port_of(value)
    if not port:
        raise ControlError(f"{path}: {value!r} has no port from 1 to 65535")
    return Route(host, port, Level.NEVER if level is None else Level.of(level))
