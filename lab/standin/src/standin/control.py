"""Control files: one value a line; relative to qmail's home, in which every program works."""

from __future__ import annotations

from collections.abc import Iterator


def read_lines(name: str) -> list[bytes] | None:
    """The lines of a control file without comments and blanks; None when there is no such file."""
    try:
        with open(f"control/{name}", "rb") as file:
            lines = [line.rstrip() for line in file]
    except FileNotFoundError:
        return None
    return [line for line in lines if line and not line.startswith(b"#")]


def read_line(name: str, default: str = "") -> bytes:
    """The first line of a control file, else that of the control file `default`, else nothing."""
    try:
        with open(f"control/{name}", "rb") as file:
            return file.readline().rstrip()
    except FileNotFoundError:
        return read_line(default) if default else b""


def read_number(name: str, default: int) -> int:
    """The number in a control file; the default when there is none."""
    line = read_line(name)
    return int(line) if line.isdigit() else default


def read_set(name: str) -> set[bytes] | None:
    """The lines of a control file in lower case; None when there is no such file."""
    lines = read_lines(name)
    return None if lines is None else {line.lower() for line in lines}


def read_map(name: str) -> dict[bytes, bytes]:
    """The lines `key:value` of a control file, keys in lower case."""
    pairs = (line.partition(b":") for line in read_lines(name) or [])
    return {key.lower(): value for key, _, value in pairs}


def suffixes(domain: bytes) -> Iterator[bytes]:
    """A domain as maps look for it: itself, then each `.parent`, in lower case."""
    domain = domain.lower()
    yield domain
    at = domain.find(b".", 1)
    while at > 0:
        yield domain[at:]
        at = domain.find(b".", at + 1)
