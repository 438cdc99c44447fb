"""`gw console`: who may use the page, what it shows of hostile mail, and what it does on gateways."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from console_site import ESCAPES, Browser, ConsoleSite, data_of
from test_commands import run_here
from test_trace import ANN

from gatewright.console import charts, pages, preview, report, serve
from gatewright.console.desk import AT_ONCE, Desk, Question
from gatewright.fleet import ask, measures
from gatewright.fleet.ask import Answers, Fleet, UsageError
from gatewright.problems import InventoryError

PAGES = (
    "/",
    "/?days=7",
    "/quarantine",
    "/quarantine?state=&since=all&subject=*script*",
    "/trace?to=*",
    "/trace?subject=" + "%22%3E%3Cscript%3E",
    "/queue",
    "/outbreak",
    "/cutoff",
    "/nowhere",
    "/message?gateway=gw1&id=%3Cscript%3E",
)


@pytest.fixture
def site(tmp_path: Path) -> ConsoleSite:
    """Two gateways."""
    return ConsoleSite(tmp_path)


@pytest.fixture
def stranger(site: ConsoleSite) -> Iterator[Browser]:
    """Somebody who has the server's port and nothing else."""
    with site.served() as browser:
        yield browser


@pytest.fixture
def admin(stranger: Browser) -> Browser:
    """Who was given the address."""
    return stranger.enter()


def facts(host: str, one: str) -> tuple[str, str]:
    """The field of a form that names a message."""
    return ("message", f"{host} {one}")


# who may use it


def test_a_stranger_sees_and_changes_nothing(stranger: Browser, site: ConsoleSite) -> None:
    for path in (*PAGES, "/style.css", "/?token=", "/?token=" + "x" * 43):
        status, _, text = stranger.ask(path)
        assert (status, "corp.test" in text) == (403, False), path
    body = urlencode([("csrf", stranger.access.csrf), ("way", "both"), ("verb", "cut"), ("sure", "yes")])
    assert stranger.ask("/do/cutoff", "POST", body)[0] == 403
    assert site.asked == []


def test_the_token_of_the_address_is_good_once_for_a_cookie_that_no_script_and_no_other_site_has(
    stranger: Browser,
) -> None:
    address = f"/?token={stranger.access.token}"
    status, headers, _ = stranger.ask(address)
    base = f"{stranger.access.base}/"
    assert (status, headers["location"]) == (303, base)
    assert {"httponly", "samesite=strict", f"path={base}".lower()} <= {
        word.lower() for word in headers["set-cookie"].split("; ")
    }
    assert stranger.ask(address)[0] == 403
    stranger.cookie = headers["set-cookie"].partition(";")[0]
    assert stranger.ask("/")[0] == 200


@pytest.mark.parametrize("host", ["evil.test", "evil.test:{}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{}.evil.test"])
def test_another_name_for_this_server_is_refused_with_the_cookie_too(admin: Browser, host: str) -> None:
    assert admin.ask("/", Host=host.format(admin.port))[0] == 421
    assert admin.ask("/", Host=f"localhost:{admin.port}")[0] == 200


def test_a_form_of_another_site_changes_nothing(admin: Browser, site: ConsoleSite) -> None:
    fields = [("way", "both"), ("verb", "cut"), ("sure", "yes")]
    own = [("csrf", admin.access.csrf), *fields]
    assert admin.ask("/do/cutoff", "POST", urlencode(fields))[0] == 403
    assert admin.ask("/do/cutoff", "POST", urlencode([("csrf", "x"), *fields]))[0] == 403
    for origin in ("https://evil.test", "null", "http://127.0.0.1:1"):
        assert admin.ask("/do/cutoff", "POST", urlencode(own), Origin=origin)[0] == 403, origin
    assert admin.ask("/do/cutoff?" + urlencode(own))[0] == 405
    assert site.asked == []
    assert admin.ask("/do/cutoff", "POST", urlencode(own), Origin=f"http://127.0.0.1:{admin.port}")[0] == 303
    assert admin.ask("/do/cutoff", "POST", "x" * 1_100_000)[0] == 413


