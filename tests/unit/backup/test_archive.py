"""What a gateway alone has goes into an archive and comes back on a fresh host: whole, once, to owners by name."""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from on_gateway.archive import age, folders, queued
from on_gateway.archive.pack import pack
from on_gateway.archive.state import Entry, Manifest, parse_entries
from on_gateway.archive.unpack import Wish, unpack
from on_gateway.frame import Refusal

HELD = "/var/spool/gatescan/quarantine"
KEYS = "/etc/gatepost/dkim"
STATE = "/var/lib/gatekeeper/state.sqlite"
RULES = "/etc/gatescan/outbreak.txt"
QUEUE = "/var/qmail/queue"
ENTRIES = parse_entries(
    [
        {"path": HELD, "form": "held", "services": ["gatescan"]},
        {"path": KEYS},
        {"path": STATE, "form": "database"},
        {"path": RULES},
        {"path": QUEUE, "form": "queue"},
    ]
)
SPLIT = 3
BORN = 1_795_000_000
LEFT = f"restored.{'a' * 32}"
"""A folder of last files that a run left which was cut."""


@dataclass(frozen=True)
class Gateway:
    """A gateway whose files are below a folder."""

    root: Path

    def write(self, path: str, text: str | bytes, mode: int = 0o640) -> Path:
        """Put a file there."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(mode)
        return file

    def names(self, path: str) -> list[str]:
        """The files below a folder."""
        folder = self.root / path.lstrip("/")
        return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())

    def stop(self) -> None:
        """Cut mail off, both ways."""
        for way in ("inbound", "outbound"):
            self.write(f"/var/lib/gatewright/cutoff/{way}", "")

    def queue(self, number: int, recipients: str, sender: str = "bob@far.test") -> None:
        """A message in the queue, whose sender has waited; `recipients` has spaces for NUL."""
        texts = {"mess": f"Subject: {number}\n\nhello\n", "info": f"F{sender}\0", "bounce": ""}
        texts["remote"] = recipients.replace(" ", "\0") + "\0"
        for kind, text in texts.items():
            spread = "" if kind == "bounce" else f"{number % SPLIT}/"
            if text:
                file = self.write(f"{QUEUE}/{kind}/{spread}{number}", text, 0o600)
                os.utime(file, (BORN + number, BORN + number))

    def queue_unsorted(self, number: int) -> None:
        """A message that qmail-send has not looked at."""
        self.write(f"{QUEUE}/mess/{number % SPLIT}/{number}", f"Subject: {number}\n\nhello\n", 0o644)
        self.write(f"{QUEUE}/todo/{number}", f"u7\0p7\0Fbob@far.test\0T{number}@corp.test\0", 0o644)

    def messages(self) -> dict[str, tuple[str, str]]:
        """Each message of the queue, by its subject: which file makes it one, and its recipients."""
        found = {}
        place = self.root / QUEUE.lstrip("/")
        for body in place.glob("mess/*/*"):
            number = int(body.name)
            assert number == body.stat().st_ino, "qmail-send takes the number for the inode"
            assert body.parent.name == str(number % SPLIT)
            subject = body.read_text().split()[1]
            if (todo := place / f"todo/{number}").exists():
                assert (place / f"intd/{number}").samefile(todo)
                found[subject] = ("todo", todo.read_text())
            elif (info := place / f"info/{number % SPLIT}/{number}").exists():
                assert info.stat().st_mtime == BORN + int(subject), "it is as old as it was"
                found[subject] = (info.read_text(), (place / f"remote/{number % SPLIT}/{number}").read_text())
        return found


def gateway(root: Path, name: str = "gw1.example.org") -> Gateway:
    """What site.yml makes of a host."""
    made = Gateway(root)
    made.write("/var/qmail/control/me", f"{name}\n")
    for kind in ("mess", "info", "local", "remote"):
        for number in range(SPLIT):
            (root / f"var/qmail/queue/{kind}/{number}").mkdir(parents=True)
    for path in ("lock", "todo", "intd", "bounce", "pid"):
        (root / "var/qmail/queue" / path).mkdir()
    made.write(f"{QUEUE}/lock/sendmutex", "")
    for path in (f"{HELD}/new", f"{HELD}/cur", KEYS, "/var/lib/gatekeeper", "/etc/gatescan", "/var/lib/gatewright"):
        (root / path.lstrip("/")).mkdir(parents=True)
    return made


@dataclass(frozen=True)
class Site:
    """A gateway that dies, the fresh host in its place, and the administrator's key."""

    folder: Path
    old: Gateway
    new: Gateway
    recipient: str

    @property
    def archive(self) -> Path:
        """The archive."""
        return self.folder / "archive"

    def pack(self, queue: str = "auto") -> None:
        """Take what the old one has."""
        pack(self.old.root, ENTRIES, self.archive, [self.recipient], "1.2.0", queue)

    def unpack(self, only_look: bool = False, queue: str = "", over: bool = False, release: str = "1.2.0") -> list[str]:
        """Bring it to the new one; returns what was left out."""
        wish = Wish(self.archive, self.folder / "key", release, queue, over)
        left: list[str] = unpack(self.new.root, ENTRIES, wish, only_look)["left_out"]
        return left

    @contextmanager
    def forged(self, *entries: str, queued: int = 0) -> Iterator[tarfile.TarFile]:
        """An archive by somebody who knows the public key alone."""
        manifest = Manifest(1, "0" * 32, "gw1.example.org", "1.0.0", BORN, entries, queued)
        with age.writing([self.recipient], self.archive) as archive:
            add(archive, tarfile.TarInfo("gatewright.json"), manifest.text())
            yield archive


