"""The quarantine: a Maildir that is the truth, and an index that can always be made anew from it.

A held message is one file: a header line `X-Gatescan-Quarantine: {JSON}` with the envelope and the reason,
then the message, byte for byte. It is written to tmp/, synced, and renamed into new/; so it is there wholly
or not at all, and its state is its place, which only a rename changes:

    new/ID         held
    cur/ID:2,F     a release has begun (F, flagged)
    cur/ID:2,P     released (P, passed on)

A release moves the file to F before the queue gets the message and to P after the queue took it. Killed in
between, it stays F; releasing it again gives at most one more copy, and none is lost. A lock on the file
keeps two releases apart. The index (SQLite) makes lists and limits quick. It is never trusted for more:
`reconcile` compares it with the Maildir, and a damaged one is thrown away and rebuilt.

A recipient who asks by mail gets a copy of his own (`give`), once: given/ID.RECIPIENT is written before the queue gets
the message, and taken back only if the queue says that it did not take it. Killed in between, nobody gets a second
copy. A message that all its recipients were given is released.

Nobody can fill it for others: one source and one rule have a share each, and the same message to the same recipients
is kept once, with a counter in the index.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Literal

from gatescan.config import Config, QuarantineConfig
from gatescan.errors import GatescanError
from gatescan.model import Buffer
from gatescan.outcome import nextqueue, tokens
from gatescan.service import sources
from gatescan.service.slots import trace_end

State = Literal["held", "releasing", "released"]

_HEAD = b"X-Gatescan-Quarantine: "
_HEAD_BOUND = 16_000_000
"""Longest first line that is read back, in bytes: a hundred thousand recipients fit."""
_SUFFIX: dict[State, str] = {"held": "", "releasing": ":2,F", "released": ":2,P"}

_VERSION = 2
_SCHEMA = """
CREATE TABLE held (
    id TEXT PRIMARY KEY, time REAL NOT NULL, state TEXT NOT NULL, bytes INTEGER NOT NULL,
    source TEXT NOT NULL, rule TEXT NOT NULL, digest TEXT NOT NULL, copies INTEGER NOT NULL, entry TEXT NOT NULL
);
CREATE INDEX held_bytes ON held (bytes);
CREATE INDEX held_source ON held (source, bytes);
CREATE INDEX held_rule ON held (rule, bytes);
CREATE INDEX held_digest ON held (digest);
"""
SAME_WITHIN = 86_400.0
"""Seconds within which the same message to the same recipients is kept once."""
FEW = 20
"""Messages and, in millions, bytes that any source and any rule may hold, however small the quarantine is."""


class QuarantineError(GatescanError):
    """A held message cannot be found, read or released."""


class QuarantineBusy(QuarantineError):
    """Somebody else is releasing the message at this moment; whether that goes well is not known yet."""


class QuarantineFull(QuarantineError):
    """A bound of the quarantine is reached: nothing more is stored until something expires or is deleted."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a held message.

    time: seconds since 1970 (UTC). size: of the message, in bytes. reason: the finding's detail.
    digest: of message, sender and recipients; copies: how often it came. Both are the index's alone.
    rule: the rule's place or the engine's name. sender, recipients: the envelope, surrogates for bytes that
    are no UTF-8.
    """

    id: str
    time: float
    sender: str
    recipients: tuple[str, ...]
    from_: str = ""
    subject: str = ""
    message_id: str = ""
    verdict: str = ""
    code: str = ""
    reason: str = ""
    rule: str = ""
    size: int = 0
    direction: str = ""
    remote_ip: str = ""
    digest: str = field(default="", compare=False)
    state: State = "held"
    copies: int = field(default=1, compare=False)

    @property
    def source(self) -> str:
        """Whose share it takes."""
        return sources.network(self.remote_ip)

    @property
    def held_by(self) -> str:
        """The rule, or the kind of finding, whose share it takes."""
        return self.rule or self.code


_FIELDS = frozenset(one.name for one in fields(Entry))


def new_id(now: float) -> str:
    """A new id, such as `20261122-160512-3f9a1c77`: sorts by time and can be read out on the telephone."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + "-" + os.urandom(4).hex()


