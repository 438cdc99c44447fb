"""For whom there is mail: lists, files and callouts; and who asks for too many that there are not."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatekeeper.listfile import Keeper, Listing
from gatekeeper.table import Table
from gatekeeper_rig import Gatekeeper, MailServer, put, wait_for

BOB = "bob@corp.test"
UNKNOWN = f"550 5.1.1 <{BOB}>: there is no such mailbox here"


# Lists


def test_only_listed_recipients_have_mail(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann", "Carl@Corp.Test", "dora@other.test"]}})
    assert keeper.ask(BOB) == UNKNOWN
    assert keeper.ask("ann@corp.test") == keeper.ask("carl@corp.test") == "DUNNO"
    assert keeper.ask("dora@corp.test").startswith("550 ")


@pytest.mark.parametrize(
    "recipient",
    [
        "ANN@CORP.test",
        '"ann"@corp.test',
        '"a\\nn"@corp.test',
        "ann+news@corp.test",
        "ann+a+b@corp.test",
        "ann@corp.test.",
    ],
)
def test_one_mailbox_has_many_spellings(keeper: Gatekeeper, recipient: str) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann"]}})
    assert keeper.ask(recipient) == "DUNNO"


@pytest.mark.parametrize(
    "recipient", ["+ann@corp.test", "bob+ann@corp.test", "annx@corp.test", "@corp.test", "ann-x@corp.test"]
)
def test_but_no_others(keeper: Gatekeeper, recipient: str) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann"]}})
    assert keeper.ask(recipient).startswith("550 5.1.1 ")


def test_the_delimiter_of_tags_can_be_another_or_none(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann", "c+x"]}}, delimiter="-")
    assert keeper.ask("ann-x@corp.test") == keeper.ask("c+x@corp.test") == "DUNNO"
    assert keeper.ask("ann+x@corp.test").startswith("550 ")
    keeper.reload(recipients={"corp.test": {"list": ["ann"]}}, delimiter="")
    assert keeper.ask("ann-x@corp.test").startswith("550 ")


def test_a_mailbox_may_have_the_delimiter_in_its_name(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann-marie", "c-d-e"]}}, delimiter="-")
    for recipient in ("ann-marie", "ann-marie-news", "ann-marie-news-2026", "Ann-Marie-", "c-d-e-f"):
        assert keeper.ask(f"{recipient}@corp.test") == "DUNNO", recipient
    for recipient in ("ann", "ann-news", "c-d-x", "-ann-marie"):
        assert keeper.ask(f"{recipient}@corp.test").startswith("550 "), recipient


@pytest.mark.parametrize("recipient", ["postmaster@corp.test", "PostMaster@corp.test", "postmaster"])
def test_postmaster_always_has_mail(keeper: Gatekeeper, recipient: str) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann"]}})
    assert keeper.ask(recipient) == keeper.ask(recipient, relay_client="yes") == "DUNNO"


def test_an_international_domain_is_known_by_its_ascii_form(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"b\u00fccher.test": {"list": ["ann", "carl@b\u00fccher.test"]}})
    assert keeper.ask("ann@xn--bcher-kva.test") == keeper.ask("carl@XN--bcher-kva.test") == "DUNNO"
    assert keeper.ask("bob@xn--bcher-kva.test").startswith("550 ")


def test_domains_have_rules_of_their_own_and_those_below_the_nearest(keeper: Gatekeeper) -> None:
    rules = {"corp.test": {"list": ["ann"]}, ".corp.test": {"list": ["sub"]}, "free.corp.test": "any"}
    keeper.start(recipients=rules)
    assert keeper.ask("ann@corp.test") == keeper.ask("sub@a.b.corp.test") == "DUNNO"
    assert keeper.ask("x@free.corp.test") == keeper.ask("x@elsewhere.test") == "DUNNO"
    assert keeper.ask("ann@a.corp.test").startswith("550 ") and keeper.ask("sub@corp.test").startswith("550 ")


def test_a_relay_client_learns_of_an_unknown_recipient_and_is_never_shut_out(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann"]}}, guesses=3)
    with keeper.session() as session:
        heard = {session.ask(BOB, relay_client="yes") for _ in range(20)}
    assert heard == {UNKNOWN}
    assert keeper.ask(relay_client="yes") == "DUNNO"


# Files


FULL = "# an export\nSMTP:Ann@corp.test\n\n" + "".join(f"user{number}@corp.test\n" for number in range(29))


@pytest.fixture
def listed(keeper: Gatekeeper) -> Path:
    """A file of recipients in use, with ann and 29 others."""
    path = keeper.place / "export.txt"
    put(path, FULL)
    keeper.start(**in_file(path))
    return path


def in_file(path: Path, **settings: object) -> dict[str, object]:
    """The configuration by which a file has corp.test's recipients."""
    return {"recipients": {"corp.test": {"file": str(path)}}, "guesses": 0, **settings}


