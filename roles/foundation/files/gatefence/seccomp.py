"""Filters of system calls, made by libseccomp: what a program of ours never needs is answered with EPERM.

A filter names what is refused and lets the rest pass: the programs of vendors that a worker may start, and Debian's
next Python, use system calls that nobody foresaw, and a message must never get 451 because of that.

Why not python3-seccomp: it would cost nothing (an import of 0.5 ms, and the same filter in less than a millisecond),
but it is compiled for Debian's own Python alone. Under any other, such as a virtual environment's, in which the tests,
the small gateway and a checkout run, there would be no fence to test. libseccomp does the work in both cases.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import socket
from collections.abc import Iterable, Sequence
from ctypes import POINTER, c_char_p, c_int, c_uint, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any

from .problems import Unavailable

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10

NEVER = (
    # into other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp"),
    # file systems and name spaces
    *("mount", "umount", "umount2", "pivot_root", "chroot", "unshare", "setns", "move_mount", "open_tree", "fsopen"),
    *("fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "fanotify_init", "quotactl"),
    *("quotactl_fd", "acct"),
    # the kernel's own affairs
    *("bpf", "perf_event_open", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
    *("create_module", "query_module", "get_kernel_syms", "swapon", "swapoff", "reboot", "syslog", "iopl"),
    *("ioperm", "sethostname", "setdomainname", "settimeofday", "clock_settime", "stime", "vhangup", "nfsservctl"),
    *("_sysctl", "sysfs", "uselib", "lookup_dcookie"),
    # much code in the kernel that attacks go through
    *("userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl"),
)
"""System calls that no program of ours needs, nor an engine. Those that a kernel or libseccomp lacks are left out."""
NOT_PYTHON = (
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups"),
    *("setuid32", "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32", "setfsuid32", "setfsgid32"),
    *("setgroups32", "capset", "personality", "modify_ldt", "vmsplice", "execve", "execveat"),
    # to other processes: rights that are the same for all processes of a user
    *("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"),
)
"""System calls that Python code does without which starts no program. Engines that are programs use some."""
_NAMESPACES = (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NE, _LT, _EQ, _GT, _MASKED_EQ = 1, 2, 4, 6, 7
_BAD_ARCHITECTURE, _TSYNC, _OPTIMIZE = 2, 4, 8
_BINARY_TREE = 2
_SOCK_TYPE = 0xF
"""Of a socket's type: the rest are flags."""
_32_BIT = {"x86_64": 0x40000003, "aarch64": 0x40000028}
"""The architecture whose programs the kernel runs, too: AUDIT_ARCH_I386, AUDIT_ARCH_ARM."""


_When = tuple[int, int, int, int]
"""A condition: number of the argument, comparison, its two operands."""


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("arg", c_uint), ("op", c_int), ("a", c_uint64), ("b", c_uint64))


@cache
def _library() -> Any:
    try:
        lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        for name, result, *arguments in (
            ("init", c_void_p, c_uint32),
            ("attr_set", c_int, c_void_p, c_int, c_uint32),
            ("arch_add", c_int, c_void_p, c_uint32),
            ("arch_remove", c_int, c_void_p, c_uint32),
            ("arch_native", c_uint32),
            ("merge", c_int, c_void_p, c_void_p),
            ("syscall_resolve_name", c_int, c_char_p),
            ("rule_add_array", c_int, c_void_p, c_uint32, c_int, c_uint, POINTER(_Comparison)),
            ("export_bpf", c_int, c_void_p, c_int),
            ("load", c_int, c_void_p),
        ):
            function = getattr(lib, f"seccomp_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise Unavailable(f"libseccomp can't be loaded: {error}") from error
    return lib


class Filter:
    """A filter that is being made. Raises Unavailable where it can't be."""

    def __init__(self, *, foreign: bool) -> None:
        """foreign: the programs of 32 bits that this kernel runs are let through, and filtered, too."""
        self._lib = _library()
        self._context = self._new()
        self._foreign = None
        if foreign and (architecture := _32_BIT.get(platform.machine())):
            self._foreign = self._new()
            self._do("arch_add", architecture, of=self._foreign)
            self._do("arch_remove", self._lib.seccomp_arch_native(), of=self._foreign)

    def _new(self) -> int:
        context = self._lib.seccomp_init(_ALLOW)
        if not context:
            raise Unavailable("libseccomp gives no filter")
        self._do("attr_set", _BAD_ARCHITECTURE, _ERRNO | errno.EPERM, of=context)
        self._do("attr_set", _TSYNC, 1, of=context, fine=(errno.EOPNOTSUPP,))  # there is one thread anyway
        self._do("attr_set", _OPTIMIZE, _BINARY_TREE, of=context)
        return int(context)

    def refuse(self, names: Iterable[str], *when: _When, code: int = errno.EPERM, native: bool = False) -> None:
        """Answer these system calls with `code`. native: programs of 32 bits may go on with them."""
        for name in names:
            number = self._lib.seccomp_syscall_resolve_name(name.encode("ascii"))
            if number == -1:  # libseccomp is older than the call
                continue
            made = (_Comparison * len(when))(*(_Comparison(*comparison) for comparison in when))
            for context in (self._context, None if native else self._foreign):
                if context:
                    self._do("rule_add_array", _ERRNO | code, number, len(when), made, of=context, fine=(errno.EDOM,))

    def refuse_namespaces(self) -> None:
        """No name space by clone; clone3, whose flags no filter can see, is said not to exist, so clone is used."""
        for flag in _NAMESPACES:
            self.refuse(["clone"], (0, _MASKED_EQ, flag, flag))
        self.refuse(["clone3"], code=errno.ENOSYS)

    def only_families(self, families: Sequence[int]) -> None:
        """Sockets of these families alone. Not for programs of 32 bits: theirs are made by a call of many uses."""
        known = sorted(families)
        self.refuse(["socket"], (0, _LT, known[0], 0), native=True)
        self.refuse(["socket"], (0, _GT, known[-1], 0), native=True)
        for family in set(range(known[0], known[-1])) - set(known):
            self.refuse(["socket"], (0, _EQ, family, 0), native=True)

    def refuse_raw_sockets(self) -> None:
        """Who has the privilege for them could write packets as it likes."""
        self.refuse(["socket"], (1, _MASKED_EQ, _SOCK_TYPE, socket.SOCK_RAW), native=True)

    def only_itself(self) -> None:
        """No signal to another process, nor a change of its limits: they all belong to one user."""
        self.refuse(["kill", "tgkill"], (0, _NE, os.getpid(), 0))
        self.refuse(["prlimit64"], (0, _NE, 0, 0))

    def digest(self) -> str:
        """What two filters that do the same have in common."""
        self._join()
        file = os.memfd_create("filter", os.MFD_CLOEXEC)
        try:
            self._do("export_bpf", file)
            return hashlib.sha256(os.pread(file, 1 << 20, 0)).hexdigest()[:16]
        finally:
            os.close(file)

    def load(self) -> None:
        """Put it in force for this process and all that it will start; it can never be taken away."""
        self._join()
        self._do("load")

    def _join(self) -> None:
        if self._foreign:
            self._do("merge", self._foreign)
            self._foreign = None

    def _do(self, name: str, *arguments: Any, of: int | None = None, fine: tuple[int, ...] = ()) -> None:
        code = getattr(self._lib, f"seccomp_{name}")(of or self._context, *arguments)
        if code < 0 and -code not in fine:
            raise Unavailable(f"libseccomp's {name}: {os.strerror(-code)}")
