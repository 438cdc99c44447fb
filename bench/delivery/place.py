"""Where deliveries are measured: notqmail's own qmail-remote, gatepost's client and daemon, and a server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.delivery.accounting import children

PROJECT = Path(__file__).parents[2]
ARCHIVE = "notqmail-1.09.tar.gz"
ROUTED, CROWDED, BY_MX, EACH_BY_MX = "there.bench", "crowd.bench", "mx.bench", "d{}.mx.bench"
"""Domains: with a route, with one to a server that answers all at once, without; and one for each message."""
CODE = {**os.environ, "PYTHONPATH": f"{PROJECT}/roles/gatepost/files:{PROJECT}"}


class Place:
    """A folder with all of it; what it starts ends with `stack`."""

    def __init__(self, folder: Path, stack: ExitStack, together: int) -> None:
        """together: how many messages the server of CROWDED waits for before it answers one."""
        self.folder, self._stack = folder, stack
        self.home = folder / "qmail"
        for name in ("control", "queue/lock"):
            (self.home / name).mkdir(parents=True)
        (self.home / "queue/lock/tcpto").write_bytes(bytes(1024))
        (self.home / "control/me").write_text("bench.example\n")
        self.remote = self._build_remote()
        self.client = self._build_client()
        certificate = self._make_certificate()
        self.port = self._start_sink(certificate)
        routes = {ROUTED: self.port, CROWDED: self._start_sink(certificate, together)}
        (self.home / "control/smtproutes").write_text(
            "".join(f"{name}:[127.0.0.1]:{port}\n" for name, port in routes.items())
        )
        self.name_server = free_port()
        self._start(["-m", "bench.delivery.names", str(self.name_server)], b"ready")
        self._services: list[subprocess.Popen[bytes]] = []

    def _build_remote(self) -> Path:
        archive = Path(os.environ.get("GATEWRIGHT_ARTIFACTS", "/var/cache/gatewright")) / ARCHIVE
        if not archive.exists():
            raise SystemExit(f"bench: {archive} is missing; set GATEWRIGHT_ARTIFACTS to the directory that has it")
        source = self.folder / "src"
        source.mkdir()
        subprocess.run(["tar", "-xzf", str(archive), "--no-same-owner", "-C", str(source)], check=True)
        (tree,) = source.iterdir()
        (tree / "conf-qmail").write_text(f"{self.home}\n")
        subprocess.run(["make", "qmail-remote"], cwd=tree, check=True, capture_output=True)
        return tree / "qmail-remote"

    def _build_client(self) -> Path:
        words = [f"OUT={self.folder}", f"SOCKET={self.folder}/socket"]
        subprocess.run(["make", "-s", "-C", str(PROJECT / "roles/gatepost/files/client"), *words], check=True)
        return self.folder / "gatepost-remote"

    def _make_certificate(self) -> Path:
        certificate = self.folder / "sink.pem"
        name = ["-nodes", "-subj", "/CN=sink.bench", "-keyout", str(certificate), "-out", str(self.folder / "cert")]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run(["openssl", "req", "-x509", *kind, *name], check=True, capture_output=True)
        certificate.write_text(certificate.read_text() + (self.folder / "cert").read_text())
        return certificate

    def _start_sink(self, certificate: Path, together: int = 1) -> int:
        port = free_port()
        self._start(["-m", "bench.delivery.sink", str(port), str(certificate), str(together)], b"ready")
        return port

    def _start(self, words: list[str], ready: bytes) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *words], env=CODE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        while ready not in (line := process.stdout.readline()):
            if not line:
                raise SystemExit(f"bench: {' '.join(words)} does not start")
        return process

    def serve(self, tls: str, reuse_seconds: float, *, signs: bool) -> list[int]:
        """Start gatepost anew, with this TLS to the sinks, and connections kept for so long; returns its processes."""
        for process in self._services:
            _end(process)
        signers = [self._start_signer()] if signs else []
        (self.home / "control/tlsroutes").write_text(f"{ROUTED}:{tls}\n{CROWDED}:{tls}\n")
        settings: dict[str, object] = {
            "home": str(self.home),
            "socket": f"{self.folder}/socket",
            "journal": f"{self.folder}/journal",
        }
        settings |= {"signer": f"{self.folder}/signer" if signs else "", "reuse_seconds": reuse_seconds}
        settings |= {"takes_loopback": True, "per_host": 120, "waiting_per_host": 120}
        settings |= {"name_server_port": self.name_server, "port": self.port, "domains": {".bench": tls}}
        path = self.folder / "config.json"
        path.write_text(json.dumps(settings))
        master = self._start(["-m", "gatepost", "--config", str(path), "daemon", "--allow-root"], b"serving")
        self._services = [master, *signers]
        return [process.pid for process in self._services] + children(master.pid)

    def _start_signer(self) -> subprocess.Popen[bytes]:
        keys = ["--keys", f"{self.folder}/keys"]
        make = [sys.executable, "-m", "gatepost", "dkim", "make", "bench.example", "one", "rsa", *keys]
        subprocess.run(make, env=CODE, check=True, stdout=subprocess.DEVNULL)
        words = ["--socket", f"{self.folder}/signer", "--client", str(os.getuid()), *keys]
        return self._start(["-m", "gatepost", "signer", *words], b"signing for")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
