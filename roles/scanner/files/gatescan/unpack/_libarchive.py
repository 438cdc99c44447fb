"""A thin binding of libarchive.so.13: only reading, only from memory, only formats that are asked for by name.

Why not python3-libarchive-c: it can't say whether a member is encrypted, decodes names by the process's locale, and
enables every format, among them `mtree`, which opens files of this machine, and filters that start programs.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p, c_wchar_p
from functools import cache
from typing import Any

from gatescan.errors import GatescanError, Unavailable

OK, EOF, WARN, FAILED, FATAL = 0, 1, -20, -25, -30
DIRECTORY, REGULAR, SYMLINK = 0o040000, 0o100000, 0o120000

MEMORY_MAX = 150_000_000
"""Bytes that one archive may make libarchive allocate. The largest honest need is a dictionary of 64 MB or 128 MB."""

_Signature = tuple[list[Any], Any]
_ENTRY_TEXT: _Signature = ([c_void_p], c_char_p)
_ENTRY_WIDE: _Signature = ([c_void_p], c_wchar_p)
_ARCHIVE_INT: _Signature = ([c_void_p], c_int)
_SIGNATURES: dict[str, _Signature] = {
    "read_new": ([], c_void_p),
    "read_free": _ARCHIVE_INT,
    "read_open_memory": ([c_void_p, c_void_p, c_size_t], c_int),
    "read_next_header": ([c_void_p, POINTER(c_void_p)], c_int),
    "read_data_block": ([c_void_p, POINTER(c_void_p), POINTER(c_size_t), POINTER(c_int64)], c_int),
    "read_set_options": ([c_void_p, c_char_p], c_int),
    "read_has_encrypted_entries": _ARCHIVE_INT,
    "error_string": _ENTRY_TEXT,
    "errno": _ARCHIVE_INT,
    "entry_pathname": _ENTRY_TEXT,
    "entry_pathname_utf8": _ENTRY_TEXT,
    "entry_pathname_w": _ENTRY_WIDE,
    "entry_hardlink": _ENTRY_TEXT,
    "entry_symlink": _ENTRY_TEXT,
    "entry_filetype": _ARCHIVE_INT,
    "entry_size": ([c_void_p], c_int64),
    "entry_is_data_encrypted": _ARCHIVE_INT,
    "entry_is_metadata_encrypted": _ARCHIVE_INT,
}


@cache
def library() -> Any:
    """The shared library with its functions declared. Raises Unavailable when it is not there."""
    try:
        lib = ctypes.CDLL("libarchive.so.13", use_errno=True)
        for name, (arguments, result) in _SIGNATURES.items():
            function = getattr(lib, f"archive_{name}")
            function.argtypes = arguments
            function.restype = result
    except (OSError, AttributeError) as error:
        raise Unavailable(f"libarchive can't be loaded: {error}") from error
    return lib


@cache
def _support(what: str) -> Any:
    """`archive_read_support_...`, or Unavailable when this libarchive can't do it by itself."""
    try:
        function = getattr(library(), f"archive_read_support_{what}")
    except AttributeError as error:
        raise Unavailable(f"libarchive has no support for {what}") from error
    function.argtypes = [c_void_p]
    function.restype = c_int
    return function


def _forget_error() -> None:
    """Clear the C library's errno: libarchive ends the process for a name that it can't convert while the errno of an
    earlier call says that there was no memory."""
    ctypes.set_errno(0)


class Failure(GatescanError):
    """libarchive can't read on: the message says why. fatal: nothing more comes out of this archive; memory: it
    wanted more memory than it may have."""

    def __init__(self, text: str, fatal: bool = True, memory: bool = False) -> None:
        super().__init__(text)
        self.fatal = fatal
        self.memory = memory


class _Memory:
    """Bounds what libarchive allocates for one archive: its own calls run under a lower limit of the address space.

    Sizes in a header (a dictionary, a table of members) may ask for gigabytes. A refused allocation is an error that
    libarchive reports; what Python needs between the calls is not counted.
    """

    def __init__(self) -> None:
        self._used = 0
        self._limits = resource.getrlimit(resource.RLIMIT_AS)
        try:
            self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextlib.contextmanager
    def bound(self) -> Iterator[None]:
        """What runs inside may have what is left of the allowance."""
        if self._file < 0:
            yield
            return
        soft, hard = self._limits
        before = self._size()
        tight = before + max(0, MEMORY_MAX - self._used)
        if soft != resource.RLIM_INFINITY:
            tight = min(tight, soft)
        resource.setrlimit(resource.RLIMIT_AS, (tight, hard))
        _forget_error()
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            self._used = max(0, self._used + self._size() - before)

    def _size(self) -> int:
        """The address space in use, in bytes."""
        return int(os.pread(self._file, 40, 0).split(b" ", 1)[0]) * resource.getpagesize()


