"""A log server, and the program that sends to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from log_rig import NAME, RSYSLOGD, Desk, Server
from starttls_rig import make_certificate

from tests.unpacked import find


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's certificate with its key, which vouches for itself."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem", "-addext", f"subjectAltName=DNS:{NAME}")


@pytest.fixture
def server(tmp_path: Path, certificate: Path) -> Iterator[Server]:
    """A real rsyslogd that takes RELP over TLS."""
    if not find(RSYSLOGD) or not find("usr/lib/*/rsyslog/imrelp.so"):
        pytest.skip("rsyslog with rsyslog-relp is neither unpacked (./gw pytest) nor installed")
    made = Server(tmp_path / "server", certificate)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def desk(tmp_path: Path, server: Server, certificate: Path) -> Iterator[Desk]:
    """The sending program, not started yet, and its logs."""
    made = Desk(tmp_path / "gateway", server.port, certificate)
    yield made
    if made.process:
        made.process.kill()
        made.process.wait()
