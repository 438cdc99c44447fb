"""Who hears of a stopped message, how often, and who never does."""

from __future__ import annotations

import email
import email.policy
import json
import os
from email.message import EmailMessage
from pathlib import Path

import desk
import pytest
import rig
from gatescan import config
from gatescan.context import Context
from gatescan.model import Verdict
from gatescan.outcome import handle, letters, nextqueue, notify, texts

NOW = 1_800_000_000.0


@pytest.fixture
def gate(tmp_path: Path) -> desk.Desk:
    return desk.make(tmp_path)


def stop(gate: desk.Desk, message: bytes = desk.EXE, context: Context = desk.INBOUND) -> None:
    services = gate.services()
    outcome = handle.handle(services, message, context, desk.Ids())
    services.close()
    assert (outcome.code, outcome.headers_to_add) == (0, b""), "the message was not held"


def sent(gate: desk.Desk) -> dict[str, EmailMessage]:
    """The notices in the queue by their recipient; each has one, and no sender."""
    found = {}
    for message, envelope in gate.queued():
        fields = envelope.split(b"\0")
        assert fields[0] == b"F" and len(fields) == 4, "not an empty sender and one recipient"
        found[fields[1][1:].decode()] = email.message_from_bytes(message, policy=email.policy.default)
    return found


def test_administrator_and_recipient_hear_of_a_policy_block(gate: desk.Desk) -> None:
    stop(gate)
    assert notify.run(gate.config, NOW) == 2
    notices = sent(gate)
    assert set(notices) == {"admin@example.org", "bob@example.org"}
    for notice in notices.values():
        assert notice["Auto-Submitted"] == "auto-generated"
        assert notice["Date"] and notice["Message-ID"]
        (held,) = gate.quarantine().entries()
        assert held.id in notice.get_content() and "report.exe" in notice.get_content()


def test_half_written_events_of_killed_workers_go_and_young_ones_stay(gate: desk.Desk) -> None:
    spool = gate.config.notices_spool
    for name, age in ((".1.json.tmp", 2 * notify.LEFT_AFTER), (".2.json.tmp", 0)):
        (spool / name).write_text("{")
        os.utime(spool / name, (NOW - age, NOW - age))
    notify.run(gate.config, NOW)
    assert [path.name for path in spool.glob(".*.tmp")] == [".2.json.tmp"]


def test_a_virus_is_for_the_administrator_only(gate: desk.Desk) -> None:
    stop(gate, desk.plain("Pickles for Breakfast"))
    notify.run(gate.config, NOW)
    assert set(sent(gate)) == {"admin@example.org"}


def test_a_bcc_stays_secret(gate: desk.Desk) -> None:
    stop(gate, context=Context("ann@example.net", ("bob@example.org", "secret@example.org"), "192.0.2.1"))
    notify.run(gate.config, NOW)
    notices = sent(gate)
    assert "secret@" not in notices["bob@example.org"].as_string()
    assert "secret@" not in notices["admin@example.org"].as_string()
    assert "bob@" not in notices["secret@example.org"].as_string()


@pytest.mark.parametrize(
    ("message", "context"),
    [
        (desk.EXE, Context("", ("bob@example.org",), "192.0.2.1")),
        (desk.attached("a.exe", b"x", extra="Precedence: bulk\n"), desk.INBOUND),
        (desk.attached("a.exe", b"x", extra="Precedence: list\n"), desk.INBOUND),
        (desk.attached("a.exe", b"x", extra="List-Id: <list.example.net>\n"), desk.INBOUND),
        (desk.attached("a.exe", b"x", extra="Auto-Submitted: auto-replied\n"), desk.INBOUND),
        (desk.attached("a.exe", b"x", extra="Auto-Submitted: auto-generated\n"), desk.INBOUND),
    ],
    ids=["bounce", "bulk", "list", "list-id", "auto-reply", "own notice"],
)
def test_nobody_hears_of_bounces_lists_and_notices(gate: desk.Desk, message: bytes, context: Context) -> None:
    stop(gate, message, context)
    assert notify.run(gate.config, NOW) == 0
    assert sent(gate) == {}


def test_auto_submitted_no_is_a_person(gate: desk.Desk) -> None:
    stop(gate, desk.attached("a.exe", b"x", extra="Auto-Submitted: no\n"))
    assert notify.run(gate.config, NOW) == 2


def test_neither_the_sender_nor_strangers_hear(gate: desk.Desk) -> None:
    stop(gate, context=Context("bob@example.org", ("ann@elsewhere.example",), "192.0.2.1", relayclient=True))
    notify.run(gate.config, NOW)
    assert set(sent(gate)) == {"admin@example.org"}