def add(archive: tarfile.TarFile, info: tarfile.TarInfo, text: bytes = b"") -> None:
    """A member that is this user's."""
    info.uname, info.gname, info.size = "root", "root", len(text)
    archive.addfile(info, io.BytesIO(text))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Both gateways, and a key."""
    recipient = age.make_identity(tmp_path / "key")
    return Site(tmp_path, gateway(tmp_path / "old"), gateway(tmp_path / "new"), recipient)


def test_held_mail_keys_rules_and_counters_come_back(site: Site) -> None:
    site.old.write(f"{HELD}/new/20261128-1", "held\n", 0o600)
    site.old.write(f"{HELD}/cur/20261127-2:2,P", "released\n", 0o600)
    site.old.write(f"{HELD}/index.sqlite", "made anew from the Maildir")
    site.old.write(f"{KEYS}/example.org/gw1-rsa.pem", "key\n")
    site.old.write(RULES, "Policy\n", 0o644)
    with closing(sqlite3.connect(site.old.root / STATE.lstrip("/"))) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE kept (key TEXT)")
        writer.execute("INSERT INTO kept VALUES ('seen')")
        writer.commit()  # and what is in the log beside the file is not in the file
        site.pack()
    site.new.write(f"{KEYS}/example.org/gw1-rsa.pem", "the fresh host's own\n")
    site.new.write(STATE, b"other")
    site.new.write(f"{STATE}-wal", b"of the other")
    assert site.unpack() == []
    assert site.new.names(HELD) == ["cur/20261127-2:2,P", "new/20261128-1"]
    key = site.new.root / KEYS.lstrip("/") / "example.org/gw1-rsa.pem"
    assert key.read_text() == "key\n" and key.stat().st_mode & 0o7777 == 0o640
    assert (site.new.root / RULES.lstrip("/")).read_text() == "Policy\n"
    with closing(sqlite3.connect(site.new.root / STATE.lstrip("/"))) as reader:
        assert reader.execute("SELECT key FROM kept").fetchall() == [("seen",)]


def test_nothing_of_it_can_be_read_without_the_key(site: Site) -> None:
    site.old.write(f"{KEYS}/example.org/gw1-rsa.pem", "SECRET")
    site.pack()
    text = site.archive.read_bytes()
    assert text.startswith(b"age-encryption.org/") and b"SECRET" not in text and b"gw1" not in text


def test_what_happened_to_a_held_message_on_the_new_host_is_not_undone(site: Site) -> None:
    site.old.write(f"{HELD}/new/20261128-1", "held\n")
    site.pack()
    site.new.write(f"{HELD}/cur/20261128-1:2,P", "released since\n")
    site.unpack()
    assert site.new.names(HELD) == ["cur/20261128-1:2,P"]


def test_who_was_given_a_copy_of_a_held_message_gets_no_second_one_on_the_new_host(site: Site) -> None:
    site.old.write(f"{HELD}/new/20261128-1", "held\n", 0o600)
    site.old.write(f"{HELD}/given/20261128-1.0123456789abcdef", "", 0o600)
    site.pack()
    for _ in range(2):
        site.unpack()
        assert site.new.names(HELD) == ["given/20261128-1.0123456789abcdef", "new/20261128-1"]


def test_the_queue_comes_back_under_new_numbers_as_old_as_it_was_and_once(site: Site) -> None:
    site.old.queue(301, "Dann@far.test Tben@far.test")
    site.old.queue(302, "Teva@far.test", sender="")
    site.old.queue_unsorted(303)
    site.old.stop()
    site.pack()
    site.new.queue_unsorted(1)  # in the way: this gateway is at work
    with pytest.raises(Refusal, match=r"restore_over=true"):
        site.unpack(queue="take")
    for path in ("mess/1/1", "todo/1"):
        (site.new.root / QUEUE.lstrip("/") / path).unlink()
    site.unpack(queue="take")
    expected = {
        "301": ("Fbob@far.test\0", "Dann@far.test\0Tben@far.test\0"),
        "302": ("F\0", "Teva@far.test\0"),
        "303": ("todo", "u7\0p7\0Fbob@far.test\0T303@corp.test\0"),
    }
    assert site.new.messages() == expected
    assert site.unpack(queue="take", over=True) == [QUEUE]
    assert site.new.messages() == expected, "no message is there twice"


def test_the_queue_of_a_gateway_at_work_is_left_where_it_is(site: Site) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.write("/var/lib/gatewright/cutoff/inbound", "")
    with pytest.raises(Refusal, match="cut mail off first"):
        monkeypatched_up(site, lambda: site.pack("take"))
    monkeypatched_up(site, site.pack)
    site.unpack()
    assert site.new.messages() == {}


def monkeypatched_up(site: Site, call: Callable[[], None]) -> None:
    """With a qmail that runs, as supervise says."""
    from on_gateway import supervise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervise, "svstat", lambda folder: f"{folder}: up (pid 7) 60 seconds\n")
        call()


def test_whoever_brings_a_queue_back_must_say_so(site: Site) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.stop()
    site.pack()
    with pytest.raises(Refusal, match=r"1 messages of the queue.*restore_queue=take"):
        site.unpack()
    site.unpack(queue="leave")
    assert site.new.messages() == {}


class Cut(BaseException):
    """The end of a process, wherever it was."""


@pytest.mark.parametrize("place", range(12))
def test_a_run_that_was_cut_anywhere_is_made_good_by_the_next(
    site: Site, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (301, 302):
        site.old.queue(number, "Tben@far.test")
    site.old.queue_unsorted(303)
    site.old.stop()
    site.pack()
    left = [place]

    def cut(source: int, name: str, target: int, new: str) -> None:
        if left[0] == 0:
            raise Cut
        left[0] -= 1
        folders.move(source, name, target, new)

    with monkeypatch.context() as patch:
        patch.setattr(queued, "move", cut)
        try:
            site.unpack(queue="take")
        except Cut:
            assert len(site.new.messages()) < 3 or left[0] == 0
    site.unpack(queue="take", over=True)
    assert set(site.new.messages()) == {"301", "302", "303"}
    bodies = site.new.names(f"{QUEUE}/mess")
    assert len(bodies) == 3, "what the cut run had written is gone"
    assert not list((site.new.root / QUEUE.lstrip("/")).glob("restored*"))


def plant(site: Site, name: str, *files: str, mode: int = 0o700) -> Path:
    """A folder in the new gateway's queue that looks like one of a run that was cut."""
    folder = site.new.root / QUEUE.lstrip("/") / name
    folder.mkdir()
    for file in files:
        (folder / file).write_text("planted\n")
    folder.chmod(mode)
    return folder


