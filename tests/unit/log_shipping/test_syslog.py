"""rsyslog's copy of the host's log: by TLS to the server whose name is verified, and to nobody else."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jinja2
import pytest
from log_rig import NAME, PATIENCE, PROJECT, RSYSLOGD, eventually, start_rsyslogd

from tests.unit.preflight.site_of import roles
from tests.unpacked import find

TEMPLATE = PROJECT / "roles/hardening/templates/etc/rsyslog.conf.j2"
ANYBODY = "/etc/ssl/certs/ca-certificates.crt"
TLS = {"hardening_log_tls": True, "hardening_log_name": NAME, "hardening_log_server": "127.0.0.1"}


class Rsyslog:
    """rsyslogd with a configuration in a folder of its own."""

    def __init__(self, folder: Path, text: str) -> None:
        (folder / "conf").write_text(text)
        self.folder = folder
        self._process = start_rsyslogd(folder)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Listener:
    """A TLS server that keeps what each client has sent until it went away; of one that did not like it, that too."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.heard = b""
        self.left = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                self._listen(self._socket.accept()[0])

    def _listen(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as secure:
            while data := secure.recv(4096):
                self.heard += data
        self.left += 1

    def close(self) -> None:
        """End it."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(PATIENCE)


@pytest.fixture
def server(certificate: Path) -> Iterator[Listener]:
    """A log server."""
    if not find(RSYSLOGD) or not find("usr/lib/*/rsyslog/lmnsd_ossl.so"):
        pytest.skip("rsyslog with rsyslog-openssl is neither unpacked (./gw pytest) nor installed")
    made = Listener(certificate)
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Rsyslog]]:
    """Starts rsyslogd with a configuration; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def begin(text: str) -> Rsyslog:
            made = Rsyslog(tmp_path, text)
            stack.callback(made.stop)
            return made

        yield begin


def configuration(folder: Path, **values: object) -> str:
    """The role's file, with all that it reads and writes below a folder."""
    settings = {**roles()["hardening"].defaults, "managed": "", "_hardening_is_container": True, **values}
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    text = environment.from_string(TEMPLATE.read_text()).render(settings)
    socket_of_ours = f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{folder}/log")'
    text = text.replace('module(load="imuxsock")', socket_of_ours)
    for path in ("/var/log/", "/var/spool/rsyslog", "/etc/rsyslog.d/"):
        text = text.replace(path, f"{folder}/")
    return text.replace(f"{folder}/*.conf", f"{folder}/*.none")


def say(client: Rsyslog, text: str) -> None:
    """Write to a host's log."""
    path = str(client.folder / "log")
    eventually(Path(path).exists, "rsyslog's socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.sendto(f"<13>test: {text}".encode(), path)


def test_a_line_goes_to_the_verified_server(
    tmp_path: Path, server: Listener, certificate: Path, start: Callable[[str], Rsyslog]
) -> None:
    settings = TLS | {"hardening_log_server_port": server.port, "hardening_log_authorities": str(certificate)}
    say(start(configuration(tmp_path, **settings)), "a first line")
    eventually(lambda: b"a first line" in server.heard, "the line, at the server")
    assert re.match(rb"\d+ <13>1 \S+T\S+ ", server.heard)


@pytest.mark.parametrize(
    "changes", [{"hardening_log_name": "other.example.test"}, {"hardening_log_authorities": ANYBODY}]
)
def test_a_server_of_another_name_or_authority_gets_nothing(
    tmp_path: Path, server: Listener, certificate: Path, start: Callable[[str], Rsyslog], changes: dict[str, str]
) -> None:
    right = {"hardening_log_server_port": server.port, "hardening_log_authorities": str(certificate)}
    settings: dict[str, object] = {**TLS, **right, **changes}
    say(start(configuration(tmp_path, **settings)), "a first line")
    eventually(lambda: server.left > 1, "two attempts")
    assert server.heard == b""


def test_without_tls_the_file_is_what_it_was(tmp_path: Path) -> None:
    text = configuration(tmp_path, hardening_log_server="logs.example.org")
    assert 'protocol="tcp"\n           action.resumeRetryCount' in text
    assert "streamDriver" not in text and "global(" not in text
