"""What the code of an attacker tries once it runs in a worker. Each act answers with its errno, 0 if it succeeded."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_PTRACE_ATTACH, _PTRACE_DETACH = 16, 17
_CLONE_NEWUSER = 0x10000000
_KEYCTL = {"x86_64": 250, "aarch64": 219}[platform.machine()]
_IO_URING_SETUP, _CLONE3 = 425, 435


def tried(act: str, *words: str) -> int:
    """Do it. The words `master` and `sibling` stand for those processes' ids."""
    master = os.getppid()
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    known = {"master": str(master), "sibling": next(pid for pid in children if int(pid) != os.getpid())}
    try:
        ACTS[act](*(known.get(word, word) for word in words))
    except OSError as error:
        return error.errno or -1
    return 0


def _libc(name: str, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    done = int(getattr(libc, name)(*arguments))
    if done < 0:
        raise OSError(ctypes.get_errno(), name)
    return done


def _in_child(step: Callable[[], object]) -> None:
    """Do it in a child, so that it is no matter for this process."""
    child = os.fork()
    if child == 0:
        number = 255
        with contextlib.suppress(BaseException):
            try:
                step()
                number = 0
            except OSError as error:
                number = error.errno or 255
        os._exit(number)
    if number := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(number, os.strerror(number))


def _shell() -> None:
    _in_child(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]))


def _shell_in_memory() -> None:
    """A program that is in no directory."""
    file = os.memfd_create("sh")
    os.write(file, Path("/bin/sh").read_bytes())
    _in_child(lambda: os.execve(file, ["sh", "-c", "exit 0"], {}))


def _own_program(directory: str) -> None:
    """A program that was written just now."""
    program = Path(directory) / "mine"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o700)
    _in_child(lambda: os.execv(program, ["mine"]))


def _ptrace(pid: str) -> None:
    def attach() -> None:
        _libc("ptrace", ctypes.c_long(_PTRACE_ATTACH), ctypes.c_long(int(pid)), None, None)
        os.waitpid(int(pid), 0)
        _libc("ptrace", ctypes.c_long(_PTRACE_DETACH), ctypes.c_long(int(pid)), None, None)

    _in_child(attach)


def _memory_of(pid: str) -> None:
    with open(f"/proc/{pid}/mem", "r+b"):
        pass


def _connect(port: str) -> None:
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", int(port)))


def _bind() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))


def _listen() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # any abstract name
        listener.listen()


def _unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)


def _pair() -> None:
    for end in socket.socketpair():
        end.close()


def _abstract(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{name}")


def _mount(path: bytes) -> None:
    _libc("mount", b"none", path, b"tmpfs", 0, None)
    _libc("umount", path)


def _write(path: str) -> None:
    Path(path).write_text("mine")


ACTS: dict[str, Callable[..., object]] = {
    "shell": _shell,
    "shell in memory": _shell_in_memory,
    "own program": _own_program,
    "subprocess": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "ptrace": _ptrace,
    "memory": _memory_of,
    "kill": lambda pid: os.kill(int(pid), signal.SIGCONT),
    "limits": lambda pid: resource.prlimit(int(pid), resource.RLIMIT_NOFILE, (200, 200)),
    "tcp": lambda: socket.socket(socket.AF_INET).close(),
    "tcp6": lambda: socket.socket(socket.AF_INET6).close(),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close(),
    "connect": _connect,
    "unix": _unix,
    "pair": _pair,
    "bind": _bind,
    "listen": _listen,
    "abstract": _abstract,
    "mount": lambda path: _mount(os.fsencode(path)),
    "unshare": lambda: _in_child(lambda: _libc("unshare", _CLONE_NEWUSER)),
    "chroot": lambda path: _in_child(lambda: os.chroot(path)),
    "setuid": lambda: _in_child(lambda: os.setuid(os.getuid())),
    "keyctl": lambda: _libc("syscall", ctypes.c_long(_KEYCTL), 0, -3, 1),
    "io_uring": lambda: _io_uring(),
    "clone3": lambda: _libc("syscall", ctypes.c_long(_CLONE3), None, 0),
    "read": lambda path: Path(path).read_text(),
    "list": lambda path: os.listdir(path),
    "write": _write,
    "append": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_APPEND)),
    "truncate": lambda path: os.truncate(path, 0),
    "remove": lambda path: os.unlink(path),
    "link": lambda path: os.symlink("/etc/passwd", path),
    "rename": lambda path: os.rename(path, f"{path}.moved"),
}


def _io_uring() -> None:
    os.close(_libc("syscall", ctypes.c_long(_IO_URING_SETUP), 1, ctypes.create_string_buffer(120)))
