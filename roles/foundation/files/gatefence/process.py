"""What a process takes from itself. None of it needs privilege."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


def give_up_privileges() -> None:
    """From here on nothing can gain privileges by a set-uid program, or dump core."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def close_memory() -> None:
    """No other process of our user may look into this one or change it."""
    prctl(_PR_SET_DUMPABLE, 0)


def open_memory() -> None:
    """Undo `close_memory`: a process's own files below /proc would be root's."""
    prctl(_PR_SET_DUMPABLE, 1)


def die_with(parent: int) -> None:
    """This process is killed when the one that started it ends, which is `parent`."""
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it had ended before
        os.kill(os.getpid(), signal.SIGKILL)


def prctl(option: int, value: object) -> None:
    """prctl(2); raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