def test_many_blocks_are_one_digest(gate: desk.Desk) -> None:
    for _ in range(3):
        stop(gate)
    assert notify.run(gate.config, NOW) == 2
    for _ in range(4):
        stop(gate)
    window = gate.config.notices.digest_minutes * 60
    assert notify.run(gate.config, NOW + window - 1) == 0
    assert notify.run(gate.config, NOW + window) == 2
    digests = [message for message, envelope in gate.queued() if b"admin@" in envelope]
    assert sorted(message.count(b"Reason:") for message in digests) == [3, 4]
    assert notify.run(gate.config, NOW + 9 * window) == 0
    assert list(gate.config.notices_spool.glob("[0-9]*")) == []


def test_a_digest_lists_no_more_than_its_bound(gate: desk.Desk) -> None:
    event = letters.Event(NOW, "id", "policy", "why", "from", "subject", "inbound", "quarantine", admin=True)
    mail = letters.compose(gate.config, "admin@example.org", [event] * (letters.LINES_BOUND + 7), NOW, "notice-admin")
    assert mail.count(b"Reason:") == letters.LINES_BOUND and b"and 7 more" in mail
    assert f"{letters.LINES_BOUND + 7} messages".encode() in mail


def test_the_spool_is_bounded(gate: desk.Desk) -> None:
    gate.change(notices={"max_pending": 2})
    for _ in range(4):
        stop(gate)
    assert len(list(gate.config.notices_spool.glob("[0-9]*"))) == 2
    assert [one.copies for one in gate.quarantine().entries()] == [4]


def test_what_the_queue_refuses_is_sent_later_and_only_to_those_who_have_not_heard(gate: desk.Desk) -> None:
    stop(gate)
    gate.queue_says(53)
    with pytest.raises(nextqueue.QueueError):
        notify.run(gate.config, NOW)
    gate.queue_says(0)
    assert notify.run(gate.config, NOW) == 2
    assert notify.run(gate.config, NOW + 1e6) == 0


def test_a_hostile_subject_adds_no_header(gate: desk.Desk) -> None:
    evil = "=?utf-8?q?x=0ABcc:_victim=40example.org=0A=0Abody=E2=80=AE?="
    stop(gate, desk.attached("a.exe", b"x", subject=evil))
    notify.run(gate.config, NOW)
    for message, _ in gate.queued():
        assert b"\nBcc:" not in message and "\u202e".encode() not in message


def test_templates_can_be_replaced(gate: desk.Desk) -> None:
    templates = gate.root / "templates"
    templates.mkdir()
    (templates / "notice-recipient.txt").write_text("Subject: Halt bei $hostname\n\nNachricht:\n$list\n")
    stop(gate)
    notify.run(gate.config, NOW)
    notice = sent(gate)["bob@example.org"]
    assert notice["Subject"] == "Halt bei gw.example.org" and "Nachricht:" in notice.get_content()


def test_a_subject_and_a_name_that_are_not_ascii_are_encoded_words(gate: desk.Desk) -> None:
    subject = "Nachricht für Sie zurückgehalten, weil sie gefährlich sein könnte, am Übergang"
    gate.change(notices={"sender_name": "Postübergang Müller"})
    templates = gate.root / "templates"
    templates.mkdir(exist_ok=True)
    (templates / "notice-recipient.txt").write_text(f"Subject: {subject}\n\n$list\n")
    stop(gate)
    notify.run(gate.config, NOW)
    (raw,) = (message for message, envelope in gate.queued() if b"Tbob@" in envelope)
    head = raw.partition(b"\n\n")[0]
    assert head.isascii() and b"=?utf-8?" in head
    notice = sent(gate)["bob@example.org"]
    assert notice["Subject"] == subject
    assert notice["From"].addresses[0].display_name == "Postübergang Müller"


@pytest.mark.parametrize(
    "recipient", ["bob@xn--mller-kva.example", "bob@müller.example", "bob@mail.xn--mller-kva.example"]
)
def test_a_recipient_of_an_international_domain_hears(gate: desk.Desk, recipient: str) -> None:
    changed = gate.change(local_domains=["xn--mller-kva.example", ".xn--mller-kva.example"])
    assert notify.addressees(changed, "policy", [recipient])[1] == (recipient,)


def test_every_variable_of_the_documentation_is_filled_in(gate: desk.Desk) -> None:
    templates = gate.root / "templates"
    templates.mkdir(exist_ok=True)
    variables = "$hostname|$admin|$sender_name|$count|$messages|$list|$release"
    (templates / "notice-recipient.txt").write_text(f"Subject: x\n\n{variables}\n")
    stop(gate)
    notify.run(gate.config, NOW)
    text = sent(gate)["bob@example.org"].get_content()
    assert "$" not in text and "report.exe" in text
    documented = (rig.REPOSITORY / "docs/scanner.md").read_text()
    assert all(f"`{name}`" in documented for name in variables.split("|"))


