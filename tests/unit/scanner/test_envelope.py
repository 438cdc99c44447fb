"""The envelope: what the daemon reads, and that the C client draws the same line."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig
from gatescan.service.envelope import ADDRESS_LIMIT, Envelope, EnvelopeError, parse
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

LONG = b"x" * (ADDRESS_LIMIT - 1)

addresses = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b""))
envelopes = st.builds(Envelope, addresses, st.lists(addresses, max_size=5).map(tuple))
near_misses = st.lists(st.sampled_from([b"F", b"T", b"\0", b"a@b", b"\n", b'"', b"\xff", LONG, b"x"])).map(b"".join)


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope(b"a@example.org", (b"b@example.net",)),
        Envelope(b"", (b"postmaster",)),
        Envelope(b"a@example.org", ()),
        Envelope(b'"a\nb"@example.org', (b"\xe9t\xe9@example.net", b"c d@example.net")),
        Envelope(b"", (b"",)),
        Envelope(LONG, (LONG,)),
        Envelope(b"list@example.org", tuple(b"member%d@example.net" % n for n in range(5000))),
    ],
)
def test_reads_what_qmail_writes(envelope: Envelope) -> None:
    assert parse(bytes(envelope)) == envelope


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", 91),
        (b"\0", 91),
        (b"Fa\0Tb\0", 91),
        (b"Fa\0Tb", 91),
        (b"Fa", 91),
        (b"Ta\0Fb\0\0", 91),
        (b"Fa\0Fb\0\0", 91),
        (b"Fa\0Tb\0Xc\0\0", 91),
        (b"Fa\0Tb\0\0x", 91),
        (b"Fa\0Tb\0\0\0", 91),
        (b"F" + LONG + b"x\0Tb\0\0", 11),
        (b"Fa\0T" + LONG + b"x\0\0", 11),
        (b"Fa\0T" + LONG + b"x", 11),
    ],
)
def test_refuses_with_the_code_of_qmail_queue(data: bytes, code: int) -> None:
    with pytest.raises(EnvelopeError) as caught:
        parse(data)
    assert caught.value.code == code


@given(envelopes)
def test_round_trip(envelope: Envelope) -> None:
    assert parse(bytes(envelope)) == envelope


@given(st.binary(max_size=200) | near_misses)
def test_any_bytes_are_an_envelope_or_an_error(data: bytes) -> None:
    try:
        assert bytes(parse(data)) == data
    except EnvelopeError as error:
        assert error.code in (11, 91)


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the client is built once and keeps nothing
)
@given(near_misses | envelopes.map(bytes))
@example(b"F" + LONG + b"x")
@example(b"Fa\0T" + LONG + b"\0\0")
@example(b"Fa\0" + b"Tb\0" * 30_000 + b"\0")
def test_the_client_draws_the_same_line(client: Path, data: bytes) -> None:
    """With no daemon to ask, an envelope that is right ends in 71; any other in the code that `parse` gives."""
    sent = rig.Call([client], {"GATESCAN_SOCKET": "/nonexistent"})
    # What follows the final NUL is not the client's to read: qmail-queue stops there, too.
    sent.write(b"x\n", data)
    status = sent.finish().status
    try:
        parse(data)
        assert status == 71
    except EnvelopeError as error:
        assert status == (71 if "behind" in str(error) else error.code)