class Quarantine:
    """The quarantine of one gateway. Each method may be called by several processes at once."""

    def __init__(self, config: QuarantineConfig) -> None:
        self.config = config
        self.directory = config.directory
        self._index: sqlite3.Connection | None = None

    # --- storing ---

    def store(self, entry: Entry, message: Buffer, beginning: bytes = b"", replaced: int = 0) -> str:
        """Hold a message: when this returns it is on the disk. QuarantineFull, OSError: nothing was kept.

        beginning: what it begins with in place of so many of its bytes.
        Returns the id under which it is held: an older one's, if it was there already.
        """
        entry = replace(entry, digest=digest_of(entry, message))
        if same := self._same(entry):
            return same
        head = _HEAD + _encode(entry) + b"\n" + beginning
        size = len(head) + len(message) - replaced
        self._check_room(size, entry)
        temporary = self.directory / "tmp" / entry.id
        try:
            with open(temporary, "xb", buffering=0, opener=_private) as file:
                _write_all(file, head, message, replaced)
                os.fsync(file.fileno())
            os.rename(temporary, self.directory / "new" / entry.id)
            sync_directory(self.directory / "new")
        except BaseException:
            # Not in new/, or not surely there: the sender tries again, so nothing may be left that is held
            # twice.
            for place in (temporary, self.directory / "new" / entry.id):
                with contextlib.suppress(OSError):
                    place.unlink()
            raise
        with contextlib.suppress(sqlite3.Error):
            self._insert(entry, size)
        return entry.id

    def _same(self, entry: Entry) -> str:
        """The id of the same message, if it is still held; it is counted there."""
        with contextlib.suppress(sqlite3.Error):
            database = self._database()
            known = database.execute(
                "SELECT id FROM held WHERE digest = ? AND state = 'held' AND time > ?",
                (entry.digest, entry.time - SAME_WITHIN),
            )
            for (id_,) in known.fetchall():
                if (self.directory / "new" / id_).exists():
                    database.execute("UPDATE held SET copies = copies + 1 WHERE id = ?", (id_,))
                    database.commit()
                    return str(id_)
        return ""

    def fill(self) -> float:
        """How full it is, from 0 to 1, by messages or by bytes, whichever is more."""
        count, total = self.totals()
        return max(count / max(1, self.config.max_messages), total / max(1, self.config.max_bytes))

    def _check_room(self, size: int, entry: Entry) -> None:
        config = self.config
        state = os.statvfs(self.directory)
        if state.f_bavail * state.f_frsize - size < config.min_free_bytes:
            raise QuarantineFull(f"less than {config.min_free_bytes} bytes would be left on the disk")
        count, total = self.totals()
        if count >= config.max_messages:
            raise QuarantineFull(f"{count} messages are held, the limit is {config.max_messages}")
        if total + size > config.max_bytes:
            raise QuarantineFull(f"{total} bytes are held, the limit is {config.max_bytes}")
        self._check_share("source", entry.source, config.source_share, size)
        self._check_share("rule", entry.held_by, config.rule_share, size)

    def _check_share(self, column: Literal["source", "rule"], name: str, share: float, size: int) -> None:
        try:
            found = self._database().execute(
                f"SELECT count(*), coalesce(sum(bytes), 0) FROM held WHERE {column} = ?", (name,)
            )
            count, total = found.fetchone()
        except sqlite3.Error:
            return
        most = max(FEW, share * self.config.max_messages)
        most_bytes = max(FEW * 1_000_000, share * self.config.max_bytes)
        if count >= most or (count and total + size > most_bytes):
            raise QuarantineFull(f"{column} {name}: {count} messages, {total} bytes are its share")

    def totals(self) -> tuple[int, int]:
        """Messages held and their bytes, by the index; by the Maildir when the index is broken."""
        try:
            row = self._database().execute("SELECT count(*), coalesce(sum(bytes), 0) FROM held").fetchone()
            return int(row[0]), int(row[1])
        except sqlite3.Error:
            return self.measure()

    def measure(self) -> tuple[int, int]:
        """The same by the Maildir itself: slower, and touches no index."""
        sizes = []
        for path, _ in self._files():
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return len(sizes), sum(sizes)

    # --- finding ---

    def entries(self) -> list[Entry]:
        """All entries, the oldest first, after the index was compared with the Maildir."""
        self.reconcile()
        rows = self._database().execute("SELECT entry, state, copies FROM held ORDER BY time, id")
        return [replace(_decode(row[0]), state=row[1], copies=row[2]) for row in rows]

    def find(self, wanted: str) -> Entry:
        """The entry with this id, or the only one whose id ends or begins with it; else QuarantineError."""
        found = self._named(wanted) or {
            name: (path, state)
            for path, state in self._files()
            if (name := path.name.partition(":")[0]) == wanted or name.startswith(wanted) or name.endswith(wanted)
        }
        if wanted in found:
            found = {wanted: found[wanted]}
        if not wanted or not found:
            raise QuarantineError(f"no message {wanted!r} in quarantine")
        if len(found) > 1:
            raise QuarantineError(f"{wanted!r} fits {len(found)} messages; write more of the id")
        path, state = next(iter(found.values()))
        return replace(self._read_entry(path), state=state, copies=self._copies(path))

    def _named(self, id_: str) -> dict[str, tuple[Path, State]]:
        """The message with a whole id, without a look at all the others."""
        if not re.fullmatch(r"[\w.-]{1,200}", id_, re.ASCII):
            return {}
        places = [self.directory / ("cur" if suffix else "new") / f"{id_}{suffix}" for suffix in _SUFFIX.values()]
        there = [path for path in places if path.is_file()]
        return {id_: (there[-1], _state_of(there[-1]))} if there else {}

    def _copies(self, path: Path) -> int:
        with contextlib.suppress(sqlite3.Error):
            id_ = path.name.partition(":")[0]
            row = self._database().execute("SELECT copies FROM held WHERE id = ?", (id_,)).fetchone()
            return int(row[0]) if row else 1
        return 1

    def open(self, entry: Entry) -> IO[bytes]:
        """The held message, as it came, as a file that stands at its first byte."""
        file = self._open(entry)
        _skip_head(file)
        return file

    def _open(self, entry: Entry) -> IO[bytes]:
        try:
            return open(self._path(entry), "rb")
        except FileNotFoundError:
            raise QuarantineError(f"{entry.id} is gone, or is being released by someone else") from None

    # --- releasing, deleting ---

    def release(self, entry: Entry, config: Config, again: bool = False) -> int:
        """Give a held message to the original recipients through the next queue, past the scanner, once.

        A message that was released before is refused unless `again`. QuarantineError, with the message still
        held, when the queue does not take it. Returns the process that queued it: qmail's qp.
        """
        if entry.state == "released" and not again:
            raise QuarantineError(f"{entry.id} was released before; --again sends one more copy")
        path = self._path(entry)
        with self._locked(entry) as file:
            recipients = self.due(entry, again)
            begun = self._move(entry, path, "releasing")
            try:
                queued = nextqueue.submit(config, file, entry.sender, recipients, received="by gatescan release")
            except nextqueue.QueueError as error:
                self._move(entry, begun, entry.state)
                raise QuarantineError(f"{entry.id} is still held: {error}") from error
            self._move(entry, begun, "released")
        return queued

    def give(self, entry: Entry, recipient: str, config: Config) -> int:
        """Give a held message to one of its recipients, once; returns the process that queued it.

        QuarantineError if he, or everybody, was given it before, if it is being released, or if nobody knows whether
        the queue took it. QueueError or OSError, with nothing changed, when the queue did not take it.
        """
        path = self._path(entry)
        with self._locked(entry) as file:
            if entry.state != "held" or not path.exists():
                raise QuarantineError(f"{entry.id} is {entry.state}, not held")
            record = self._record(entry, recipient)
            try:
                queued = nextqueue.submit(config, file, entry.sender, [recipient], received="by gatescan answers")
            except nextqueue.QueueError as error:
                if error.unsure:
                    raise QuarantineError(f"{entry.id} may have been delivered: {error}") from error
                record.unlink()
                raise
            if not self.left(entry):
                self._move(entry, path, "released")
        return queued

    def due(self, entry: Entry, again: bool = False) -> tuple[str, ...]:
        """Whom a release is for: who has not asked for a copy himself; everybody if all have, or `again`."""
        return entry.recipients if again else self.left(entry) or entry.recipients

    def left(self, entry: Entry) -> tuple[str, ...]:
        """The recipients who were not given a copy of their own."""
        return tuple(one for one in entry.recipients if not self._given(entry, one).exists())

    def given_since(self, recipient: str, since: float) -> int:
        """How many messages a recipient was given since then; none later than now: a clock may have been set back."""
        now, times = time.time(), []
        for path in (self.directory / "given").glob(f"*.{_mark(recipient)}"):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
        return sum(since <= at <= now for at in times)

    def _given(self, entry: Entry, recipient: str) -> Path:
        return self.directory / "given" / f"{entry.id}.{_mark(recipient)}"

    def _record(self, entry: Entry, recipient: str) -> Path:
        """Write down that he is given it; when this returns, that is on the disk. OSError: it is not written down."""
        path = self._given(entry, recipient)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            with open(path, "xb", buffering=0, opener=_private) as file:
                os.fsync(file.fileno())
            sync_directory(path.parent)
            sync_directory(self.directory)
        except FileExistsError:
            raise QuarantineError(f"{entry.id} was given to this recipient before") from None
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        return path

    @contextlib.contextmanager
    def _locked(self, entry: Entry) -> Iterator[IO[bytes]]:
        """The message, as a file that nobody else releases meanwhile."""
        with self._open(entry) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise QuarantineBusy(f"{entry.id} is being released by someone else") from None
            _skip_head(file)
            yield file

    def delete(self, entry: Entry) -> None:
        """Remove a message for good; QuarantineBusy while it is being released, as what came of that is to be told."""
        with self._locked(entry):
            try:
                self._path(entry).unlink()
            except FileNotFoundError:
                raise QuarantineError(f"{entry.id} is gone") from None
        for given in (self.directory / "given").glob(f"{glob.escape(entry.id)}.*"):
            given.unlink(missing_ok=True)
        with contextlib.suppress(sqlite3.Error):
            database = self._database()
            database.execute("DELETE FROM held WHERE id = ?", (entry.id,))
            database.commit()

    def expire(self, now: float) -> list[Entry]:
        """Remove what is older than the configured days, and what was left half-written for over a day."""
        day = 86_400.0
        for path in (self.directory / "tmp").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < now - day:
                    path.unlink()
        days: dict[State, float] = {
            "held": self.config.expire_days,
            "releasing": self.config.expire_days,
            "released": self.config.expire_released_days,
        }
        gone = []
        for entry in self.entries():
            if entry.time < now - days[entry.state] * day:
                with contextlib.suppress(QuarantineError):  # it is being released
                    self.delete(entry)
                    gone.append(entry)
        return gone

    def _path(self, entry: Entry) -> Path:
        place = "new" if entry.state == "held" else "cur"
        return self.directory / place / (entry.id + _SUFFIX[entry.state])

    def _move(self, entry: Entry, path: Path, state: State) -> Path:
        target = self._path(replace(entry, state=state))
        try:
            os.rename(path, target)
        except FileNotFoundError:
            raise QuarantineError(f"{entry.id} is being released by someone else") from None
        sync_directory(target.parent)
        with contextlib.suppress(sqlite3.Error):
            database = self._database()
            database.execute("UPDATE held SET state = ? WHERE id = ?", (state, entry.id))
            database.commit()
        return target

    # --- the index ---

    def reconcile(self) -> None:
        """Make the index agree with the Maildir; the Maildir is right."""
        try:
            self._reconcile()
        except sqlite3.DatabaseError:
            self._discard_index()
            self._reconcile()

    def _reconcile(self) -> None:
        database = self._database()
        known = dict(database.execute("SELECT id, state FROM held"))
        for path, state in self._files():
            id_ = path.name.partition(":")[0]
            if (before := known.pop(id_, None)) == state:
                continue
            if before is not None:
                database.execute("UPDATE held SET state = ? WHERE id = ?", (state, id_))
                continue
            with contextlib.suppress(FileNotFoundError):
                self._insert(replace(self._read_entry(path), state=state), path.stat().st_size)
        database.executemany("DELETE FROM held WHERE id = ?", [(id_,) for id_ in known])
        database.commit()

    def _insert(self, entry: Entry, size: int) -> None:
        database = self._database()
        shares = (entry.source, entry.held_by, entry.digest, entry.copies)
        row = (entry.id, entry.time, entry.state, size, *shares, _encode(entry).decode("ascii"))
        database.execute(f"INSERT OR REPLACE INTO held VALUES ({', '.join('?' * len(row))})", row)
        database.commit()

    def _database(self) -> sqlite3.Connection:
        if self._index is None:
            index = sqlite3.connect(self.directory / "index.sqlite", timeout=5.0)
            # The Maildir is the truth, so the index need not survive a power cut; WAL survives a killed
            # process.
            index.execute("PRAGMA journal_mode = WAL")
            index.execute("PRAGMA synchronous = OFF")
            self._index = index
            if index.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                self._make_tables(index)
        return self._index

    def _make_tables(self, index: sqlite3.Connection) -> None:
        """Make the tables and fill them from the Maildir, also where an earlier version had others."""
        index.execute("BEGIN EXCLUSIVE")
        if index.execute("PRAGMA user_version").fetchone()[0] != _VERSION:  # else another process was quicker
            index.execute("DROP TABLE IF EXISTS held")
            for statement in _SCHEMA.split(";"):
                index.execute(statement)
            index.execute(f"PRAGMA user_version = {_VERSION}")
            self._reconcile()
        index.commit()

    def _discard_index(self) -> None:
        self.close()
        for suffix in ("", "-wal", "-shm"):
            (self.directory / f"index.sqlite{suffix}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the index, as before a fork."""
        if self._index is not None:
            with contextlib.suppress(sqlite3.Error):
                self._index.close()
            self._index = None

    def _files(self) -> Iterator[tuple[Path, State]]:
        for place in ("new", "cur"):
            for path in (self.directory / place).iterdir():
                yield path, _state_of(path)

    def _read_entry(self, path: Path) -> Entry:
        with open(path, "rb") as file:
            head = file.readline(_HEAD_BOUND)
            state = os.fstat(file.fileno())
        if head.startswith(_HEAD):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                return _decode(head[len(_HEAD) :].decode("ascii"))
        # Put there by hand, or damaged: it is listed, and it can be shown and deleted.
        id_ = path.name.partition(":")[0]
        return Entry(
            id=id_,
            time=state.st_mtime,
            sender="",
            recipients=(),
            reason="no entry in the file",
            size=state.st_size,
        )


def create(directory: Path) -> None:
    """Make the Maildir, for its owner only, as the role does."""
    for place in (directory, directory / "tmp", directory / "new", directory / "cur"):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)


