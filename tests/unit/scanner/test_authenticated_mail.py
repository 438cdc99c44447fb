"""Mail from outside through the real queue client, scanner and gatekeeper, with a name server that takes its time."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import desk
import pytest
import rig
from gatekeeper.auth.suffixes import LIST
from gatekeeper_rig import Gatekeeper
from gatescan.outcome import asked, tokens

pytestmark = pytest.mark.skipif(not LIST.exists(), reason="Debian's package publicsuffix is not here")

RECORDS = {
    "_dmarc.strict.example": "v=DMARC1; p=reject",
    "strict.example": "v=spf1 ip4:192.0.2.7 -all",
    "_dmarc.careful.example": "v=DMARC1; p=quarantine",
    "slow.example": "v=spf1 ip4:192.0.2.7 -all",
}
WORKERS = 2
ROUNDS, SESSIONS = 5, 6
"""Messages of each kind that are sent while gatekeeper is killed, and messages at a time."""


class Gate:
    """A gateway whose three programs are real."""

    def __init__(self, root: Path, client: Path, keeper: Gatekeeper) -> None:
        self.desk = desk.make(root)
        self.keeper = keeper
        self.client = client
        self.socket = root / "s"
        (root / "spool/incoming").mkdir()
        self.records = rig.Records(root / "records")
        keeper.names.texts |= RECORDS
        self.desk.change(
            authentication=True,
            daemon={"socket": str(self.socket), "workers": WORKERS, "spare_workers": 0},
            release={"enabled": True},
        )

    @property
    def env(self) -> dict[str, str]:
        """What qmail-smtpd runs the client in for a stranger's message."""
        return {
            "PATH": os.environ["PATH"],
            "GATESCAN_SOCKET": str(self.socket),
            "GATESCAN_AUTH": str(self.keeper.authentication),
            "GATESCAN_NEXT": str(self.records.program),
            "GATESCAN_SPOOL": str(self.desk.root / "spool/incoming"),
            "GATESCAN_TEXT_FD": "6",
            "RECORDS": str(self.records.directory),
            "TCPREMOTEIP": "192.0.2.7",
        }

    @contextlib.contextmanager
    def scanner(self) -> Iterator[None]:
        """The scanner, until the block ends."""
        daemon = rig.Daemon(
            [sys.executable, "-m", "gatescan", "daemon", "--config", str(self.desk.path), "--allow-root"]
        )
        try:
            daemon.wait_for("workers serve")
            yield
        finally:
            daemon.end()

    def begin(self, author: str, sender: str = "x@slow.example", head: str = "") -> rig.Call:
        """A message is under way."""
        call = rig.Call([self.client], self.env)
        text = f"Received: from x (HELO mx.slow.example) (192.0.2.7)\n{head}From: {author}\nTo: bob@example.org\n\nhi\n"
        call.write(text.encode(), rig.wire(sender.encode(), b"bob@example.org"))
        return call

    def send(self, author: str, sender: str = "x@slow.example", head: str = "") -> rig.Sent:
        """A message's fate."""
        return self.begin(author, sender, head).finish()


@pytest.fixture
def gate(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, client: Path) -> Iterator[Gate]:
    keeper = Gatekeeper(tmp_path)
    found = Gate(tmp_path_factory.mktemp("gate"), client, keeper)
    keeper.start(authentication=True, own_domains=["example.org"], protected_names=["Ann Miller"], dns_seconds=10)
    with found.scanner():
        yield found
    keeper.names.release()
    keeper.close()


def test_each_message_has_what_its_domain_wants(gate: Gate) -> None:
    good = gate.send("ann@strict.example", "ann@strict.example", "Authentication-Results: gw.example.org; dmarc=fail\n")
    assert good.status == 0
    message, _ = gate.records.of(good.pid)
    assert message.count(b"Authentication-Results:") == 1
    assert b"Authentication-Results: gw.example.org;\n  spf=pass smtp.mailfrom=strict.example;\n" in message
    assert b"dmarc=pass header.from=strict.example" in message
    refused = gate.send("ann@strict.example")
    assert refused.status == 82
    assert refused.text.startswith(b"Dmessage refused: unauthenticated")
    assert refused.text.endswith(b"(#5.7.1)")
    held = [gate.send("ann@careful.example"), gate.send("boss@example.org")]
    assert [sent.status for sent in held] == [0, 0]
    assert [entry.verdict for entry in gate.desk.quarantine().entries()] == ["unauthenticated", "spoofed"]
    tagged = gate.send('"Miller, Ann" <ann@slow.example>')
    assert b"\nX-Gatescan-Tag: own-name (display-name)\n" in gate.records.of(tagged.pid)[0]
    assert len(gate.records.all) == 2
    verdicts = [line["verdict"] for line in gate.desk.journal()]
    assert verdicts == ["clean", "unauthenticated", "unauthenticated", "spoofed", "own-name"]