def test_a_file_lists_recipients_and_is_read_again_when_it_changes(keeper: Gatekeeper, listed: Path) -> None:
    assert keeper.ask("ann@corp.test") == keeper.ask("user7@corp.test") == "DUNNO"
    assert keeper.ask(BOB) == UNKNOWN
    put(listed, listed.read_text() + "bob@corp.test\r\n")
    wait_for(lambda: keeper.ask(BOB) == "DUNNO", "the new list")


BROKEN: dict[str, str | bytes] = {
    "empty": "",
    "no address": "# nothing\n\n",
    "a blank": "ann@corp.test\nnot an address\n",
    "no text": b"ann@corp.test\n\xff\xfe\n",
    "Latin-1": "j\u00f6rg@corp.test\n".encode("latin-1"),
    "a star for all": FULL + "*@corp.test\n",
    "NUL": b"ann@corp.test\0\n",
    "no last line end": FULL + "bob@corp.te",
    "most are gone": "ann@corp.test\n",
    "another count": FULL + "bob@corp.test\n# end 40\n",
}


def test_a_file_of_windows_is_read_as_any_other(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    put(path, b"\xef\xbb\xbf# exported\r\nann@corp.test\r\nj\xc3\xb6rg@corp.test\r\n# end 2\r\n")
    keeper.start(**in_file(path))
    assert keeper.ask("ann@corp.test") == keeper.ask("jo\u0308rg@corp.test") == "DUNNO"
    assert keeper.ask(BOB) == UNKNOWN


def test_a_folder_is_no_list_and_its_mail_waits(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    path.mkdir()
    keeper.start(**in_file(path))
    assert keeper.ask(BOB).startswith("451 4.3.5 ")
    assert "export.txt cannot be used, its domains' mail waits: it is no ordinary file" in keeper.log


def test_a_file_without_an_address_of_a_domain_refuses_none_of_its_mail(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    put(path, "".join(f"user{number}@other.test\n" for number in range(30)))
    rules = {name: {"file": str(path)} for name in ("corp.test", "other.test", ".far.test")}
    keeper.start(recipients=rules)
    assert keeper.ask(BOB).startswith("451 4.3.5 ") and keeper.ask("bob@sub.far.test").startswith("451 4.3.5 ")
    assert keeper.ask("bob@other.test").startswith("550 ") and keeper.ask("user1@other.test") == "DUNNO"
    assert f"ALERT {path} has no address at corp.test, whose mail waits" in keeper.log
    assert f"BROKEN   recipients: {path}: no address at .far.test, corp.test" in keeper.run("doctor").stdout
    put(path, path.read_text() + "ann@corp.test\n")
    wait_for(lambda: keeper.ask(BOB) == UNKNOWN, "the list")
    assert keeper.log.count("has no address at corp.test") == 1


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_keeps_the_old_list_and_is_named(keeper: Gatekeeper, listed: Path, broken: str | bytes) -> None:
    put(listed, broken)
    keeper.wait_for_log(f"ALERT {listed} cannot be used, the 30 addresses of before stay")
    assert keeper.ask("user7@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN
    put(listed, FULL + "bob@corp.test\n")
    wait_for(lambda: keeper.ask(BOB) == "DUNNO", "the mended list")


@pytest.mark.parametrize("way", ["reload", "restart", "kill"])
@pytest.mark.parametrize("broken", ["no last line end", "most are gone", "empty"])
def test_so_it_does_over_a_reload_and_a_restart(keeper: Gatekeeper, listed: Path, broken: str, way: str) -> None:
    if way == "kill":
        keeper.stop(signal.SIGKILL)
    put(listed, BROKEN[broken])
    if way == "reload":
        keeper.reload(**in_file(listed))
    else:
        if way == "restart":
            keeper.stop()
        keeper.start(**in_file(listed))
    keeper.wait_for_log("cannot be used, the 30 addresses of before stay")
    assert keeper.ask("user7@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN


@pytest.mark.parametrize("way", ["reload", "restart"])
def test_a_file_that_is_gone_keeps_the_old_list(keeper: Gatekeeper, listed: Path, way: str) -> None:
    listed.unlink()
    if way == "reload":
        keeper.reload(**in_file(listed))
    else:
        keeper.stop()
        keeper.start(**in_file(listed))
    assert keeper.ask("ann@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN
    assert "export.txt cannot be used" in keeper.log


def test_a_short_list_is_kept_too_when_its_file_is_cut(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    put(path, "ann\ncarl\ndora\n")
    keeper.start(**in_file(path))
    put(path, "ann\n")
    keeper.wait_for_log("export.txt cannot be used, the 3 addresses of before stay")
    assert keeper.ask("dora@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN


def test_a_domain_that_is_gone_from_a_large_file_keeps_the_old_list(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    others = "".join(f"user{number}@other.test\n" for number in range(200))
    put(path, FULL + others)
    keeper.start(**in_file(path))
    put(path, others)
    keeper.wait_for_log("it has 0 addresses of corp.test where it had 30")
    assert keeper.ask("ann@corp.test") == "DUNNO"


def test_a_file_that_had_an_end_mark_must_have_one(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    put(path, FULL + "# end 30\n")
    keeper.start(**in_file(path))
    keeper.stop()
    put(path, FULL.replace("user28@corp.test\n", ""))
    keeper.start(**in_file(path))
    assert "its last line is not `# end`, as it was before" in keeper.log
    assert keeper.ask("user28@corp.test") == "DUNNO"
    put(path, FULL.replace("user28@corp.test\n", "# end\n"))
    wait_for(lambda: keeper.ask("user28@corp.test").startswith("550 "), "the list with an end")


@pytest.mark.parametrize("way", ["reload", "restart"])
def test_a_file_that_was_written_just_now_is_read_once_it_lies_still(
    keeper: Gatekeeper, listed: Path, way: str
) -> None:
    keeper.stop()
    put(listed, FULL + "bob@corp.test\n", age=0)
    keeper.start(**in_file(listed, look_seconds=1000))
    if way == "reload":
        keeper.reload(**in_file(listed, look_seconds=2000))
    assert keeper.ask(BOB) == UNKNOWN and keeper.ask("user7@corp.test") == "DUNNO"
    keeper.reload(**in_file(listed))
    wait_for(lambda: keeper.ask(BOB) == "DUNNO", "the list")


def test_a_file_that_never_lies_still_is_named(tmp_path: Path) -> None:
    from gatekeeper.listfile import RESTLESS, Keeper, ListFile

    async def look() -> ListFile:
        file = ListFile(tmp_path / "export.txt", Keeper(tmp_path / "lists"), 50, 0.1)
        await file.begin()
        for number in range(RESTLESS + 1):
            put(file.path, "ann\n", age=number + 60)
            await file.look()
        assert "written to all the time" in file.trouble and file.table and file.table.knows("ann", "", "+")
        await file.look()
        return file

    put(tmp_path / "export.txt", "ann\nbob\n")
    assert asyncio.run(look()).trouble == ""


def test_the_administrator_has_a_shrunken_list_taken(keeper: Gatekeeper, listed: Path) -> None:
    put(listed, "bob\n")
    keeper.wait_for_log("export.txt cannot be used")
    assert keeper.ask(BOB) == UNKNOWN
    told = keeper.run("accept", str(listed))
    assert told.returncode == 0, told.stderr
    assert keeper.ask(BOB) == "DUNNO" and keeper.ask("ann@corp.test").startswith("550 ")
    keeper.stop()
    keeper.start(**in_file(listed))
    assert keeper.ask(BOB) == "DUNNO" and keeper.ask("ann@corp.test").startswith("550 ")


def test_but_neither_a_half_written_one_nor_one_that_nobody_uses(keeper: Gatekeeper, listed: Path) -> None:
    put(listed, "bob@corp.te")
    told = keeper.run("accept", str(listed))
    assert told.returncode == 1 and "its last line has no end" in told.stderr
    told = keeper.run("accept", "/etc/passwd")
    assert told.returncode == 1 and f"there are: {listed}" in told.stderr
    assert keeper.ask("ann@corp.test") == "DUNNO"


def test_how_much_a_list_may_lose_can_be_set(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    put(path, FULL)
    keeper.start(**in_file(path, list_loss=0))
    put(path, FULL.replace("user28@corp.test\n", ""))
    keeper.wait_for_log("it has 29 addresses where it had 30")
    put(path, "bob\n")
    keeper.reload(**in_file(path, list_loss=100))
    wait_for(lambda: keeper.ask(BOB) == "DUNNO", "the list that has lost all but one")


def test_odd_addresses_are_kept_as_they_are(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    odd = ['"#x"@corp.test', '"a\\"b"@corp.test', '"a\\\\b"@corp.test', '"smtp:c"@corp.test', "d'e", '"smtp:f"', "ü"]
    put(path, "\n".join(odd) + "\n")
    keeper.start(**in_file(path))
    keeper.stop()
    path.unlink()
    keeper.start(**in_file(path))
    keeper.wait_for_log("the 7 addresses of before stay")
    recipients = [address if "@" in address else f"{address}@corp.test" for address in odd]
    assert {keeper.ask(recipient) for recipient in recipients} == {"DUNNO"}


def test_a_list_that_was_kept_when_a_star_was_still_an_address_stays_in_force(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    path.write_text("ann@corp.test\n*@corp.test\n")
    kept = Table(frozenset(), frozenset({"ann@corp.test", "*@corp.test"}))
    Keeper(keeper.state.parent / "lists").write(path, Listing(kept))
    keeper.start(**in_file(path))
    keeper.wait_for_log("export.txt cannot be used, the 2 addresses of before stay")
    assert keeper.ask("ann@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN


def test_a_kept_list_that_is_damaged_is_named_and_refuses_nobody(keeper: Gatekeeper, listed: Path) -> None:
    keeper.stop()
    (kept,) = (keeper.place / "lists").iterdir()
    kept.write_bytes(kept.read_bytes()[:-60])
    listed.unlink()
    keeper.start(**in_file(listed))
    assert "the list that was kept of" in keeper.log
    assert keeper.ask("ann@corp.test").startswith("451 ")


def test_without_any_list_yet_mail_waits_and_none_is_refused(keeper: Gatekeeper) -> None:
    path = keeper.place / "later.txt"
    keeper.start(recipients={"corp.test": {"file": str(path)}, "other.test": {"list": ["x"]}})
    assert keeper.ask(BOB).startswith("451 4.3.5 ")
    assert keeper.ask("y@other.test").startswith("550 ")
    assert keeper.ask("postmaster@corp.test") == "DUNNO"
    assert "later.txt cannot be used, its domains' mail waits" in keeper.log
    path.write_text("bob\n")
    wait_for(lambda: keeper.ask(BOB) == "DUNNO", "the list")


def test_routes_that_are_half_written_are_not_asked(keeper: Gatekeeper, route: MailServer) -> None:
    (keeper.place / "control/smtproutes").write_text(f"corp.test:127.0.0.1:{route.port}")
    assert keeper.ask(BOB).startswith("451 4.4.3 ")
    assert route.said == [] and "smtproutes is half-written" in keeper.log


# Callouts


def mailboxes(address: str) -> str:
    """What a server says of its mailboxes."""
    name = address.partition("@")[0].lower()
    told = {"bob": "550 5.1.1 unknown", "old": "550 no such user", "grey": "450 later", "policy": "550 5.7.1 not you"}
    told |= {
        "null": "553 5.1.7 no null senders here",
        "sender": "550 5.1.8 <>: sender rejected",
        "moved": "551 5.1.6 moved",
    }
    return told.get(name, "250 ok")


@pytest.fixture
def route(keeper: Gatekeeper) -> Iterator[MailServer]:
    """The server of corp.test's route, asked by a daemon that runs."""
    server = MailServer(mailboxes)
    (keeper.place / "control/smtproutes").write_text(f"corp.test:127.0.0.1:{server.port}\n")
    keeper.start(recipients={"corp.test": {"callout": True}}, guesses=0, callout_seconds=2)
    yield server
    if server.server.fileno() >= 0:
        server.close()


def test_the_routes_server_is_asked_once_with_the_null_sender(keeper: Gatekeeper, route: MailServer) -> None:
    for recipient in ("ann@corp.test", "Ann@Corp.test", "ann@corp.test"):
        assert keeper.ask(recipient) == "DUNNO"
    for _ in range(3):
        assert keeper.ask(BOB) == UNKNOWN
    assert keeper.ask("old@corp.test").startswith("550 ")
    assert route.asked == ["ann@corp.test", BOB, "old@corp.test"]
    assert route.said[:2] == ["EHLO gw.test", "MAIL FROM:<>"] and "DATA" not in route.said


def test_only_a_word_about_the_mailbox_refuses(keeper: Gatekeeper, route: MailServer) -> None:
    assert keeper.ask("grey@corp.test").startswith("451 4.4.3 ")
    assert keeper.ask("ann@corp.test") == "DUNNO"
    for name in ("policy", "null", "sender"):
        assert keeper.ask(f"{name}@corp.test") == "DUNNO", name
    assert keeper.ask("moved@corp.test").startswith("550 5.1.1 ")


def test_relay_clients_cause_no_callouts(keeper: Gatekeeper, route: MailServer) -> None:
    assert keeper.ask(BOB, relay_client="yes") == "DUNNO"
    assert keeper.ask("x@elsewhere.test", relay_client="yes") == keeper.ask("x@elsewhere.test") == "DUNNO"
    assert route.said == []


def test_a_route_that_is_down_defers_and_refuses_nobody_it_has_not_refused(
    keeper: Gatekeeper, route: MailServer
) -> None:
    assert keeper.ask("ann@corp.test") == "DUNNO"
    route.close()
    assert {keeper.ask(f"user{number}@corp.test")[:9] for number in range(20)} == {"451 4.4.3"}
    assert keeper.ask("ann@corp.test") == "DUNNO"
    assert keeper.ask("postmaster@corp.test") == "DUNNO"
    assert keeper.log.count("callout to 127.0.0.1") == 1


def test_a_yes_is_good_for_longer_when_the_server_is_down_and_a_no_is_not(
    keeper: Gatekeeper, route: MailServer
) -> None:
    settings = {"recipients": {"corp.test": {"callout": True}}, "guesses": 0}
    keeper.reload(**settings, positive_seconds=0.001, negative_seconds=0.001)
    assert keeper.ask("ann@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN
    assert keeper.ask("ann@corp.test") == "DUNNO"
    assert route.asked.count("ann@corp.test") == 2
    route.close()
    assert keeper.ask("ann@corp.test") == "DUNNO"
    assert keeper.ask(BOB).startswith("451 ")


def test_answers_of_servers_survive_a_restart(keeper: Gatekeeper, route: MailServer) -> None:
    assert keeper.ask("ann@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN
    assert keeper.stop() == 0
    route.close()
    keeper.start(recipients={"corp.test": {"callout": True}})
    assert keeper.ask("ann@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN


@pytest.mark.parametrize("greeting", ["554 go away", "421 busy", "hello", "220-" * 2000])
def test_a_server_that_does_not_talk_is_no_reason_to_refuse(
    keeper: Gatekeeper, route: MailServer, greeting: str
) -> None:
    route.greeting = greeting
    assert keeper.ask(BOB).startswith("451 4.4.3 ")


def test_a_server_that_knows_no_ehlo_is_asked_too(keeper: Gatekeeper, route: MailServer) -> None:
    route.replies["EHLO"] = "502 unknown"
    assert keeper.ask("ann@corp.test") == "DUNNO" and keeper.ask(BOB) == UNKNOWN
    route.replies["HELO"] = "554 go away"
    assert keeper.ask("old@corp.test").startswith("451 4.4.3 ")


def test_a_server_has_a_few_questions_at_once(keeper: Gatekeeper, route: MailServer) -> None:
    sessions = [keeper.session() for _ in range(40)]
    for number, session in enumerate(sessions):
        from gatekeeper_rig import question

        session.send(question(f"user{number}@corp.test"))
    assert {session.hear() for session in sessions} == {"DUNNO"}
    assert len(route.asked) == 40 and route.most <= 10  # those that have been left may not have ended yet
    for session in sessions:
        session.__exit__()


def test_a_domain_without_a_route_waits(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"callout": True}})
    assert keeper.ask(BOB).startswith("451 ")


def test_odd_local_parts_are_asked_for_in_quotation_marks(keeper: Gatekeeper, route: MailServer) -> None:
    assert keeper.ask('a b"c>@corp.test') == "DUNNO"
    assert keeper.ask("a\rb@corp.test").startswith("451 ")
    assert route.asked == ['"a b\\"c>"@corp.test']


def test_gateways_that_ask_each_other_put_it_off_and_do_not_ask_for_ever(keeper: Gatekeeper, route: MailServer) -> None:
    """The route's server is a gateway whose route leads back here, so it asks us before it answers."""

    def asks_back(address: str) -> str:
        return "250 ok" if keeper.ask(address, sender="", client_address="127.0.0.1") == "DUNNO" else "451 later"

    route.answer = asks_back
    assert keeper.ask("ann@corp.test").startswith("451 4.4.3 ")
    wait_for(lambda: route.now == 0, "the end of what was begun")
    assert route.asked == ["ann@corp.test"]


# Guessing


def test_who_guesses_finds_the_door_closed_and_others_do_not(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann"]}}, guesses=5)
    with keeper.session() as session:
        heard = [session.ask(f"x{number}@corp.test")[:3] for number in range(8)]
        assert heard == ["550"] * 5 + ["421"] * 3
        assert session.ask("ann@corp.test").startswith("421 4.7.1 ")
    assert keeper.ask("ann@corp.test", client_address="192.0.2.8") == "DUNNO"
    assert keeper.ask("ann@corp.test", relay_client="yes") == "DUNNO"
    assert "smtp-enum-users client=192.0.2.7 unknown=5" in keeper.log


def test_one_host_is_all_of_its_ipv6_network(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann"]}}, guesses=5)
    for number in range(5):
        keeper.ask(BOB, client_address=f"2001:db8:0:7::{number}")
    assert keeper.ask(client_address="2001:db8:0:7:ffff::1").startswith("421 ")
    assert keeper.ask(client_address="2001:db8:0:8::1") == "DUNNO"


def test_the_door_stays_closed_over_a_reload_and_a_restart_and_opens_in_time(keeper: Gatekeeper) -> None:
    settings = {"recipients": {"corp.test": {"list": ["ann"]}}, "guesses": 2}
    keeper.start(**settings)
    for _ in range(2):
        keeper.ask(BOB)
    keeper.reload(**settings)
    assert keeper.ask().startswith("421 ")
    assert keeper.stop() == 0
    keeper.start(**settings)
    assert keeper.ask().startswith("421 ")
    keeper.reload(**settings, closed_seconds=1)
    wait_for(lambda: keeper.ask() == "DUNNO", "the open door")


def test_known_recipients_are_no_guesses(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann"]}}, guesses=2)
    with keeper.session() as session:
        assert {session.ask() for _ in range(50)} == {"DUNNO"}
