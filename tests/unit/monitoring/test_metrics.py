"""The file of figures: what it counts, over turned logs too, and that a broken file of another does not cost it."""

from __future__ import annotations

import json
import os
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

import gatewright_metrics as metrics
import pytest
from gateway_logs import Gateway, label

DOOR = "var/log/qmail/smtpd/current"
LINKS = "var/log/gatepost/deliveries.jsonl"
SENT = "var/log/qmail/current"
Figures = dict[str, float]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A gateway on which the program has run once, before any mail."""
    (tmp_path / metrics.PLACE).mkdir(parents=True)
    (tmp_path / "var/qmail/queue/info").mkdir(parents=True)
    Gateway().write(tmp_path)
    metrics.publish(tmp_path)
    return tmp_path


def published(root: Path) -> Figures:
    """The figures after one more run, by series."""
    metrics.publish(root)
    text = (root / metrics.PLACE / "gatewright.prom").read_text()
    assert text.endswith("\n")
    return {name: float(value) for name, value in re.findall(r"(?m)^([^#\n].*) (\S+)$", text)}


def append(path: Path, *lines: str) -> None:
    """Write lines as multilog does."""
    with path.open("a") as file:
        file.writelines(f"{label(time.time())} {line}\n" for line in lines)


def turn(path: Path, name: str = "") -> None:
    """Turn a log: the present file gets a name by time."""
    path.rename(path.with_name(name or f"{label(time.time())}.s"))
    path.touch()


def test_deliveries_are_counted_by_result_and_by_tls(root: Path) -> None:
    gateway = Gateway()
    number = gateway.queued(1, 4000)
    gateway.tried(2, number, "ann@example.org", "deferral", "Remote_host_said:_451_4.7.1_greylisted/")
    gateway.tried(60, number, "ann@example.org", "success", "accepted")
    gateway.bounced(61, number)
    with (root / SENT).open("a") as file:
        file.writelines(f"{label(at)} {line}\n" for at, line in gateway.send)
    with (root / LINKS).open("a") as file:
        file.write('{"result": "success", "tls": "TLSv1.3", "verified": "DANE"}\n')
        file.write('{"result": "success", "tls": "", "verified": ""}\n')
        file.write('{"result": "deferral", "tls": "TLSv1.3", "verified": "DANE"}\n')
    found = published(root)
    assert found['gatewright_attempts_total{result="success"}'] == 1
    assert found['gatewright_attempts_total{result="deferral"}'] == 1
    assert found['gatewright_deferrals_total{reason="policy"}'] == 1
    assert found['gatewright_deliveries_total{tls="TLSv1.3",verified="DANE"}'] == 1
    assert found['gatewright_deliveries_total{tls="none",verified="no"}'] == 1
    assert found["gatewright_bounces_total"] == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Connected_to_192.0.2.1_but_TLS_is_required_for_this_route,_and_the_server_offers_none._(#4.7.5)/", "tls"),
        ("CNAME_lookup_failed_temporarily._(#4.4.3)/", "dns"),
        ("Sorry,_I_couldn't_find_any_host_by_that_name._(#4.1.2)/", "dns"),
        ("Sorry,_I_wasn't_able_to_establish_an_SMTP_connection._(#4.4.1)/", "connection"),
        ("Connected_to_192.0.2.1_but_connection_died._(#4.4.2)/", "connection"),
        ("Too_many_messages_to_this_host_are_on_their_way_already,_and_it_is_slow._(#4.4.5)/", "busy"),
        ("192.0.2.1_does_not_like_recipient./Remote_host_said:_452_4.2.2_mailbox_full/", "full"),
        ("Connected_to_192.0.2.1_but_greeting_failed./Remote_host_said:_421_come_back/", "policy"),
        ("192.0.2.1_does_not_like_recipient./Remote_host_said:_451_no/", "remote"),
        ("The_message_cannot_be_read._(#4.3.0)/", "local"),
        ("something_else", "other"),
    ],
)
def test_a_deferral_has_a_reason(text: str, reason: str) -> None:
    assert metrics.reason_of(text.encode()) == reason


def test_what_the_door_turns_away_is_counted_by_reason(root: Path) -> None:
    append(
        root / DOOR,
        "tcpserver: pid 77 from 192.0.2.7",
        "tcpserver: deny 77 gw1:192.0.2.1:25 :192.0.2.7::40123",
        "slots: 12 192.0.2.7: too many connections",
        "starttls: 78 TLSv1.3: TLS_AES_256_GCM_SHA384",
        "starttls: 79 no handshake: wrong version number",
        "rblsmtpd: 192.0.2.8 pid 80: 451 listed",
    )
    keeper = root / "var/log/gatekeeper/daemon/current"
    append(keeper, "gatekeeper[9]: INFO refused unknown client=192.0.2.7 recipient=nobody@example.org sender=x@y.test")
    append(keeper, "gatekeeper[9]: WARNING put off limit client=192.0.2.7 recipient=a@b.test sender=x@y.test much")
    found = published(root)
    refused = {name: found[f'gatewright_door_refusals_total{{reason="{name}"}}'] for name in ("denied", "tls", "limit")}
    assert refused == {"denied": 1, "tls": 1, "limit": 1}
    assert found['gatewright_door_refusals_total{reason="too many connections"}'] == 1
    assert found['gatewright_door_refusals_total{reason="DNS list"}'] == 1
    assert found['gatewright_door_refusals_total{reason="unknown recipient"}'] == 1
    assert found["gatewright_sessions_total"] == 1
    assert found['gatewright_sessions_tls_total{tls="TLSv1.3"}'] == 1


def test_no_line_is_lost_or_counted_twice_while_logs_turn(root: Path) -> None:
    log, told = root / DOOR, 0
    for step in range(40):
        for _ in range(step % 4):
            append(log, f"tcpserver: pid {step} from 192.0.2.7")
            told += 1
        if step % 5 == 0:
            turn(log)
        if step % 3 == 0:
            assert published(root)["gatewright_sessions_total"] == told
    assert published(root)["gatewright_sessions_total"] == told


def test_a_line_that_is_half_written_is_counted_once_it_is_whole(root: Path) -> None:
    line = f"{label(time.time())} tcpserver: pid 1 from 192.0.2.7\n"
    with (root / DOOR).open("a") as file:
        file.write(line[:40])
        file.flush()
        assert published(root)["gatewright_sessions_total"] == 0
        file.write(line[40:])
    assert published(root)["gatewright_sessions_total"] == 1


def test_what_was_turned_and_thrown_away_between_two_runs_does_not_stop_the_count(root: Path) -> None:
    append(root / DOOR, "tcpserver: pid 1 from 192.0.2.7")
    turn(root / DOOR)
    for path in (root / DOOR).parent.glob("@*"):
        path.unlink()
    append(root / DOOR, "tcpserver: pid 2 from 192.0.2.7")
    assert published(root)["gatewright_sessions_total"] == 1


def test_logs_of_before_the_first_run_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / metrics.PLACE).mkdir(parents=True)
    gateway = Gateway()
    gateway.session(1)
    gateway.write(tmp_path)
    assert published(tmp_path)["gatewright_sessions_total"] == 0


def test_a_state_that_is_broken_begins_anew(root: Path) -> None:
    append(root / DOOR, "tcpserver: pid 1 from 192.0.2.7")
    published(root)
    (root / metrics.PLACE / "state.json").write_text('{"marks": {"x": 1}}')
    assert published(root)["gatewright_sessions_total"] == 0
    append(root / DOOR, "tcpserver: pid 2 from 192.0.2.7")
    assert published(root)["gatewright_sessions_total"] == 1


def test_the_queue_has_a_depth_and_an_age(root: Path) -> None:
    assert published(root)["gatewright_queue_messages"] == 0
    for name in ("info/3/1310703", "todo/1310704"):
        path = root / "var/qmail/queue" / name
        path.parent.mkdir(parents=True)
        path.touch()
    os.utime(root / "var/qmail/queue/info/3/1310703", (time.time() - 5000,) * 2)
    found = published(root)
    assert found["gatewright_queue_messages"] == 2
    assert found["gatewright_queue_unprocessed_messages"] == 1
    assert found["gatewright_queue_oldest_age_seconds"] == pytest.approx(5000, abs=60)


def test_a_cutoff_an_outbreak_and_the_last_run_show(root: Path) -> None:
    (root / "var/lib/gatewright/cutoff").mkdir()
    (root / "var/lib/gatewright/cutoff/inbound").touch()
    (root / "var/lib/gatewright/last-run").touch()
    (root / "etc/gatescan").mkdir(parents=True)
    (root / "etc/gatescan/outbreak.txt").write_text("# rules\n\nextension\tiso\n")
    found = published(root)
    assert found['gatewright_cutoff{way="inbound"}'] == 1
    assert found['gatewright_cutoff{way="outbound"}'] == 0
    assert found["gatewright_outbreak_rules"] == 1
    assert found["gatewright_last_run_timestamp_seconds"] == pytest.approx(time.time(), abs=60)


def test_a_pull_of_the_inventory_that_fails_shows_and_without_pulls_there_is_no_figure(root: Path) -> None:
    assert not [name for name in published(root) if name.startswith("gatewright_pull_")]
    last = root / "var/lib/gatewright/pull/last.json"
    last.parent.mkdir()
    last.write_text(json.dumps({"result": "failed", "why": "x", "commit": "c", "applied": 1000.0, "at": 2000.0}))
    found = published(root)
    assert found["gatewright_pull_failed"] == 1
    assert found["gatewright_pull_timestamp_seconds"] == 2000
    assert found["gatewright_pull_applied_timestamp_seconds"] == 1000
    last.write_text(json.dumps({"result": "ok", "commit": "c", "applied": 3000.0, "at": 3000.0}))
    assert published(root)["gatewright_pull_failed"] == 0


def test_a_service_that_is_down_shows(root: Path) -> None:
    for name, pid in (("qmail-send", 4711), ("gatescan", 0)):
        path = root / "service" / name / "supervise"
        path.mkdir(parents=True)
        status = struct.pack(">QI", metrics.TAI + 1_764_201_600, 0) + struct.pack("<I", pid) + b"\0u"
        (path / "status").write_bytes(status)
    found = published(root)
    assert found['gatewright_service_up{service="qmail-send"}'] == 1
    assert found['gatewright_service_up{service="gatescan"}'] == 0
    assert found['gatewright_service_start_timestamp_seconds{service="gatescan"}'] == 1_764_201_600


@pytest.fixture
def scanner(root: Path) -> Callable[[str], None]:
    """Publishes a text as the scanner's."""
    path = root / metrics.JOINED["scanner"]
    path.parent.mkdir(parents=True)

    def publish(text: str) -> None:
        path.write_text(text)

    return publish


