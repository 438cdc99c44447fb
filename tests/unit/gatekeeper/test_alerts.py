"""The postmaster hears at once of a limit that is passed, and no more than once an hour; and what figures there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from gatekeeper import alerts, config
from gatekeeper_rig import Gatekeeper, put, wait_for

LIMITS = {"client": {"messages": {"day": 1}, "recipients": {"day": 1}}, "sender": {"messages": {"day": 1}}}


def overdo(keeper: Gatekeeper, sender: str = "ann@corp.test", client: str = "192.0.2.7") -> None:
    """Send more than one message of a relay client."""
    given = {"relay_client": "yes", "sender": sender, "client_address": client}
    with keeper.session() as session:
        for _ in range(5):
            if session.ask("x@elsewhere.test", **given) == "DUNNO":
                session.ask("", protocol_state="DATA", recipient_count=1, **given)


def waiting(keeper: Gatekeeper) -> list[str]:
    """The alerts that wait to be mailed."""
    return [path.read_text().strip() for path in sorted((keeper.place / "alerts").glob("*.alert"))]


@pytest.fixture
def inject(keeper: Gatekeeper) -> Path:
    """A qmail-inject that keeps what it is told, and fails while a file `broken` is there."""
    program = keeper.place / "bin/qmail-inject"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\n[ ! -e {keeper.place}/broken ] || {{ echo full >&2; exit 111; }}\n"
        f'echo "arguments:$*" >> {keeper.place}/mails\ncat >> {keeper.place}/mails\n'
    )
    program.chmod(0o755)
    return keeper.place / "mails"


def test_a_limit_that_is_passed_is_told_once_for_each_client_and_sender(keeper: Gatekeeper) -> None:
    keeper.start(limits=LIMITS)
    for _ in range(3):
        overdo(keeper)
    assert waiting(keeper) == ["limit client=192.0.2.7: more than 1 messages in a day"]
    overdo(keeper, client="192.0.2.8")
    assert waiting(keeper)[1:] == ["limit sender=ann@corp.test: more than 1 messages in a day"]


def test_an_alert_is_not_told_again_after_a_reload_or_restart(keeper: Gatekeeper) -> None:
    keeper.start(limits=LIMITS)
    overdo(keeper)
    keeper.reload(limits=LIMITS)
    overdo(keeper)
    keeper.stop()
    keeper.start(limits=LIMITS)
    overdo(keeper)
    assert len(waiting(keeper)) == 1 == keeper.log.count("ALERT limit client")


def test_alerts_are_one_mail_to_the_postmaster(keeper: Gatekeeper, inject: Path) -> None:
    keeper.start(limits=LIMITS)
    overdo(keeper)
    overdo(keeper, client="192.0.2.8")
    pauses: list[float] = []
    assert alerts.mail_all(config.load(keeper.config), pauses.append) == 1
    mail = inject.read_text()
    assert mail.startswith("arguments:-a -f  postmaster@gw.test\n")
    assert "Subject: gw.test: 2 alerts of gatekeeper\n" in mail and "Auto-Submitted: auto-generated\n" in mail
    assert "limit client=192.0.2.7" in mail and "limit sender=ann@corp.test" in mail
    assert waiting(keeper) == [] and sum(pauses) < 60  # what comes now is mailed within a minute, too


def test_alerts_wait_until_qmail_takes_them(keeper: Gatekeeper, inject: Path) -> None:
    keeper.start(limits=LIMITS)
    overdo(keeper)
    (keeper.place / "broken").touch()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert waiting(keeper) or len(pauses) > 2
        if len(pauses) == 2:
            (keeper.place / "broken").unlink()

    assert alerts.mail_all(config.load(keeper.config), pause) == 1
    assert inject.read_text().count("limit client=192.0.2.7") == 1 and len(pauses) == 3


def test_many_alerts_are_bounded(keeper: Gatekeeper, inject: Path) -> None:
    keeper.configure()
    folder = keeper.place / "alerts"
    folder.mkdir()
    for number in range(alerts.WAITING):
        (folder / f"{number:05d}.alert").write_text(f"limit {number}\n")
    keeper.start(limits=LIMITS)
    overdo(keeper)
    assert len(waiting(keeper)) == alerts.WAITING
    assert "no mail of this will be sent" in keeper.log and "ALERT limit client" in keeper.log
    assert alerts.mail_all(config.load(keeper.config), lambda _: None) == 1
    assert "and 900 more" in inject.read_text() and waiting(keeper) == []


def test_a_folder_that_cannot_be_written_costs_no_answer(keeper: Gatekeeper) -> None:
    (keeper.place / "alerts").write_text("")
    keeper.start(limits=LIMITS)
    overdo(keeper)
    assert "no mail of this will be sent" in keeper.log
    assert keeper.ask(relay_client="yes", client_address="192.0.2.7").startswith("451 4.7.1 ")


def test_figures_tell_of_answers_alerts_and_lists(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    put(path, "ann\nbob\n")
    keeper.start(limits=LIMITS, recipients={"corp.test": {"file": str(path)}})
    overdo(keeper)
    assert keeper.ask("x@corp.test").startswith("550 ")
    put(path, "ann\nbo")
    keeper.wait_for_log("cannot be used")
    figures = keeper.place / "gatekeeper.prom"
    figures.unlink(missing_ok=True)
    keeper.reload(limits=LIMITS, recipients={"corp.test": {"file": str(path)}})  # which publishes them
    wait_for(figures.exists, "figures")
    lines = figures.read_text().splitlines()
    for line in (
        'gatekeeper_answers_total{code="451"} 4',
        'gatekeeper_answers_total{code="550"} 1',
        'gatekeeper_alerts_total{kind="limit_client"} 1',
        f'gatekeeper_list_addresses{{file="{path}"}} 2',
        f'gatekeeper_list_refused{{file="{path}"}} 1',
        f'gatekeeper_state_unwritten{{file="{keeper.state}"}} 0',
    ):
        assert line in lines, lines
    assert lines.count("# TYPE gatekeeper_answers_total counter") == 1
