"""starttls-smtpd as these tests build and start it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from starttls_rig import (
    PATIENCE,
    SERVER,
    Session,
    Start,
    compile_program,
    make_certificate,
)


@pytest.fixture(scope="session")
def compiler() -> str:
    """A C compiler that has OpenSSL's headers."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None or not Path("/usr/include/openssl/ssl.h").exists():
        pytest.skip("no C compiler with OpenSSL's headers on this machine: the lab's gateways show the same")
    return found


@pytest.fixture(scope="session")
def program(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """starttls-smtpd as the role builds it."""
    built = tmp_path_factory.mktemp("starttls") / "starttls-smtpd"
    compile_program(compiler, built)
    return built


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that is good enough."""
    return make_certificate(tmp_path_factory.mktemp("certificate") / "starttls.pem")


@pytest.fixture
def start(program: Path, certificate: Path, tmp_path: Path) -> Iterator[Start]:
    """Start sessions; the policy is STARTTLS's value, certificate None leaves descriptor 9 closed."""
    sessions: list[Session] = []

    def begin(
        policy: str = "",
        file: Path | None = certificate,
        kind: socket.SocketKind = socket.SOCK_STREAM,
        **environment: str,
    ) -> Session:
        server, log = tmp_path / "server", tmp_path / "log"
        server.write_text(SERVER.format(log=str(log)))
        server.chmod(0o755)
        ours, theirs = socket.socketpair(type=kind)
        ours.settimeout(PATIENCE)
        opened = f"9< {file}" if file else "9<&-"
        process = subprocess.Popen(
            ["sh", "-c", f"exec {program} {server} {opened}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
            env={**os.environ, "STARTTLS": policy, **environment},
        )
        theirs.close()
        sessions.append(Session(ours, process, log, offers=bool(file and file.read_text())))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.wire.close()
        _, errors = session.process.communicate(timeout=PATIENCE)
        assert b"Sanitizer" not in errors and b"runtime error" not in errors, errors.decode()
