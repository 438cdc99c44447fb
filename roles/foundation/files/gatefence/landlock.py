"""Landlock: a process gives up files and ports for good, without any privilege.

Three system calls that the C library has no functions for. Each version of the kernel's interface can take more
away; what this kernel can't is left as it is. Files that are open stay so, and so do sockets by their paths.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .problems import Unavailable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_BENEATH, _PORT = 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER = (1 << bit for bit in range(6, 14))
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
BIND_TCP, CONNECT_TCP = 1, 2
_SCOPES = 3
"""No signals and no connections by abstract unix sockets to whoever is not shut in with us."""

READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
APPEND = WRITE_FILE | MAKE_REG
KEEP = READ | WRITE_FILE | TRUNCATE | REMOVE_FILE | MAKE_REG | MAKE_DIR
"""Files of a program's own, in a folder: no links, and no sockets, which others would follow."""
_MAKE = MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
WRITE = READ | WRITE_FILE | TRUNCATE | REFER | REMOVE_DIR | REMOVE_FILE | _MAKE
"""All that is done with files but to execute them: what a worker wrote is not what it may run."""
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Version: the rights that it knows; later ones know the fifth's."""
NEEDED, PORTS_FROM, SCOPES_FROM = 2, 4, 6
"""The first versions with: renaming from one directory into another; ports; signals and abstract sockets."""


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr; an older kernel takes it as long as what it does not know is 0."""

    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _layout_ = "ms"  # what packing means; Python 3.14 asks to say so
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Port(ctypes.Structure):
    """struct landlock_net_port_attr."""

    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Rule:
    """A path, with all that is below it, and what may be done there."""

    path: Path
    rights: int


def version() -> int:
    """The version of the kernel's interface; Unavailable without one."""
    return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))


def restrict(rules: Iterable[Rule], ports: Iterable[int]) -> int:
    """From here on these files and TCP ports alone, for this thread and all that it starts; returns the version.

    A path that is not there is left out. Raises Unavailable, with nothing taken away.
    """
    known = version()
    if known < NEEDED:
        raise Unavailable(f"its version {known} can't allow to move files between directories")
    rights = _FILE_RIGHTS[min(known, max(_FILE_RIGHTS))]
    ports_known = BIND_TCP | CONNECT_TCP if known >= PORTS_FROM else 0
    attributes = _Ruleset(rights, ports_known, _SCOPES if known >= SCOPES_FROM else 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), size, ctypes.c_uint32(0))
    try:
        for rule in rules:
            _allow(ruleset, rule, rights)
        for port in ports if known >= PORTS_FROM else ():
            _add(ruleset, _PORT, _Port(CONNECT_TCP, port))
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return known


def _allow(ruleset: int, rule: Rule, known: int) -> None:
    try:
        place = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = rule.rights & known
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        if rights:
            _add(ruleset, _BENEATH, _Beneath(rights, place))
    finally:
        os.close(place)


def _add(ruleset: int, kind: int, rule: ctypes.Structure) -> None:
    _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(kind), ctypes.byref(rule), ctypes.c_uint32(0))


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    done = int(libc.syscall(ctypes.c_long(number), *arguments))
    if done < 0:
        raise Unavailable(f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return done
