"""The signer: a process of its own user that alone can read the DKIM keys. It answers gatepost over a unix socket.

    K<domain>                        -> the keys of the domain, or of its nearest parent that has any, one a line:
                                        domain selector algorithm
    S<domain> <selector> <32 bytes>  -> the signature over this digest

Keys are files below one folder: DOMAIN/SELECTOR.pem, RSA or Ed25519. They are read at the start and at SIGHUP.
"""

from __future__ import annotations

import base64
import logging
import os
import signal
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from gatepost.dkim import parents
from gatepost.problems import KeyProblem

log = logging.getLogger("gatepost.signer")

PATIENCE = 5.0
"""Seconds for a client to ask."""
QUESTION = 1024
"""Bytes of a question."""
DIGEST = 32
MOST_AT_ONCE = 64
RSA_BITS = 2048
_PEER = struct.Struct("iII")

Private = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Secret:
    """A private key and what it is for."""

    domain: str
    selector: str
    key: Private

    @property
    def algorithm(self) -> str:
        """rsa or ed25519."""
        return "rsa" if isinstance(self.key, rsa.RSAPrivateKey) else "ed25519"

    def sign(self, digest: bytes) -> bytes:
        """The signature over a SHA-256 digest (RFC 8463, 3: Ed25519 signs the digest itself)."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        return self.key.sign(digest)

    def record(self) -> str:
        """The value of the TXT record to publish at SELECTOR._domainkey.DOMAIN."""
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            data = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={self.algorithm}; p={base64.b64encode(data).decode()}"


def load_keys(folder: Path) -> dict[str, tuple[Secret, ...]]:
    """All keys by domain; raise KeyProblem naming a file that is no key."""
    found: dict[str, tuple[Secret, ...]] = {}
    for path in sorted(folder.glob("*/*.pem")):
        domain = path.parent.name.lower()
        found[domain] = (*found.get(domain, ()), Secret(domain, path.stem, _load(path)))
    return found


def _load(path: Path) -> Private:
    try:
        return parse_key(path.read_bytes())
    except (OSError, KeyProblem) as error:
        raise KeyProblem(f"{path}: {error}") from error


def parse_key(pem: bytes) -> Private:
    """A private key that can sign; raise KeyProblem saying why it is none."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyProblem(str(error)) from error
    if isinstance(key, ed25519.Ed25519PrivateKey) or (isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 1024):
        return key
    raise KeyProblem("neither an RSA key of 1024 bits or more nor an Ed25519 key")


def make_key(path: Path, algorithm: str) -> bool:
    """Make a key unless the file is there; returns whether it was made.

    The file is its owner's alone, and the signer's where the folder of keys is another group's: a signer that cannot
    read a key does not start.
    """
    if path.exists():
        return False
    key: Private = (
        rsa.generate_private_key(65537, RSA_BITS) if algorithm == "rsa" else ed25519.Ed25519PrivateKey.generate()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    readers = path.parent.parent.stat().st_gid
    is_shared = readers != os.getegid()
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        if is_shared:
            _give(path.parent, readers, 0o750)
            _give(file.fileno(), readers, 0o640)
        os.fsync(file.fileno())
    fresh.rename(path)
    return True


def _give(file: Path | int, group: int, mode: int) -> None:
    os.chown(file, -1, group)
    os.chmod(file, mode)


class Signer:
    """Answers until SIGTERM, a thread a question."""

    def __init__(self, path: Path, folder: Path, clients: tuple[int, ...]) -> None:
        self.path = path
        self.folder = folder
        self.clients = clients
        self.keys: Mapping[str, tuple[Secret, ...]] = load_keys(folder)
        self._places = threading.Semaphore(MOST_AT_ONCE)

    def run(self) -> None:
        """Serve."""
        signal.signal(signal.SIGHUP, lambda *_: self._reload())
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            fresh.unlink(missing_ok=True)
            listener.bind(str(fresh))
            fresh.chmod(0o666)  # who asks is looked at by user
            listener.listen(MOST_AT_ONCE)
            fresh.rename(self.path)
            log.info("signing for %s", ", ".join(self.keys) or "nobody")
            while True:
                client, _ = listener.accept()
                if not self._places.acquire(blocking=False):
                    client.close()
                    continue
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _reload(self) -> None:
        try:
            self.keys = load_keys(self.folder)
        except (KeyProblem, OSError) as error:
            log.error("reload failed, the old keys stay in force: %s", error)
            return
        log.info("signing for %s", ", ".join(self.keys) or "nobody")

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(PATIENCE)
                _, uid, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
                if uid in self.clients:
                    client.send(self.answer(client.recv(QUESTION)))
        except OSError:
            return
        finally:
            self._places.release()

    def answer(self, question: bytes) -> bytes:
        """The answer to a question; empty if there is none."""
        if question[:1] == b"K":
            return "\n".join(f"{s.domain} {s.selector} {s.algorithm}" for s in self._of(question[1:])).encode() or b"\n"
        if question[:1] == b"S" and len(question) > DIGEST:
            domain, _, selector = question[1:-DIGEST].strip().partition(b" ")
            for secret in self.keys.get(domain.decode("ascii", "replace"), ()):
                if secret.selector.encode() == selector:
                    return secret.sign(question[-DIGEST:])
        return b""

    def _of(self, domain: bytes) -> tuple[Secret, ...]:
        for name in parents(domain.decode("ascii", "replace").lower()):
            if name in self.keys:
                return self.keys[name]
        return ()