def _state_of(path: Path) -> State:
    flags = path.name.partition(":2,")[2]
    if "P" in flags:
        return "released"
    return "releasing" if "F" in flags else "held"


def _encode(entry: Entry) -> bytes:
    """For a held message's first line: what release 1.0.0 knows, which reads no other field."""
    told = asdict(entry)
    del told["state"], told["copies"], told["digest"]
    return json.dumps(told, separators=(",", ":")).encode("ascii")


def _decode(text: str) -> Entry:
    """An entry, without what a later release has written beside it."""
    told = {name: value for name, value in json.loads(text).items() if name in _FIELDS}
    return Entry(**{**told, "recipients": tuple(told["recipients"])})


def digest_of(entry: Entry, message: Buffer) -> str:
    """What two messages have in common that are the same to their recipients, whenever they came."""
    digest = hashlib.sha256(json.dumps([entry.sender, sorted(entry.recipients)]).encode("ascii"))
    with memoryview(message) as view:
        digest.update(view[trace_end(message) :])
    return digest.hexdigest()


def _mark(recipient: str) -> str:
    """A recipient in a file's name."""
    return hashlib.sha256(tokens.folded(recipient).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _write_all(file: IO[bytes], head: bytes, message: Buffer, start: int) -> None:
    """Write both; the message is written from where it lies and not copied."""
    for data, first in ((head, 0), (message, start)):
        with memoryview(data) as view:
            done = first
            while done < len(view):
                done += os.write(file.fileno(), view[done : done + (1 << 20)])


def sync_directory(path: Path) -> None:
    """When this returns, the names in a directory are on the disk."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _skip_head(file: IO[bytes]) -> None:
    head = file.readline(_HEAD_BOUND)
    if not head.startswith(_HEAD):
        file.seek(0)
