"""DMARC's reports: what was found is counted, and told once a day to the domains that want to know."""

from __future__ import annotations

import asyncio
import email
import errno
import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from email.message import Message
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gatekeeper.auth.judge import Origin, Site, judge
from gatekeeper.auth.mail import of_bytes
from gatekeeper.auth.reports import MOST_DOMAINS, MOST_OF_ORGANISATION, DmarcReports
from gatekeeper.auth.tally import Tally
from gatekeeper.gatereport import daily, post, records
from gatekeeper.gatereport.days import Days, Sent, today
from test_auth_desk import TRACE, ask, files
from test_dkim_verified import BODY, HEADER, signed
from test_dmarc import ORIGIN, SITE, SUFFIXES, zone
from zone import Zone

WANTED = "v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc@corp.test"

REPORTER = post.Reporter("Example & <Co>", "dmarc@gw.test", Path("/nowhere"), "gw1.gw.test")


@dataclass(frozen=True)
class Texts(records.Names):
    """A name server's TXT records; names in `failing` are not to be had now."""

    txt: Mapping[str, list[str]] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()

    def texts(self, name: str) -> list[str]:
        if name in self.failing:
            raise records.Unanswered(name)
        return self.txt.get(name, [])


@dataclass(frozen=True)
class Office:
    """A host that counts and reports."""

    place: Path

    @property
    def days(self) -> Days:
        return Days(self.place / "counts")

    def judge(self, message: bytes, names: Zone, site: Site = SITE, sender: str = "first@evil.test") -> None:
        """Have a message judged and counted."""
        origin = Origin(ORIGIN.client, ORIGIN.helo, sender)
        report = asyncio.run(judge(of_bytes(message), origin, names, site, lambda: 0.0))
        Tally(self.days).message(origin, report)

    def report(self, names: records.Names) -> list[Message]:
        """Pass midnight and send; the mails."""
        counted = self.place / f"counts/{today()}.jsonl"
        if counted.exists():
            counted.rename(self.place / f"counts/{today() - timedelta(1)}.jsonl")
        reporter = replace(REPORTER, home=self.place)
        daily.send_all(DmarcReports(reporter, names, SUFFIXES), reporter, self.days, Sent(self.place / "sent"))
        return [email.message_from_bytes(path.read_bytes()) for path in sorted(self.place.glob("*.mail"))]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A host that has counted nothing yet, and its qmail-inject, which fails while a file `broken` is there."""
    for folder in ("counts", "sent", "bin"):
        (tmp_path / folder).mkdir()
    inject = tmp_path / "bin/qmail-inject"
    inject.write_text(
        f"#!/bin/sh\n[ ! -e {tmp_path}/broken ] || exit 111\n"
        f'echo "$*" >> {tmp_path}/arguments\nexec cat > $(mktemp {tmp_path}/XXXXXX.mail)\n'
    )
    inject.chmod(0o755)
    return Office(tmp_path)


def content(mail: Message) -> ElementTree.Element:
    """The report in a mail."""
    packed = attached(mail).get_payload(decode=True)
    assert isinstance(packed, bytes)
    return ElementTree.fromstring(gzip.decompress(packed))


def attached(mail: Message) -> Message:
    """The attachment with the report."""
    _, _, found = mail.walk()
    assert found.get_content_type() == "application/gzip"
    return found


def rows(report: ElementTree.Element) -> dict[tuple[str | None, ...], int]:
    """How many messages came to which disposition, with what DKIM and SPF said for the author."""
    found = {}
    for row in report.iterfind("record/row"):
        key = tuple(row.findtext(f"policy_evaluated/{name}") for name in ("disposition", "dkim", "spf"))
        found[key] = int(row.findtext("count") or 0)
    return found


def names_of(policy: str = WANTED, **more: list[str]) -> Texts:
    """What the reporting program is told by the DNS."""
    return Texts(txt={"_dmarc.corp.test": [policy], **more})


def test_a_domain_hears_what_came_in_its_name_and_what_was_done(office: Office) -> None:
    names = zone(WANTED)
    for _ in range(3):
        office.judge(HEADER + BODY, names)
    office.judge(signed(HEADER + BODY), names)
    (mail,) = office.report(names_of())
    report = content(mail)
    assert (office.place / "arguments").read_text() == "-a -f dmarc@gw.test dmarc@corp.test\n"
    assert rows(report) == {("reject", "fail", "fail"): 3, ("none", "pass", "fail"): 1}
    published = {item.tag: item.text for item in report.iterfind("policy_published/*")}
    assert published == {
        "domain": "corp.test", "adkim": "r", "aspf": "r", "p": "reject", "sp": "quarantine", "pct": "100",
    }  # short pairs, many a line # fmt: skip
    assert report.findtext("record/identifiers/header_from") == "corp.test"
    assert report.findtext("record/row/source_ip") == "192.0.2.7"
    assert report.findtext("report_metadata/org_name") == "Example & <Co>"
    seen = report.findall("record/auth_results/dkim")
    assert [[item.text for item in one] for one in seen] == [["corp.test", "one", "pass"]]
    assert report.findtext("record/auth_results/spf/domain") == "evil.test"


def test_the_mail_is_named_as_rfc_7489_says(office: Office) -> None:
    office.judge(HEADER + BODY, zone(WANTED))
    (mail,) = office.report(names_of())
    begin = post.first_second(today() - timedelta(1))
    identity = content(mail).findtext("report_metadata/report_id")
    assert identity and identity.endswith("@gw1.gw.test")
    name = attached(mail).get_filename()
    assert name == f"gw.test!corp.test!{begin}!{begin + 86399}!{identity.partition('@')[0]}.xml.gz"
    assert mail["Subject"].replace("\n", "") == f"Report Domain: corp.test Submitter: gw.test Report-ID: <{identity}>"


def test_mail_below_a_domain_is_told_to_who_has_the_record(office: Office) -> None:
    office.judge(HEADER.replace(b"corp.test", b"news.corp.test") + BODY, zone(WANTED))
    (mail,) = office.report(names_of())
    report = content(mail)
    assert report.findtext("record/identifiers/header_from") == "news.corp.test"
    assert rows(report) == {("quarantine", "fail", "fail"): 1}


@pytest.mark.parametrize("record", ["v=DMARC1; p=reject", "v=DMARC1; p=reject; rua=https://corp.test/"])
def test_nothing_is_counted_for_who_wants_no_reports_by_mail(office: Office, record: str) -> None:
    office.judge(HEADER + BODY, zone(record))
    assert list((office.place / "counts").iterdir()) == []


def test_a_message_that_will_come_again_is_not_counted(office: Office) -> None:
    names = zone(WANTED)
    names.failing = {"one._domainkey.corp.test"}
    office.judge(signed(HEADER + BODY), names)
    # by the domain's strict record it fails, by the site's own word the server may yet vouch
    names = zone(WANTED.replace("rua", "aspf=s; rua"))
    names.failing = {"sub.corp.test"}
    office.judge(HEADER + BODY, names, Site(SUFFIXES, "gw.test", own=frozenset({"corp.test"})), "x@sub.corp.test")
    assert list((office.place / "counts").iterdir()) == []


def test_why_less_was_done_than_the_domain_wants_is_told(office: Office) -> None:
    own = Site(SUFFIXES, "gw.test", own=frozenset({"corp.test"}), may_spoof=("evil.test",))
    office.judge(HEADER + BODY, zone(WANTED), own)
    office.judge(HEADER + BODY, zone(WANTED.replace("rua", "pct=0; rua")))
    (mail,) = office.report(names_of())
    reasons = [row.findtext("policy_evaluated/reason/type") for row in content(mail).iterfind("record/row")]
    assert sorted(filter(None, reasons)) == ["local_policy", "sampled_out"]


@pytest.mark.parametrize(
    ("answer", "count"), [([], 0), (["v=DMARC1"], 1), (["v=spf1 -all"], 0), (["v=DMARC1; rua=mailto:x@y.test"], 1)]
)
def test_a_mailbox_elsewhere_gets_reports_if_its_host_agrees(office: Office, answer: list[str], count: int) -> None:
    policy = "v=DMARC1; p=reject; rua=mailto:a@reports.test"
    office.judge(HEADER + BODY, zone(policy))
    assert len(office.report(names_of(policy, **{"corp.test._report._dmarc.reports.test": answer}))) == count


def test_a_name_server_or_a_queue_that_fails_delays_a_report_and_loses_none(office: Office) -> None:
    office.judge(HEADER + BODY, zone(WANTED))
    assert office.report(Texts(failing=frozenset({"_dmarc.corp.test"}))) == []
    (office.place / "broken").touch()
    assert office.report(names_of()) == []
    (office.place / "broken").unlink()
    assert len(office.report(names_of())) == 1
    assert len(office.report(names_of())) == 1  # the same
    assert list((office.place / "counts").iterdir()) == list((office.place / "sent").iterdir()) == []


def test_lines_that_are_none_of_ours_spoil_no_report(office: Office) -> None:
    office.judge(HEADER + BODY, zone(WANTED))
    path = office.place / f"counts/{today()}.jsonl"
    row = {"domain": "corp.test", "published": {"p": "\0<"}, "ip": "192.0.2.9", "auth": [["dkim", "a\0<&", 5, {}]]}
    odd = [{}, {**row, "ip": "x"}, {**row, "auth": [5]}, {**row, "auth": None}, {**row, "published": 1}]
    with path.open("a") as file:
        file.write("".join(json.dumps(item) + "\n" for item in (*odd, row)) + "[\n\xff")
    (mail,) = office.report(names_of())
    assert len(content(mail).findall("record")) == 2


def test_a_stranger_with_a_record_for_each_name_gets_few_reports_and_crowds_nobody_out(office: Office) -> None:
    reports = DmarcReports(REPORTER, names_of(), SUFFIXES)
    row = {"published": {}, "ip": "192.0.2.9", "auth": []}
    strangers = [{**row, "domain": f"n{number}.evil.test"} for number in range(MOST_DOMAINS + 5)]
    others = [{**row, "domain": domain} for domain in ("evil.test", "news.corp.test", "corp.test", "n3.evil.test")]
    found = reports.add_up([*strangers, *others])
    first = {f"n{number}.evil.test" for number in range(MOST_OF_ORGANISATION)}
    assert found.keys() == {"evil.test", "corp.test", "news.corp.test"} | first
    assert found["n3.evil.test"].rows.total() == 2


def test_the_desk_counts_what_it_answers(office: Office, tmp_path: Path) -> None:
    fds = files(tmp_path, TRACE + HEADER + BODY, b"Fx@evil.test\0Tbob@gw.test\0\0")
    ask(fds, zone(WANTED), tally=Tally(office.days))
    (mail,) = office.report(names_of())
    assert rows(content(mail)) == {("reject", "fail", "fail"): 1}


@dataclass(frozen=True)
class Asked(Texts):
    """A name server that keeps what it was asked."""

    asked: list[str] = field(default_factory=list)

    def texts(self, name: str) -> list[str]:
        self.asked.append(name)
        return Texts.texts(self, name)


def count_corps(office: Office, number: int, days: int = 1) -> Asked:
    """Domains of as many organisations that were counted some days ago, all of which want reports."""
    domains = [f"corp{place}.test" for place in range(number)]
    rows = [{"domain": domain, "published": {}, "ip": "192.0.2.9", "auth": []} for domain in domains]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (office.place / f"counts/{today() - timedelta(days)}.jsonl").write_text(lines)
    return Asked(txt={f"_dmarc.{domain}": [f"v=DMARC1; rua=mailto:d@{domain}"] for domain in domains})


def days_left(office: Office) -> list[int]:
    """How many days ago the days were that are still kept."""
    kept = (date.fromisoformat(path.stem) for path in (office.place / "counts").iterdir())
    return sorted((today() - day).days for day in kept)


def test_a_day_that_is_too_old_is_given_up_without_a_try(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    names = count_corps(office, 1, days=4)
    assert office.report(names) == [] == names.asked
    assert days_left(office) == [] and "are given up" in caplog.text


def test_a_day_that_the_disk_spoils_keeps_no_other_back(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    count_corps(office, 1, days=2)
    (office.place / f"sent/{today() - timedelta(2)}.sent").mkdir()
    assert len(office.report(count_corps(office, 1))) == 1
    assert days_left(office) == [2] and "wait: " in caplog.text


def test_a_report_whose_note_has_no_room_on_the_disk_is_not_sent(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = count_corps(office, 1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        assert office.report(names) == [] and days_left(office) == [1]
    assert len(office.report(names)) == 1 and days_left(office) == []


def full_disk(_: int) -> None:
    """As os.fsync."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_note_whose_place_a_crash_left_blank_spoils_no_other(tmp_path: Path) -> None:
    sent = Sent(tmp_path)
    sent.note(today(), "a.test x@a.test")
    with (tmp_path / f"{today()}.sent").open("a") as file:
        file.write("   \n  ")
    sent.note(today(), "b.test")
    assert sent.of(today()) == {"a.test x@a.test", "b.test"}


def test_a_day_whose_time_is_over_waits_for_the_next_run(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    names = count_corps(office, 3)
    with monkeypatch.context() as patched:
        patched.setattr(daily, "DAY_SECONDS", 0.0)
        assert office.report(names) == [] == names.asked
    assert days_left(office) == [1]
    assert len(office.report(names)) == 3


def test_a_run_sends_so_many_reports_and_the_next_one_the_rest(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily, "MOST_REPORTS", 2)
    names = count_corps(office, 5)
    assert [len(office.report(names)) for _ in range(3)] == [2, 4, 5]
    assert days_left(office) == []


def test_a_domain_that_is_done_is_not_looked_up_again(office: Office) -> None:
    names = count_corps(office, 2)
    assert len(office.report(replace(names, failing=frozenset({"_dmarc.corp1.test"})))) == 1
    names.asked.clear()
    assert len(office.report(names)) == 2
    assert names.asked == ["_dmarc.corp1.test"]