STOPPED = [verdict for verdict in Verdict if verdict is not Verdict.CLEAN]
LANGUAGES = {
    "en": "has not delivered",
    "de": "nicht zugestellt",
    "fr": "ne vous a pas remis",
    "es": "no le ha entregado",
}


def event(number: int, verdict: str) -> letters.Event:
    """An event with texts of its own; every other one is held, and outbound."""
    held, direction = (f"id-{number}", "outbound") if number % 2 else ("", "inbound")
    named = f"why {number}", f"from{number}@example.net", f"subject {number}"
    return letters.Event(NOW, held, verdict, *named, direction, "quarantine", number, admin=True)


@pytest.mark.parametrize("kind", ["notice-admin", "notice-recipient", "digest"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_all_of_every_verdict(gate: desk.Desk, language: str, kind: letters.Kind) -> None:
    changed = gate.change(notices={"language": language})
    listed = [event(number, verdict) for number, verdict in enumerate([*STOPPED, "quarantine"])]
    mail = letters.compose(changed, "bob@example.org", listed, NOW, kind)
    assert mail.partition(b"\n\n")[0].isascii()
    text = email.message_from_bytes(mail, policy=email.policy.default).get_content()
    assert "$" not in text and changed.hostname in text
    words = texts.Texts(changed, language)
    for one in listed:
        assert all(word in text for word in (one.held, one.from_, one.subject, one.reason)), one
        assert f"{words.word(one.verdict)}: {one.reason}" in text
        assert f"({one.verdict})" in text or language == "en"
    assert (LANGUAGES[language] in text) is (kind == "notice-recipient")
    assert words.messages(len(listed)) in text and words.messages(1) != words.messages(2)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_words(gate: desk.Desk, language: str) -> None:
    name = "words.txt" if language == "en" else f"words.{language}.txt"
    said, wanted = ((texts.SHARE / file).read_text().splitlines() for file in (name, "words.txt"))
    assert [line.partition("=")[0] for line in said[1:]] == [line.partition("=")[0] for line in wanted[1:]]
    assert "" not in [line.partition("=")[2].strip() for line in said[1:]]


def test_the_recipients_domain_chooses_the_language(gate: desk.Desk) -> None:
    gate.change(
        local_domains=["example.org", ".example.org"],
        notices={"language": "fr", "languages": {".example.org": "de", "es.example.org": "es"}},
    )
    people = ("a@example.org", "b@de.example.org", "c@es.example.org")
    stop(gate, context=Context("ann@example.net", people, "192.0.2.1"))
    notify.run(gate.config, NOW)
    found = [sent(gate)[address].get_content() for address in people]
    assert [LANGUAGES[one] in text for one, text in zip(("fr", "de", "es"), found, strict=True)] == [True] * 3


def test_a_site_brings_a_language_of_its_own_and_the_rest_is_english(gate: desk.Desk) -> None:
    templates = gate.root / "templates"
    templates.mkdir()
    (templates / "notice-recipient.nl.txt").write_text("Subject: Bericht vastgehouden\n\n$messages:\n$list\n")
    (templates / "words.nl.txt").write_text("one = 1 bericht\n")
    gate.change(notices={"language": "nl"})
    stop(gate)
    notify.run(gate.config, NOW)
    notice = sent(gate)["bob@example.org"]
    assert notice["Subject"] == "Bericht vastgehouden"
    assert "1 bericht:" in notice.get_content() and "Reason:" in notice.get_content()
    assert "has stopped 1 bericht" in sent(gate)["admin@example.org"].get_content()


@pytest.mark.parametrize("notices", [{"language": "../de"}, {"languages": {"example.org": "German"}}])
def test_what_is_no_language_is_refused(gate: desk.Desk, notices: dict[str, object]) -> None:
    with pytest.raises(config.ConfigError, match="not a language"):
        gate.change(notices=notices)


def test_notices_can_be_switched_off(gate: desk.Desk) -> None:
    gate.change(notices={"enabled": False})
    stop(gate)
    assert notify.run(gate.config, NOW) == 0


def test_a_damaged_event_does_not_stop_the_others(gate: desk.Desk) -> None:
    (gate.config.notices_spool / "1.0-1-ab.json").write_text("{half")
    (gate.config.notices_spool / "1.0-1-ac.json").write_text(json.dumps({"unknown": 1}))
    stop(gate)
    assert notify.run(gate.config, NOW) == 2