def test_a_folder_that_others_can_write_is_none_of_a_run_that_was_cut(site: Site) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.stop()
    site.pack()
    elsewhere = site.new.root / "etc/cron.daily"
    elsewhere.mkdir()
    (site.new.root / QUEUE.lstrip("/") / "x").symlink_to(elsewhere)
    planted = plant(site, LEFT, "x.7", mode=0o777)
    site.unpack(queue="take")
    assert not list(elsewhere.iterdir()) and (planted / "x.7").exists()
    assert set(site.new.messages()) == {"301"}


@pytest.mark.parametrize("kind", ["link", "writable", "other"])
def test_a_planted_folder_does_not_take_the_place_of_restore_over(
    site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.stop()
    site.pack()
    site.new.queue_unsorted(1)
    if kind == "link":
        (site.new.root / QUEUE.lstrip("/") / LEFT).symlink_to(site.new.root / "etc")
    else:
        plant(site, LEFT, mode=0o777 if kind == "writable" else 0o700)
    if kind == "other":
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(Refusal, match="restore_over=true"):
        site.unpack(queue="take")


def test_a_planted_folder_without_its_last_files_removes_nothing(site: Site) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.stop()
    site.pack()
    body = site.new.write(f"{QUEUE}/mess/1/7", "somebody's\n")
    plant(site, f"{LEFT}.part", "info.7", mode=0o770)
    site.unpack(queue="take")
    assert body.read_text() == "somebody's\n"


def test_a_message_whose_body_is_lost_is_left_out_and_counted(site: Site) -> None:
    for number in (301, 302, 303):
        site.old.queue(number, "Tben@far.test")
    for number in (304, 305):
        site.old.queue_unsorted(number)
    bodies = site.old.root / QUEUE.lstrip("/") / "mess"
    for number in (301, 304):
        (bodies / f"{number % SPLIT}/{number}").unlink()
    other = bodies / f"{302 % SPLIT}/302"
    other.unlink()
    other.symlink_to(site.old.write("/outside", "Subject: SECRET\n"))
    site.old.stop()
    packed = pack(site.old.root, ENTRIES, site.archive, [site.recipient], "1.2.0")
    assert (packed["queued"], packed["bodiless"]) == (2, 3)
    site.unpack(queue="take")
    assert set(site.new.messages()) == {"303", "305"}


@pytest.mark.parametrize("kind", ["info", "remote", "todo"])
def test_an_archive_with_a_message_without_its_body_is_refused_before_anything_is_written(
    site: Site, kind: str
) -> None:
    with site.forged(QUEUE, RULES, queued=1) as archive:
        add(archive, tarfile.TarInfo(RULES[1:]), b"Policy\n")
        add(archive, tarfile.TarInfo(f"{QUEUE[1:]}/mess/1/4"), b"Subject: 4\n\n")
        add(archive, tarfile.TarInfo(f"{QUEUE[1:]}/{kind}/1/7"), b"x\0")
    with pytest.raises(Refusal, match=rf"{kind}/1/7' in the archive is of a message without body.*restore_queue=leave"):
        site.unpack(queue="take")
    assert site.new.names("/etc/gatescan") == []
    site.unpack(queue="leave")


def test_a_folder_in_the_queue_of_an_archive_is_refused(site: Site) -> None:
    info = tarfile.TarInfo(f"{QUEUE[1:]}/mess/7")
    info.type, info.mode = tarfile.DIRTYPE, 0o700
    with site.forged(QUEUE) as archive:
        add(archive, info)
    with pytest.raises(Refusal, match="no file of a queue"):
        site.unpack(queue="take")


@pytest.mark.parametrize("last", ["info/1/7", "todo/7"])
def test_a_number_of_a_cut_run_that_is_another_messages_by_now_is_left_alone(site: Site, last: str) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.stop()
    site.pack()
    plant(site, f"{LEFT}.part", "info.7", "info.10")
    live = [site.new.write(f"{QUEUE}/{path}", "Tx\0") for path in ("mess/1/7", "remote/1/7", last)]
    abandoned = site.new.write(f"{QUEUE}/mess/1/10", "of the cut run\n")
    site.unpack(queue="take", over=True)
    assert [file.exists() for file in live] == [True, True, True]
    assert not abandoned.exists() and not site.new.names(QUEUE + f"/{LEFT}.part")


@pytest.mark.parametrize("name", ["x.7", "info.7x", "info.", "todo.-1", "mess.7"])
def test_a_strange_file_among_last_files_is_refused_by_name(site: Site, name: str) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.stop()
    site.pack()
    planted = plant(site, LEFT, name)
    with pytest.raises(Refusal, match=rf"{LEFT}/{name} is no file of a message"):
        site.unpack(queue="take")
    assert (planted / name).exists()


@pytest.mark.parametrize("kind", ["mess", "info", "remote", "intd"])
def test_a_folder_of_the_queue_that_is_a_link_is_not_followed(site: Site, kind: str) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.queue_unsorted(302)
    site.old.stop()
    site.pack()
    elsewhere = site.new.root / "elsewhere"
    elsewhere.mkdir()
    folder = site.new.root / QUEUE.lstrip("/") / kind
    for place in sorted(folder.iterdir()) or [folder]:
        place.rmdir()
        place.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        site.unpack(queue="take")
    assert not list(elsewhere.iterdir())


def test_what_is_in_the_way_of_the_work_is_named_before_a_message_is_written(site: Site) -> None:
    site.old.queue(301, "Tben@far.test")
    site.old.stop()
    archive = pack(site.old.root, ENTRIES, site.archive, [site.recipient], "1.2.0")["id"]
    plant(site, f"restored.{archive}", mode=0o777)
    with pytest.raises(Refusal, match=rf"restored\.{archive} is in the way"):
        site.unpack(queue="take")
    assert site.new.names(f"{QUEUE}/mess") == []


def test_owners_are_those_of_this_host_that_have_the_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tarfile.TarInfo("x")
    info.uid, info.gid, info.uname, info.gname = 4711, 4711, "daemon", "daemon"
    assert folders.owner_of(info) == (1, 1)
    info.uname = "nobody-has-this"
    with pytest.raises(Refusal, match=r"x is nobody-has-this:daemon's.*on this host"):
        folders.owner_of(info)


@pytest.mark.parametrize(
    ("name", "release", "words"),
    [
        ("gw2.example.org", "1.2.0", "the archive is gw1.example.org's, and this gateway is gw2.example.org"),
        ("gw1.example.org", "1.1.9", "made by release 1.2.0, and this is 1.1.9"),
    ],
)
def test_an_archive_of_another_gateway_or_a_later_release_is_refused(
    site: Site, name: str, release: str, words: str
) -> None:
    site.old.write(RULES, "Policy\n")
    site.pack()
    site.new.write("/var/qmail/control/me", f"{name}\n")
    with pytest.raises(Refusal, match=words):
        site.unpack(release=release)
    assert site.new.names("/etc/gatescan") == []


@pytest.mark.parametrize("damage", [lambda text: text[:-40], lambda text: text[:-9] + b"x" + text[-8:]])
def test_a_damaged_archive_changes_nothing(site: Site, damage: Callable[[bytes], bytes]) -> None:
    site.old.write(RULES, os.urandom(300_000))
    site.pack()
    site.archive.write_bytes(damage(site.archive.read_bytes()))
    with pytest.raises(Refusal, match=r"age: |damaged"):
        site.unpack()
    assert site.new.names("/etc/gatescan") == []


@pytest.mark.parametrize(
    "head",
    [b"", gzip.compress(b"x" * 1024), gzip.compress(b"")[:10] + b"\xff" * 64],
    ids=["no gzip", "no tar", "broken deflate"],
)
def test_a_file_of_ours_that_is_no_archive_is_refused_at_once_however_long_it_is(site: Site, head: bytes) -> None:
    encrypt = ["age", "--encrypt", "--recipient", site.recipient, "--output", str(site.archive)]
    subprocess.run(encrypt, input=head + os.urandom(1 << 20), check=True)  # far more than a pipe holds
    said: list[str] = []

    def look() -> None:
        with pytest.raises(Refusal) as refusal:
            site.unpack()
        said.append(str(refusal.value))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(30)
    assert said and said[0].startswith("the archive is damaged: ")


def test_another_key_opens_nothing(site: Site) -> None:
    site.pack()
    (site.folder / "key").unlink()
    age.make_identity(site.folder / "key")
    with pytest.raises(Refusal, match="no identity matched"):
        site.unpack()


def test_a_recipient_that_is_none_is_told_in_ages_words(site: Site) -> None:
    with pytest.raises(Refusal, match="age1nobody"):
        pack(site.old.root, ENTRIES, site.archive, ["age1nobody"], "1.2.0")


@pytest.mark.parametrize("name", ["etc/shadow", f"{KEYS[1:]}/../shadow", "/etc/gatepost/dkim/x", "etc/gatepost/dkim2"])
def test_an_archive_writes_nowhere_but_where_roles_say(site: Site, name: str) -> None:
    with site.forged(KEYS) as archive:
        add(archive, tarfile.TarInfo(name), b"x")
    with pytest.raises(Refusal, match=r"of nothing that it names|no plain file"):
        site.unpack()
    with site.forged(KEYS, "/etc") as archive:
        add(archive, tarfile.TarInfo("etc/shadow"), b"x")
    assert site.unpack() == ["/etc"]
    assert not (site.new.root / "etc/shadow").exists()


@pytest.mark.parametrize(
    ("kind", "mode"), [(tarfile.SYMTYPE, 0o777), (tarfile.REGTYPE, 0o4755), (tarfile.FIFOTYPE, 0o600)]
)
def test_links_pipes_and_set_id_programs_are_refused(site: Site, kind: bytes, mode: int) -> None:
    info = tarfile.TarInfo(f"{KEYS[1:]}/x")
    info.type, info.mode, info.linkname = kind, mode, "/etc/shadow"
    with site.forged(KEYS) as archive:
        add(archive, info)
    with pytest.raises(Refusal, match="no plain file or folder"):
        site.unpack()


IMPOSSIBLE: dict[str, list[tuple[str, bytes, dict[str, str]]]] = {
    "time-nan": [("x", tarfile.REGTYPE, {"mtime": "nan"})],
    "time-inf": [("x", tarfile.REGTYPE, {"mtime": "inf"})],
    "time-far": [("x", tarfile.REGTYPE, {"mtime": "1e30"})],
    "size-longer-than-the-archive": [("x", tarfile.REGTYPE, {"size": "99999999999999"})],
    "size-below-0": [("x", tarfile.REGTYPE, {"size": "-5"})],
    "sparse": [("x", tarfile.REGTYPE, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "etc/x"})],
    "name-nul": [("x", tarfile.REGTYPE, {"path": f"{KEYS[1:]}/a\0b"})],
    "name-long": [("y" * 300, tarfile.REGTYPE, {})],
    "owner-nul": [("x", tarfile.REGTYPE, {"uname": "ro\0ot"})],
    "file-over-folder": [("d", tarfile.DIRTYPE, {}), ("d", tarfile.REGTYPE, {})],
    "folder-over-file": [("f", tarfile.REGTYPE, {}), ("f", tarfile.DIRTYPE, {}), ("f/x", tarfile.REGTYPE, {})],
    "below-a-file": [("f", tarfile.REGTYPE, {}), ("f/x", tarfile.REGTYPE, {})],
    "without-folder": [("no/f", tarfile.REGTYPE, {})],
    "over-a-folder-of-the-host": [("here", tarfile.REGTYPE, {})],
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_a_file_is_refused_before_anything_is_written(site: Site, case: str) -> None:
    (site.new.root / KEYS[1:] / "here").mkdir()
    with site.forged(KEYS) as archive:
        add(archive, tarfile.TarInfo(f"{KEYS[1:]}/first"), b"first")
        for name, kind, headers in IMPOSSIBLE[case]:
            info = tarfile.TarInfo(f"{KEYS[1:]}/{name}")
            info.type, info.mode, info.pax_headers = kind, 0o700, headers
            add(archive, info, b"" if kind == tarfile.DIRTYPE else b"hello")
    with pytest.raises(Refusal):
        site.unpack()
    assert site.new.names(KEYS) == []


@pytest.mark.parametrize(
    "change", [{"release": 5}, {"host": []}, {"queued": "x"}, {"made": "x"}, {"entries": [1]}, None]
)
def test_an_archive_that_says_nonsense_of_itself_is_none(site: Site, change: dict[str, object] | None) -> None:
    told = {"format": 1, "id": "0" * 32, "host": "gw1.example.org", "release": "1.0.0", "made": 1, "entries": [KEYS]}
    text = json.dumps(told | change).encode() if change else b"[" * 100_000
    with age.writing([site.recipient], site.archive) as archive:
        add(archive, tarfile.TarInfo("gatewright.json"), text)
    with pytest.raises(Refusal, match="no archive of Gatewright's"):
        site.unpack()


def test_what_an_archive_says_of_itself_is_no_longer_than_the_archive(site: Site) -> None:
    told = Manifest(1, "0" * 32, "gw1.example.org", "1.0.0", BORN, (KEYS,), 0).text()
    info = tarfile.TarInfo("gatewright.json")
    info.pax_headers = {"size": "9" * 9}
    with age.writing([site.recipient], site.archive) as archive:
        add(archive, info, told + b" " * (2 << 20))
    with pytest.raises(Refusal, match="a size, time or name that no file has"):
        site.unpack()


def test_no_link_is_followed_on_the_way_in_or_out(site: Site) -> None:
    outside = site.old.write("/outside", "SECRET")
    (site.old.root / HELD.lstrip("/") / "new/link").symlink_to(outside)
    site.old.write(f"{HELD}/new/1", "held\n")
    site.pack()
    (site.new.root / HELD.lstrip("/") / "new").rmdir()
    (site.new.root / HELD.lstrip("/") / "new").symlink_to(site.new.root)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        site.unpack()
    assert not (site.new.root / "1").exists()


def test_a_role_that_publishes_nonsense_is_named() -> None:
    with pytest.raises(ValueError, match=r"/etc/../shadow"):
        parse_entries([{"path": "/etc/../shadow"}])
    assert not Entry("/etc/x").covers("etc/xy")


def test_a_strange_member_of_the_queue_is_none() -> None:
    assert queued.parts("var/qmail/queue/mess/7/30") == ("mess", 30)
    with pytest.raises(ValueError, match="lock"):
        queued.parts("var/qmail/queue/lock/sendmutex")
