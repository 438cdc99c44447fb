"""What a worker takes from itself before it meets the first message, and places that are only ours."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import shutil
import stat
import tempfile
from pathlib import Path

from gatescan.errors import GatescanError
from gatescan.gatefence.process import open_memory, prctl

_PR_SET_NAME = 15
_M_MMAP_THRESHOLD = -3

LARGE_BLOCK = 1 << 20
"""Blocks of so many bytes are given back to the system when they are freed, also after there was a larger one."""
OOM_SCORE = 500
"""A worker goes before anything else on the host does: its message is tried again."""
WORKER_FILE_LIMIT = 256
"""Open files of a worker."""


class ConfinementError(GatescanError):
    """A place that the daemon works in is not safe to use."""


def confine_worker(name: str, memory: int, file_size: int) -> None:
    """Bound what a hostile message can make a worker take; `memory` and `file_size` in bytes."""
    prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]))
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
    _lower(resource.RLIMIT_AS, memory)
    _lower(resource.RLIMIT_FSIZE, file_size)
    _lower(resource.RLIMIT_NOFILE, WORKER_FILE_LIMIT)
    open_memory()  # else it may not write there
    with contextlib.suppress(OSError):  # a container without a writable /proc; the rest holds
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def give_back_memory() -> None:
    """Give the system what a costly message took and has freed; else a little block that stays keeps all before it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def private_directory(path: Path, *, clear: bool) -> None:
    """Make a directory that is only ours, and use it for temporary files; `clear` it of what a crash left.

    Raises ConfinementError if somebody else made it, or could change it: its files would be theirs.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    seen = path.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        raise ConfinementError(f"{path} is not a directory of our own; remove it")
    if stat.S_IMODE(seen.st_mode) & 0o077:
        raise ConfinementError(f"{path} is open to others; remove it")
    for left in path.iterdir() if clear else ():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
    os.environ["TMPDIR"] = tempfile.tempdir = str(path)


def _lower(limit: int, value: int) -> None:
    """Lower a limit; one that is lower already stays."""
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
