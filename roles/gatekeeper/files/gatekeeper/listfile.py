"""A file of recipients that others renew: it is taken whole or not at all, and the last good one outlives a restart."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import stat
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from gatekeeper.addresses import AddressError
from gatekeeper.table import Table, make_table

log = logging.getLogger("gatekeeper")

FILE_LIMIT = 64 << 20
"""Bytes of a file of recipients."""
RESTLESS = 150
"""Looks in a row at which a file had changed, after which that is said: five minutes."""
FEW = 20
"""Addresses of one domain among several, fewer of which may go at will."""
_END = re.compile(r"# ?end(?: +(\d{1,9}))?", re.IGNORECASE)
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._+=-]*")
_KEPT = "# Kept by gatekeeper: the last good list of {path}"
_MARKED = ", whose end is marked"
Stamp = tuple[int, int, int]
"""Time of the last change in ns, bytes, inode."""


class ListError(Exception):
    """A list that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a file says. is_marked: whether its last line is `# end`, which the next one must have too."""

    table: Table
    is_marked: bool = False

    def __len__(self) -> int:
        """How many addresses there are."""
        return len(self.table)


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file does; None if it cannot be looked at."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_listing(path: Path) -> Listing:
    """The list in a file that is whole; raise ListError."""
    try:
        listing = parse_listing(_read_whole(path).decode("utf-8-sig"))
    except (OSError, UnicodeError, AddressError) as error:
        raise ListError(str(error)) from None
    if not listing.table:
        raise ListError("it has no address in it")
    return listing


def _read_whole(path: Path) -> bytes:
    """A file's bytes; raise ListError if it is being written, or is no file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ListError("it is no ordinary file")
    with path.open("rb") as file:
        before = _stamp(os.fstat(file.fileno()))
        data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise ListError(f"it is larger than {FILE_LIMIT} bytes")
    if stamp_of(path) != before or len(data) != before[1]:
        raise ListError("it was written to while it was read")
    return data


def parse_listing(text: str) -> Listing:
    """The list in a text; raise ListError, AddressError."""
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        raise ListError("its last line has no end, so it may be half-written")
    table, entries = make_table(lines)
    mark = _END.fullmatch(lines[-1].strip()) if lines else None
    if mark and mark[1] and int(mark[1]) != entries:
        raise ListError(f"it has {entries} addresses, and its last line says {mark[1]}")
    return Listing(table, mark is not None)


def refuse_loss(before: Listing, after: Listing, percent: int) -> None:
    """Raise ListError if a list has lost more than a share of its addresses, whole or of one of its domains."""
    if before.is_marked and not after.is_marked:
        raise ListError("its last line is not `# end`, as it was before, so it may be half-written")
    told = "; `gatekeeper accept` takes it nevertheless"
    if _is_loss(len(before), len(after), percent):
        raise ListError(f"it has {len(after)} addresses where it had {len(before)}{told}")
    had, has = _domains(before.table), _domains(after.table)
    for domain, count in had.items():
        if count >= FEW and _is_loss(count, has[domain], percent):
            raise ListError(f"it has {has[domain]} addresses of {domain} where it had {count}{told}")


def _is_loss(before: int, after: int, percent: int) -> bool:
    return (before - after) * 100 > before * percent


def _domains(table: Table) -> Counter[str]:
    return Counter(address.rpartition("@")[2] for address in table.whole)


class Keeper:
    """The last good list of each file, in a folder of the daemon's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, path: Path) -> Path:
        """Where the list of a file is kept."""
        return self.folder / hashlib.sha256(os.fsencode(path)).hexdigest()[:32]

    def read(self, path: Path) -> Listing | None:
        """The list that was kept of a file; None if there is none that is whole."""
        place = self.place(path)
        try:
            found = read_listing(place)
            with place.open(encoding="utf-8") as file:
                return Listing(found.table, file.readline().rstrip("\n").endswith(_MARKED)) if found.is_marked else None
        except FileNotFoundError:
            return None
        except (ListError, OSError) as error:
            if place.exists():
                log.error("%s, the list that was kept of %s, cannot be used: %s", place, path, error)
            return None

    def write(self, path: Path, listing: Listing) -> None:
        """Keep a list; raise OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        entries = sorted(map(_entry, {*listing.table.bare, *listing.table.whole}))
        head = _KEPT.format(path=str(path).encode("ascii", "backslashreplace").decode())
        lines = [head + (_MARKED if listing.is_marked else ""), *entries, f"# end {len(entries)}"]
        place = self.place(path)
        fresh = place.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)


def _entry(address: str) -> str:
    """An address so that reading it gives the same one."""
    local, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
    if not _PLAIN.fullmatch(local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return f"{local}{at}{domain}"


@dataclass(slots=True)
class ListFile:
    """The recipients in a file. listing: the last good ones; None if there were none yet.

    loss: percent of them that may go at once. still: seconds for which nobody must have written to the file.
    """

    path: Path
    keeper: Keeper
    loss: int
    still: float
    listing: Listing | None = None
    seen: Stamp | None = None
    read: Stamp | None = None
    waits: int = 0
    trouble: str = ""

    @property
    def table(self) -> Table | None:
        """The recipients; None if they are not to be had now."""
        return self.listing.table if self.listing else None

    async def begin(self) -> None:
        """Take what was kept, then the file if it has changed and nobody is writing to it."""
        if self.listing is None:
            self.listing = await asyncio.to_thread(self.keeper.read, self.path)
        stamp = self.seen = stamp_of(self.path)
        if stamp and 0 <= time.time() - stamp[0] / 1e9 < self.still:
            log.info("%s was written just now; it is read when it has lain still", self.path)
        elif stamp != self.read or stamp is None:
            await self.take()

    async def look(self) -> None:
        """Read the file anew if it has changed, and has lain still since the last look."""
        stamp = stamp_of(self.path)
        is_still, self.seen = stamp == self.seen, stamp
        if stamp == self.read:
            self.waits = 0
        elif is_still:
            await self.take()
        else:
            self.waits += 1
            if self.waits >= RESTLESS:
                self._complain("it is written to all the time; write a new file and move it into its place")

    async def take(self, is_told: bool = False) -> None:
        """Read the file. is_told: the administrator knows that it is short."""
        self.seen = self.read = stamp_of(self.path)
        self.waits = 0
        try:
            listing = await asyncio.to_thread(read_listing, self.path)
            if self.listing and not is_told:
                refuse_loss(self.listing, listing, self.loss)
        except ListError as error:
            self._complain(str(error))
            return
        if self.listing is None or listing.table != self.listing.table or self.trouble:
            log.info("%s: %d addresses", self.path, len(listing))
        is_new = listing != self.listing
        self.listing, self.trouble = listing, ""
        if is_new:
            await self._keep(listing)

    def status(self) -> dict[str, object]:
        """What is to be known of it. trouble: why the file is not in force; empty if it is."""
        return {
            "path": str(self.path),
            "addresses": len(self.listing) if self.listing else None,
            "trouble": self.trouble,
        }

    async def _keep(self, listing: Listing) -> None:
        try:
            await asyncio.to_thread(self.keeper.write, self.path, listing)
        except OSError as error:
            with contextlib.suppress(OSError):  # an older one would bring back who has left
                self.keeper.place(self.path).unlink()
            log.error("%s is in force, but cannot be kept for a restart: %s", self.path, error)

    def _complain(self, why: str) -> None:
        kept = f"the {len(self.listing)} addresses of before stay" if self.listing else "its domains' mail waits"
        if why != self.trouble:
            log.error("ALERT %s cannot be used, %s: %s", self.path, kept, why)
        self.trouble = why