def test_what_the_scanner_publishes_is_in_the_file_as_it_is(root: Path, scanner: Callable[[str], None]) -> None:
    scanner(
        '# HELP gatescan_rules Rules.\n# TYPE gatescan_rules gauge\ngatescan_rules 7\ngatescan_x{a="b\\"c"} 1e+06\n'
    )
    found = published(root)
    assert found["gatescan_rules"] == 7
    assert found['gatewright_source_readable{source="scanner"}'] == 1


def test_a_broken_file_of_another_program_does_not_cost_the_rest(root: Path, scanner: Callable[[str], None]) -> None:
    scanner("gatescan_rules 7\ngatescan_messages_to")
    found = published(root)
    assert found['gatewright_source_readable{source="scanner"}'] == 0
    assert "gatescan_rules" not in found
    assert found["gatewright_queue_messages"] == 0


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "endless"])
def test_a_program_that_was_taken_over_keeps_no_other_figure_from_the_file(root: Path, kind: str) -> None:
    path = root / metrics.JOINED["gatekeeper"]
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (root / "secret").write_text("secret 7\n")
        path.symlink_to(root / "secret")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    found = published(root)
    assert found['gatewright_source_readable{source="gatekeeper"}'] == 0 and "secret" not in found
    assert found["gatewright_queue_messages"] == 0


def test_a_remote_server_cannot_make_up_series(root: Path) -> None:
    with (root / LINKS).open("a") as file:
        file.writelines(f'{{"result": "success", "tls": "made up {number}"}}\n' for number in range(50))
    found = [name for name in published(root) if name.startswith("gatewright_deliveries_total")]
    assert found == ['gatewright_deliveries_total{tls="none",verified="no"}']


def test_what_cannot_be_read_is_named_and_costs_no_other_figure(root: Path) -> None:
    assert published(root)['gatewright_source_readable{source="/var/log/qmail/smtpd/current"}'] == 1
    (root / DOOR).unlink()
    (root / DOOR).symlink_to(root / DOOR)  # as a log that one may not open
    (root / LINKS).unlink()
    os.mkfifo(root / LINKS)  # nor is a pipe waited for
    (root / "var/qmail/queue/info").rmdir()
    append(root / SENT, "bounce msg 1 qp 2")
    found = published(root)
    assert found['gatewright_source_readable{source="/var/log/qmail/smtpd/current"}'] == 0
    assert found['gatewright_source_readable{source="queue"}'] == 0
    assert "gatewright_queue_messages" not in found
    assert found["gatewright_bounces_total"] == 1
