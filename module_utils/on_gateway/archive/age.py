"""age: a stream goes in as it is and comes out encrypted, or the other way; nothing else is written."""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..frame import Refusal

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
ABSENT = "age is not on this host: run site.yml with backup_recipients first"


@contextlib.contextmanager
def writing(recipients: Sequence[str], target: Path) -> Iterator[tarfile.TarFile]:
    """A tar that is encrypted on its way to a file; Refusal if that fails."""
    receivers = [word for one in recipients for word in ("--recipient", one)]
    with _program([*receivers, "--output", str(target)], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        with (
            process.stdin,
            gzip.open(process.stdin, "wb", compresslevel=1) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            yield archive
        _ended_well(process)


@contextlib.contextmanager
def reading(identity: Path, source: Path) -> Iterator[tarfile.TarFile]:
    """The tar in an encrypted file; Refusal if it is damaged, which may show at its end only."""
    with _program(["--decrypt", "--identity", str(identity), str(source)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            with gzip.open(process.stdout) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
                yield archive
                while packed.read(1 << 20):  # to the end, where age says whether it was the whole
                    pass
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            while process.stdout.read(1 << 20):  # age ends once all of it is read, and only then says what it found
                pass
            _ended_well(process)
            raise Refusal(f"the archive is damaged: {error}") from error
        _ended_well(process)


def make_identity(target: Path) -> str:
    """Write a new key for one transport; returns its public half."""
    try:
        done = subprocess.run(
            ["age-keygen", "--output", str(target)], env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise Refusal(ABSENT) from None
    if done.returncode:
        raise Refusal(f"age-keygen: {done.stderr.strip()}")
    return done.stderr.rpartition(" ")[2].strip()


@contextlib.contextmanager
def _program(
    arguments: Sequence[str], stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """age, which does not outlive its reader or writer."""
    try:
        process = subprocess.Popen(
            ["age", *arguments], env=ENVIRONMENT, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise Refusal(ABSENT) from None
    with process:
        try:
            yield process
        except BrokenPipeError:
            _ended_well(process)
            raise
        finally:
            process.kill()


def _ended_well(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end, and refuse with its words if it failed."""
    assert process.stderr is not None
    words = process.stderr.read().decode("utf-8", "replace")
    if process.wait():
        raise Refusal(f"age: {' '.join(words.split()) or process.returncode}")
