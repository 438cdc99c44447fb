"""python3 pack.py ARCHIVE.tar.gz: pack the stand-in as a release is packed; the same bytes every time."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path

TOP = "standin-1.0"
HERE = Path(__file__).resolve().parent
LEFT_OUT = {"pack.py", "out", "instcheck"}  # `make it` makes the last two
MOMENT = 1000000000


def members() -> list[Path]:
    """The files of the archive, in order."""
    found = [path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path for path in found if path.relative_to(HERE).parts[0] not in LEFT_OUT)


def pack() -> bytes:
    """The archive."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in members():
            member = tarfile.TarInfo(f"{TOP}/{path.relative_to(HERE).as_posix()}")
            content = path.read_bytes()
            member.size, member.mtime = len(content), MOMENT
            member.mode = 0o755 if content.startswith(b"#!/bin/sh") else 0o644
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=MOMENT)


def main() -> int:
    """Write the archive and print its SHA-256."""
    archive = pack()
    Path(sys.argv[1]).write_bytes(archive)
    print(hashlib.sha256(archive).hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main())
