"""gatepost's daemon as these tests start it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gatepost_rig import Gatepost, NameServer
from server_rig import Server
from starttls_rig import make_certificate


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of a server that is mx.test and 127.0.0.1, and its own authority."""
    path = tmp_path_factory.mktemp("authority") / "mx.pem"
    return make_certificate(path, "-addext", "subjectAltName=DNS:mx.test,IP:127.0.0.1")


@pytest.fixture(scope="module")
def name_server() -> NameServer:
    """A name server with the names of the tests of routes."""
    names = NameServer()
    names.add("mx.test", "A", "127.0.0.1")
    names.add("two.test", "A", "127.0.0.9", "127.0.0.1")
    names.add("alias.test", "CNAME", "bare.test.")
    names.add("bare.test", "TXT", "no address")
    names.add("mx.corp.test", "A", "127.0.0.1")
    names.soft.add("soft.test")
    return names


@pytest.fixture(scope="module")
def daemon(authority: Path, name_server: NameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gatepost]:
    """A daemon that keeps no connection open."""
    gatepost = Gatepost(tmp_path_factory.mktemp("gatepost"), name_server)
    gatepost.furnish()
    # each test has other ports and folders, for which a fence would take another worker
    gatepost.start(authorities=str(authority), confined=False)
    yield gatepost
    errors = gatepost.stop()
    assert "Traceback" not in errors, errors


@pytest.fixture
def remote(daemon: Gatepost) -> Gatepost:
    """The same, its home made anew."""
    daemon.furnish()
    return daemon


@pytest.fixture
def server(authority: Path) -> Iterator[Server]:
    """A mail server that speaks TLS."""
    server = Server(authority)
    yield server
    server.close()