def test_whether_a_reply_to_a_notice_is_believed_is_said_by_the_connection_alone(gate: Gate) -> None:
    author, held = "ann@strict.example", "20261128-081500-01234567"
    address = tokens.mint(b"k" * 32, "recipient", "gw.example.org", held, author).address
    forged = "Authentication-Results: gw.example.org; dmarc=pass header.from=strict.example\nRELAYCLIENT: \n"

    def proof(sender: str, ip: str = "192.0.2.7", **more: str) -> str:
        text = f"Received: from x (HELO mx.x.example) ({ip})\n{forged}From: Ann <{author}>\nTo: {address}\n\nplease\n"
        call = rig.Call([gate.client], gate.env | {"TCPREMOTEIP": ip} | more)
        call.write(text.encode(), rig.wire(sender.encode(), address.encode()))
        assert call.finish().status == 0
        ((path, wish),) = asked.Desk(gate.desk.config).waiting()
        path.unlink()
        assert (wish.address, wish.author, wish.robot) == (address, author, False)
        return wish.proof

    assert proof(author) == "dmarc"
    assert proof(author, "192.0.2.8") == ""
    assert proof("x@slow.example") == ""
    assert proof("x@slow.example", RELAYCLIENT="") == "relay client"
    assert gate.records.all == [], "the reply goes to nobody"


def test_a_large_message_that_lies_in_the_spool_is_shown_too(gate: Gate) -> None:
    padding = "".join(f"X-Large: {'x' * 900}\n" for _ in range(250))  # gatekeeper reads 256 KiB of a header
    forged = "Authentication-Results: gw.example.org; dmarc=pass\n"
    author = "ann@strict.example\n\n" + ("x" * 70 + "\n") * 70_000
    sent = gate.send(author, "ann@strict.example", padding + forged)
    assert sent.status == 0
    message, _ = gate.records.of(sent.pid)
    assert message.count(b"gw.example.org;") == 1
    assert b"dmarc=" in message[: message.index(b"X-Large")]
    assert message.count(b"\nX-Large: ") == 250
    assert message.endswith(b"x\n\nTo: bob@example.org\n\nhi\n")


def test_a_name_server_that_fails_is_451_and_so_is_no_gatekeeper(gate: Gate) -> None:
    gate.keeper.names.is_soft = True
    later = gate.send("ann@strict.example")
    assert later.status == 82
    assert later.text.startswith(b"Z")
    gate.keeper.names.is_soft = False
    gate.keeper.stop()
    assert gate.send("ann@strict.example", "ann@strict.example").status == 71
    assert gate.records.all == []


def test_waiting_for_a_name_server_holds_no_worker_of_the_scanner(gate: Gate) -> None:
    """More messages than there are workers wait for a record; one whose records are there passes them all."""
    domains = [f"slow{number}.example" for number in range(4 * WORKERS)]
    gate.keeper.names.held = {f"_dmarc.{domain}" for domain in domains}
    waiting = [gate.begin(f"ann@{domain}") for domain in domains]
    rig.wait_until(lambda: gate.keeper.names.held <= set(gate.keeper.names.asked), "all ask")
    assert gate.send("ann@strict.example", "ann@strict.example").status == 0
    assert [call.process.poll() for call in waiting] == [None] * len(waiting)
    gate.keeper.names.release()
    assert [call.finish().status for call in waiting] == [0] * len(waiting)


KINDS = (
    ("ann@strict.example", "ann@strict.example"),
    ("ann@strict.example", "x@slow.example"),
    ("boss@example.org", "x@slow.example"),
)
"""Authors and senders of mail that is to be delivered, refused and held."""
SIGNATURE = "DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s=x; h=from; bh=AAAA; b=AAAA\n"
"""Of a domain of each message's own: what is remembered of others answers no question about it."""


def test_none_is_lost_and_none_gets_past_gatekeeper_while_it_is_killed(gate: Gate) -> None:
    """Who hears 4xx tries again, as mail servers do."""
    waiting = [(kind, f"{number}.{at}.example") for number in range(ROUNDS) for at, kind in enumerate(KINDS)]
    fates: Counter[str] = Counter()
    while waiting:
        batch, waiting = waiting[:SESSIONS], waiting[SESSIONS:]
        for order, sent in zip(batch, killed(gate, batch), strict=True):
            is_later = sent.status == 71 or sent.text.startswith(b"Z")
            waiting += [order] * is_later
            fates["later" if is_later else f"{sent.status} {sent.text.decode().partition(':')[0]}"] += 1
    assert fates.pop("later") >= ROUNDS / 2, "it was killed while it was asked"
    assert fates == {"0 ": 2 * ROUNDS, "82 Dmessage refused": ROUNDS}
    delivered = [message for message, _ in gate.records.all]
    assert len(delivered) == ROUNDS == len(gate.desk.quarantine().entries())
    assert all(b"dmarc=pass header.from=strict.example" in message for message in delivered)


def killed(gate: Gate, batch: Sequence[tuple[tuple[str, str], str]]) -> list[rig.Sent]:
    """What becomes of messages, half of which gatekeeper is asked about when its worker is killed."""
    half, names = len(batch) // 2, gate.keeper.names
    names.held, before = {f"x._domainkey.{domain}" for _, domain in batch[:half]}, len(names.asked)
    calls = [gate.begin(*kind, SIGNATURE.format(domain=domain)) for kind, domain in batch[:half]]
    if calls:
        rig.wait_until(lambda: names.held & set(names.asked[before:]), "it asks")
        with contextlib.suppress(ProcessLookupError):
            os.kill(gate.keeper.worker, signal.SIGKILL)
    names.release()
    calls += [gate.begin(*kind, SIGNATURE.format(domain=domain)) for kind, domain in batch[half:]]
    return [call.finish() for call in calls]