def test_every_answer_forbids_scripts_frames_and_other_servers(stranger: Browser) -> None:
    for path in ("/?token=x", f"/?token={stranger.access.token}"):
        check_policy(stranger.ask(path)[1])
    for path in ("/outbreak", "/nowhere", "/style.css"):
        check_policy(stranger.ask(path)[1])


def check_policy(headers: dict[str, str]) -> None:
    """Its policy names this server, for pictures, styles and forms, and nobody for anything else."""
    policy = dict(one.strip().split(" ", 1) for one in headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
    assert set(policy) == {"style-src", "img-src", "form-action"} and set(policy.values()) == {"'self'"}
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


# hostile mail


class Elements(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {
            value or "" for name, value in attrs if name in ("href", "action", "src", "formaction", "xlink:href")
        }


OURS = """
html head meta link title body a header p span nav main section h1 h2 ul ol li b i em small table thead tbody tr th td
form label input select option button fieldset legend div details summary dl dt dd pre code svg rect line text"""
NAMES = """
lang charset name content rel href class id tabindex role aria-label aria-hidden aria-current scope data-label colspan
method action type value placeholder autocomplete spellcheck selected checked required maxlength viewbox
preserveaspectratio x y x1 x2 y1 y2 width height"""


def check_elements(text: str) -> None:
    """It has our elements and attributes alone, and leads to this server."""
    found = Elements()
    found.feed(text)
    assert found.tags - set(OURS.split()) == set()
    assert found.attributes - set(NAMES.split()) == set()
    assert all(link == "" or (link[0] in "/#" and link[1:2] != "/") for link in found.links), found.links
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)


def test_hostile_names_subjects_html_and_svg_are_words_on_every_page(admin: Browser, site: ConsoleSite) -> None:
    site.silent["gw3"] = ESCAPES[0]
    for path in PAGES:
        status, _, text = admin.ask(path)
        check_elements(text)
        assert status in (200, 400, 404), text
    for host, held in site.held.items():
        for one in held:
            text = admin.page(f"/message?gateway={host}&id={one}")
            check_elements(text)
            assert "Dear Ann" in text and "x.svg" in text and "49" not in re.findall(r"<h1>.*</h1>", text)[0]
    for what, fields in (
        ("held", [("verb", "delete"), facts("gw1", site.held["gw1"][0])]),
        ("block", [("kind", "subject"), ("value", ESCAPES[1]), ("description", ESCAPES[0])]),
        ("block", [("kind", ESCAPES[0]), ("value", ESCAPES[1])]),
        ("held", [("verb", ESCAPES[0]), facts("gw1", ESCAPES[1])]),
        ("lift", [("rule", ESCAPES[0])]),
    ):
        check_elements(admin.send(f"/do/{what}", *fields)[1])


def test_no_name_of_a_gateway_or_message_becomes_an_option(admin: Browser) -> None:
    for host, one in (("@/etc/passwd", "1"), ("-e", "1"), ("gw1", "--message"), ("gw1,gw2", "1"), ("{{ 1 }}", "1")):
        assert admin.ask("/message?" + urlencode({"gateway": host, "id": one}))[0] == 400
        assert admin.send("/do/held", ("verb", "release"), facts(host, one))[0] == 400


def test_filters_are_understood_as_on_the_command_line(admin: Browser, site: ConsoleSite) -> None:
    status, _, text = admin.ask("/trace?ip=192.0.2.300")
    assert status == 400 and "not an IP address or network: 192.0.2.300" in text
    assert pages.as_asked({"to": "@bücher.example", "sender": "<>"}) == {"to": "@xn--bcher-kva.example", "sender": ""}
    for page in ("quarantine", "trace", "queue"):
        assert 'value="@bücher.example"' in admin.page(f"/{page}?{urlencode({'to': '@bücher.example'})}")


def test_of_html_the_words_are_shown_and_where_links_lead() -> None:
    data = b"Content-Type: text/html\n\n<p>Hello<br>Ann</p><script>x</script><a href='http://evil.test/y'>bank</a>"
    shown = preview.preview(data, [])
    assert shown.is_of_html and shown.text.split() == ["Hello", "Ann", "bank", "[http://evil.test/y]"]


def test_a_huge_message_is_shown_in_bounds() -> None:
    parts = b"".join(b"--x\nContent-Type: text/plain\n\n" + b"y" * 50 + b"\n" for _ in range(3000))
    shown = preview.preview(b"Content-Type: multipart/mixed; boundary=x\n\n" + parts + b"--x--\n", [])
    assert len(shown.rows) <= 500
    long = preview.preview(b"Subject: x\n\n" + b"z" * 200_000, [])
    assert long.is_cut and len(long.text) == preview.LONGEST_TEXT


# what it shows


def test_the_overview_adds_up_all_gateways_and_names_those_that_do_not_answer(
    admin: Browser, site: ConsoleSite
) -> None:
    both = int(re.findall(r"<b>(\d+)</b> messages judged", admin.page("/"))[0])
    site.silent["gw2"] = "no route to host"
    text = admin.page("/?days=7")
    one = int(re.findall(r"<b>(\d+)</b> messages judged", text)[0])
    assert 0 < one < both
    assert "<b>gw2</b> no route to host" in text and ">gw1<" in text
    assert "TLSv1.3 verified" in text and "quarantine-attachments.txt" in text and ".iso" in text and ANN in text


def test_a_held_message_is_shown_with_its_parts_and_why(admin: Browser, site: ConsoleSite) -> None:
    text = admin.page(f"/message?gateway=gw2&id={site.held['gw2'][3]}")
    assert "It is held because mail programs may show something else than what was looked at" in text
    assert "2/a.zip/" in text and "ambiguous: a program" in text
    assert "scanner_actions: {domains: {corp.test: {ambiguous: tag}}}" in text
    assert "Malware cannot be allowed" in admin.page(f"/message?gateway=gw2&id={site.held['gw2'][1]}")
    assert "holds no message 2026-9.gw1" in admin.page("/message?gateway=gw1&id=2026-9.gw1")


def test_a_message_that_a_gateway_of_release_1_0_0_holds_is_shown(
    admin: Browser, site: ConsoleSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(fleet: Fleet, module: str, request: str) -> Answers:
        answers = run_here(fleet, module, request)
        for entry in [entry for answer in answers.said.values() for entry in answer.get("entries", [])]:
            del entry["copies"]
        return answers

    monkeypatch.setattr("console_site.run_here", older)
    assert "It is held because" in admin.page(f"/message?gateway=gw2&id={site.held['gw2'][3]}")


def test_an_extension_is_allowed_by_the_default_rules_without_it() -> None:
    found = {"verdict": "policy", "code": "rule-extension", "detail": "a: b.exe: Executable program"}
    entry = {"verdict": "policy", "recipients": [ANN]}
    (line,) = preview.allowance(entry, [found | {"detail": "b.exe: Executable program"}]).lines
    assert "difference([{'extension': 'exe'" in line
    for odd in ("x.{{ 1 }}: x", "x.e'e: x", "x.unknown: x"):
        assert not any("difference" in line for line in preview.allowance(entry, [found | {"detail": odd}]).lines), odd


@pytest.mark.parametrize("answer", ["x", "!", ask.packed({}), base64.b64encode(zlib.compress(b"[1]")).decode()])
def test_an_answer_that_cannot_be_read_costs_the_report_no_other_gateway(answer: str) -> None:
    good = base64.b64encode(zlib.compress(b'{"held": 1}')).decode()
    found = report.unpacked({"gw1": {"status": answer}, "gw2": {"status": good}}, "status")
    assert found.said == {"gw2": {"held": 1}} and "cannot be read" in found.silent["gw1"]


def test_columns_stack_and_stay_in_the_picture() -> None:
    drawn = charts.columns({"clean": [3, 0, 970], "policy": [1, 0, 27]}, 0, 3 * 86_400)
    assert [(box.kind, box.height > 0) for box in drawn.boxes] == [("clean", True), ("policy", True)] * 2
    assert all(0 <= box.y <= box.y + box.height <= charts.HEIGHT - charts.BOTTOM + 0.01 for box in drawn.boxes)
    assert drawn.sums == [("clean", 973), ("policy", 28)]
    assert charts.columns({}, 0, 1).boxes == []


# what it does


def test_a_message_is_released_at_once_and_deleted_on_a_yes(admin: Browser, site: ConsoleSite) -> None:
    first, second = site.held["gw2"][:2]
    status, text = admin.send("/do/held", ("verb", "release"), facts("gw2", first))
    assert status == 303 and f"{first} released to 2 recipient(s)" in text
    assert first not in admin.page("/quarantine"), "what was known is forgotten after a change"
    status, text = admin.send("/do/held", ("verb", "delete"), facts("gw2", second))
    assert status == 200 and "Delete 1 message?" in text and second in admin.page("/quarantine")
    _, text = admin.send("/do/held", ("verb", "delete"), facts("gw2", second), ("sure", "yes"))
    assert f"{second} deleted" in text and second not in admin.page("/quarantine")
    journal = (site.root("gw2") / "var/log/gatescan/messages.jsonl").read_text().splitlines()
    assert all(f'"by":"{ask.who()}"' in line for line in journal[-2:])


def test_many_are_released_after_one_question(admin: Browser, site: ConsoleSite) -> None:
    many = [facts(host, one) for host, held in site.held.items() for one in held[:3]]
    status, text = admin.send("/do/held", ("verb", "release"), *many)
    assert status == 200 and "Release 6 messages?" in text
    _, text = admin.send("/do/held", ("verb", "release"), *many, ("sure", "yes"))
    assert text.count("released to 2 recipient(s)") == 6


def test_what_became_of_mail_is_told_in_the_words_of_trace(admin: Browser) -> None:
    text = admin.page("/trace?to=ben@corp.test")
    assert text.count("<details") > 20 and "mail.corp.test[198.51.100.9] TLSv1.3 verified" in text
    assert "came from 192.0.2.7" in text
    assert "Fill in at least one field" in admin.page("/trace")


def test_what_waits_is_dropped_for_the_recipients_that_were_asked_for(
    admin: Browser, site: ConsoleSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    def note(fleet: Fleet, module: str, requests: object) -> Answers:
        told.append(requests)
        return Answers({"gw1": {"count": 1, "messages": [], "unsorted": 0, "left": 2}})

    assert "far.test" in admin.page("/queue?to=ben@far.test")
    monkeypatch.setattr("gatewright.console.changes.ask_each", note)
    fields = [("verb", "drop"), ("to", "ben@far.test"), facts("gw1", "101")]
    status, text = admin.send("/do/queue", *fields)
    assert status == 200 and "Drop 1 message for ben@far.test alone?" in text and told == []
    _, text = admin.send("/do/queue", *fields, ("sure", "yes"))
    assert "1 message: dropped" in text and "2 messages not tried" in text
    (requests,) = told
    assert isinstance(requests, dict)
    assert (requests["gw1"]["verb"], requests["gw1"]["to"], requests["gw1"]["ids"]) == ("drop", "ben@far.test", [101])
    assert admin.send("/do/queue", ("verb", "drop"), facts("gw1", "{{1}}"))[0] == 400


def test_a_pattern_is_blocked_on_a_yes_and_lifted_and_is_no_template(admin: Browser, site: ConsoleSite) -> None:
    hostile = "{{ lookup('pipe', 'touch /tmp/x') }} invoice"
    fields = [("kind", "subject"), ("value", hostile), ("direction", "inbound")]
    status, text = admin.send("/do/block", *fields)
    assert status == 200 and "Block this on all gateways?" in text and site.asked == []
    _, text = admin.send("/do/block", *fields, ("sure", "yes"))
    assert text.count("1 block in force") == 2
    _, arguments = site.asked[0]
    assert "lookup" not in str(arguments)
    (rule,) = data_of(arguments["rules"])
    pattern, kind, _, direction = rule.split("\t")
    assert re.fullmatch(pattern, f"Re: {hostile} 7") and (kind, direction) == ("Policy-Subject:", "inbound")
    assert "lookup" in admin.page("/outbreak")
    _, text = admin.send("/do/lift", ("rule", rule))
    assert text.count("0 blocks in force") == 2


@pytest.mark.parametrize("keys", [{"extension": "a b"}, {"header": "Subject", "pattern": "(", "description": "x\ty"}])
def test_a_rule_that_the_scanner_would_not_take_is_refused_here(keys: dict[str, str]) -> None:
    with pytest.raises(InventoryError):
        measures.rule_of(keys)


def test_mail_is_cut_off_on_a_yes_and_given_back(admin: Browser, site: ConsoleSite) -> None:
    fields = [("way", "inbound"), ("verb", "cut")]
    status, text = admin.send("/do/cutoff", *fields)
    assert status == 200 and "Cut off inbound mail on all gateways?" in text and site.asked == []
    assert "gw1</b> inbound: cut" in admin.send("/do/cutoff", *fields, ("sure", "yes"))[1]
    assert "inbound: open" in admin.send("/do/cutoff", ("way", "inbound"), ("verb", "open"))[1]
    assert admin.send("/do/cutoff", ("way", "x"), ("verb", "cut"), ("sure", "yes"))[0] == 400


# asking


def test_a_question_that_takes_long_keeps_nobody_waiting(admin: Browser, site: ConsoleSite) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(module: str) -> None:
        if module == "mail_queue":
            begun.set()
            go_on.wait(60)

    site.wait = wait
    slow = threading.Thread(target=admin.page, args=("/queue",))
    slow.start()
    try:
        assert begun.wait(60)
        assert "Overview" in admin.page("/") and slow.is_alive()
    finally:
        go_on.set()
        slow.join(60)


def test_an_answer_is_given_again_for_a_moment_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(fleet: Fleet, module: str, request: object) -> Answers:
        asked.append(module)
        return Answers({"gw1": {}})

    monkeypatch.setattr("gatewright.console.desk.ask", note)
    desk = Desk(Fleet())
    for _ in range(3):
        desk.look(Question("gateway_status", {}))
    assert len(asked) == 1
    desk.act(lambda fleet: Answers())
    desk.look(Question("gateway_status", {}))
    assert len(asked) == 2


def test_an_answer_is_asked_for_anew_after_a_change_meanwhile_and_after_the_clock_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    desk, now = Desk(Fleet()), [1e9]

    def note(fleet: Fleet, module: str, request: object) -> Answers:
        asked.append(module)
        if len(asked) == 1:
            desk.act(lambda fleet: Answers())  # while the question is under way
        return Answers({"gw1": {}})

    monkeypatch.setattr("gatewright.console.desk.ask", note)
    monkeypatch.setattr("gatewright.console.desk.time", SimpleNamespace(time=lambda: now[0]))
    for _ in range(3):
        desk.look(Question("gateway_status", {}))
    assert len(asked) == 2
    now[0] -= 365 * 86_400
    desk.look(Question("gateway_status", {}))
    assert len(asked) == 3


def test_mail_is_cut_off_however_many_questions_a_gateway_leaves_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, begun, go_on = Desk(Fleet()), threading.Semaphore(0), threading.Event()

    def hang(*_: object) -> Answers:
        begun.release()
        go_on.wait(60)
        return Answers({"gw1": {}})

    monkeypatch.setattr("gatewright.console.desk.ask", hang)
    monkeypatch.setattr("gatewright.console.desk.PATIENCE", 0.1)
    questions = [Question("mail_trace", {"id": number}) for number in range(AT_ONCE)]
    pages = [threading.Thread(target=desk.look, args=(one,)) for one in questions]
    for one in pages:
        one.start()
    try:
        assert all(begun.acquire(timeout=60) for _ in pages)
        assert desk.act(lambda fleet: Answers({"gw1": {"stdout": "cut"}})).said
    finally:
        go_on.set()
        for one in pages:
            one.join(60)


def test_a_question_ends_in_time_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 300 & echo $! > {child}; echo here >&2; wait"
    begun = time.monotonic()
    assert ask.call(["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, 2.0) == "here\n"
    assert time.monotonic() - begun < 60
    state = Path(f"/proc/{child.read_text().strip()}/stat")
    deadline = time.monotonic() + 20
    while state.exists() and " Z " not in state.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not state.exists() or " Z " in state.read_text()


def test_a_port_in_use_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with serve.listening(0) as taken:
        assert serve.main(["--port", str(taken.getsockname()[1])], []) == 2
    assert "in use" in capsys.readouterr().err


def test_other_commands_do_not_need_the_packages_of_the_page() -> None:
    code = "import sys, gatewright.fleet.__main__; sys.exit('starlette' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_on_command_lines_are_checked_before_anybody_is_asked() -> None:
    from gatewright.console.pages import check_names

    check_names("gw1.example.org", "20261122-160512-3f9a1c77")
    with pytest.raises(UsageError):
        check_names("")
