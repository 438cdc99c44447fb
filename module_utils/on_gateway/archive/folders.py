"""Files written below a folder whose owner is not trusted: no link is followed, and each is there whole or not."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..frame import Refusal

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def owner_of(info: tarfile.TarInfo) -> tuple[int, int]:
    """This host's numbers of a member's owner; Refusal if it has no such account."""
    try:
        return pwd.getpwnam(info.uname).pw_uid, grp.getgrnam(info.gname).gr_gid
    except (KeyError, ValueError) as error:  # ValueError: it has a NUL
        raise Refusal(f"{info.name} is {info.uname}:{info.gname}'s, and {error.args[0]} on this host") from None


@contextlib.contextmanager
def opened(base: Path, inner: str) -> Iterator[int]:
    """The folder `inner` below `base`, as a descriptor. `base` is the system's, and may be a link."""
    descriptor = os.open(base, FOLDER & ~os.O_NOFOLLOW)
    try:
        for name in filter(None, inner.split("/")):
            deeper = os.open(name, FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(base: Path, inner: str, info: tarfile.TarInfo) -> None:
    """Make a folder as it was; one that is there stays as the roles made it."""
    parent, _, name = inner.rpartition("/")
    with opened(base, parent) as folder, contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)
        with opened(base, inner) as made:
            os.fchown(made, *owner_of(info))
            os.fchmod(made, info.mode)


def write_file(base: Path, inner: str, info: tarfile.TarInfo, content: IO[bytes]) -> int:
    """Write a file in the place of one that is there, with its owner, mode and time; returns its inode."""
    parent, _, name = inner.rpartition("/")
    with opened(base, parent) as folder:
        return write_into(folder, name, info, content)


def write_into(folder: int, name: str, info: tarfile.TarInfo, content: IO[bytes]) -> int:
    """The same in a folder that is open."""
    temporary = f".{name[:200]}.restored"
    remove(folder, temporary)  # of a run that was cut
    with open(os.open(temporary, NEW, 0o600, dir_fd=folder), "wb") as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fchown(file.fileno(), *owner_of(info))
        os.fchmod(file.fileno(), info.mode)
        os.utime(file.fileno(), (info.mtime, info.mtime))
        os.fsync(file.fileno())
        inode = os.fstat(file.fileno()).st_ino
    move(folder, temporary, folder, name)
    os.fsync(folder)
    return inode


def move(source: int, name: str, target: int, new: str) -> None:
    """Give a file or folder another name, from one open folder to another."""
    os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)


def remove(folder: int, name: str) -> None:
    """Remove a file of an open folder, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def is_there(folder: int, name: str) -> bool:
    """Whether an open folder has something of that name."""
    with contextlib.suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    return False


def is_ours(folder: int) -> bool:
    """Whether an open folder is this process's user's, and nobody else can write in it."""
    state = os.fstat(folder)
    return state.st_uid == os.geteuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