class Member:
    """The member whose header was read last. Valid until the next one is read."""

    def __init__(self, lib: Any, entry: int) -> None:
        self._lib = lib
        self._entry = entry

    @property
    def raw_names(self) -> tuple[bytes, ...]:
        """The name in every form that libarchive has, as bytes; UTF-8 where it knew the charset."""
        lib, entry = self._lib, self._entry
        _forget_error()
        utf8 = lib.archive_entry_pathname_utf8(entry)
        wide = None if utf8 else lib.archive_entry_pathname_w(entry)
        names = (utf8, wide and wide.encode("utf-8", "replace"), lib.archive_entry_pathname(entry))
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def file_type(self) -> int:
        """The type bits of its mode; 0 when there are none."""
        return int(self._lib.archive_entry_filetype(self._entry)) & 0o170000

    @property
    def size(self) -> int:
        """As declared, in bytes."""
        return int(self._lib.archive_entry_size(self._entry))

    @property
    def link(self) -> bytes:
        """What it is a link to; empty when it is none."""
        lib, entry = self._lib, self._entry
        _forget_error()
        return bytes(lib.archive_entry_symlink(entry) or lib.archive_entry_hardlink(entry) or b"")

    @property
    def encrypted(self) -> bool:
        lib, entry = self._lib, self._entry
        return bool(lib.archive_entry_is_data_encrypted(entry) or lib.archive_entry_is_metadata_encrypted(entry))


class Reader:
    """An open archive. `filters` and `formats` are libarchive's names; use as a context manager."""

    def __init__(self, data: bytes, formats: tuple[str, ...], filters: tuple[str, ...], options: str = "") -> None:
        self._lib = library()
        self._data = data  # must outlive the archive: libarchive reads in place
        self._dead = False
        self._memory = _Memory()
        self._handle = self._lib.archive_read_new()
        if not self._handle:
            self._memory.close()
            raise MemoryError("archive_read_new")
        try:
            self._open(formats, filters, options)
        except BaseException:
            self.close()
            raise

    def _open(self, formats: tuple[str, ...], filters: tuple[str, ...], options: str) -> None:
        for what in (*(f"format_{f}" for f in formats), *(f"filter_{f}" for f in filters)):
            if _support(what)(self._handle) != OK:
                # Anything else means that it would start a program for it.
                raise Unavailable(f"libarchive was built without {what}")
        if options:
            self._lib.archive_read_set_options(self._handle, options.encode())
        with self._memory.bound():
            code = self._lib.archive_read_open_memory(self._handle, self._data, len(self._data))
        self._check(code)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._handle:
            self._lib.archive_read_free(self._handle)
            self._handle = None
            self._memory.close()

    def _check(self, code: int) -> int:
        if code in (OK, EOF, WARN):
            return code
        text = self._lib.archive_error_string(self._handle) or b"no reason given"
        self._dead = code == FATAL
        memory = self._lib.archive_errno(self._handle) == errno.ENOMEM
        raise Failure(text.decode("utf-8", "replace"), fatal=code == FATAL, memory=memory)

    def next(self) -> Member | None:
        """The next member, or None at the end. Raises Failure."""
        if self._dead:
            # libarchive 3.6 goes on in some formats after a fatal error, and then reads memory that it has freed.
            raise Failure("it is damaged")
        entry = c_void_p()
        with self._memory.bound():
            code = self._lib.archive_read_next_header(self._handle, byref(entry))
        if self._check(code) == EOF:
            return None
        return Member(self._lib, entry.value or 0)

    def block(self) -> tuple[int, bytes] | None:
        """The next block of the member's data with its offset (files may have holes); None at its end."""
        place, size, offset = c_void_p(), c_size_t(), c_int64()
        with self._memory.bound():
            code = self._lib.archive_read_data_block(self._handle, byref(place), byref(size), byref(offset))
        if self._check(code) == EOF:
            return None
        return offset.value, ctypes.string_at(place, size.value) if size.value else b""

    @property
    def has_encrypted(self) -> bool:
        """Whether something encrypted was seen so far, be it only the list of names."""
        return int(self._lib.archive_read_has_encrypted_entries(self._handle)) > 0
