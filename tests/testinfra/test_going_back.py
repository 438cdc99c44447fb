"""A gateway goes back to the release before while mail flows, and forward again: nothing is lost or passes unscanned.

GATEWRIGHT_RELEASE_BEFORE: what git knows that release by; without it the newest tag of one, and while there is none,
the commit that was 1.0.0. GATEWRIGHT_LOSS_MESSAGES: how many messages at least (2000).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, Reply, token
from scanner_lab import Scanner, found_again, numbered, order, send_all
from story import Story
from test_fleet import objects

from lab.topology import CACHE, PROJECT

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: two runs of site.yml under load")
FIRST = "d5e47c7"
"""Release 1.0.0: the last commit of its day in CHANGELOG.md."""
NEWEST = ("git", "describe", "--tags", "--match", "v*", "--abbrev=0", "HEAD^")
LEAST = int(os.environ.get("GATEWRIGHT_LOSS_MESSAGES", "2000"))
SITE, MINUTES = "playbooks/site.yml", 1200
NOTE = "/var/lib/gatewright/gatewright_release"
BATCH, BATCH_SECONDS, SESSIONS = 50, 5.0, 20
"""A steady pace: so many messages in so many seconds, over so many sessions at most."""
PATIENCE = 300
"""Seconds for which a message that is not taken is tried again."""


@pytest.fixture
def release_before(tmp_path: Path) -> Path:
    """Its whole tree, beside this one's caches: the lab's key and archives are the same."""
    newest = subprocess.run(NEWEST, cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()
    before = os.environ.get("GATEWRIGHT_RELEASE_BEFORE") or newest or FIRST
    tree = subprocess.run(["git", "archive", before], cwd=PROJECT, capture_output=True, check=False)
    if tree.returncode:
        pytest.skip(f"git has no {before} here: {tree.stderr.decode().strip()}")
    print(f"\nthe release before: {before}")
    subprocess.run(["tar", "-x", "-C", tmp_path], input=tree.stdout, check=True)
    (tmp_path / ".cache").symlink_to(CACHE.parent)
    return tmp_path


class Traffic(threading.Thread):
    """Sends one batch after another until it is told to end and enough was sent."""

    def __init__(self, gateway: Gateway, outside: Peer, run: str) -> None:
        super().__init__()
        self.gateway, self.outside, self.run_mark = gateway, outside, run
        self.sizes = random.Random(1)
        self.over, self.is_vain = threading.Event(), False
        self.told: list[list[Reply]] = []

    def run(self) -> None:
        """Batches, at a steady pace."""
        while not self.over.is_set() or (len(self.told) < LEAST and not self.is_vain):
            start = time.time()
            orders = [
                order(
                    self.gateway.ipv4,
                    numbered(self.run_mark, len(self.told) + number, self.sizes),
                    at=start + BATCH_SECONDS * number / BATCH,
                    until=start + PATIENCE,
                )
                for number in range(BATCH)
            ]
            self.told += send_all(self.outside, orders, SESSIONS)

    def is_doubtful(self, number: int) -> bool:
        """Whether a try broke off when the message was out, so that its sender cannot know and tries again."""
        return any(reply.stage == "data" and reply.code == 0 for reply in self.told[number])


def was_broken_off(gateway: Gateway, subject: str) -> bool:
    """Whether a delivery ended with the qmail-send that had begun it: nobody knows how, and it is made again."""
    (record,) = objects(gateway, "trace", "--subject", subject)
    return any(delivery["result"] == "under way" for delivery in record["deliveries"])


def scanner_build(gateway: Gateway) -> str:
    """Which build of the scanner's package is installed."""
    return gateway.run("dpkg-query", "--show", "--showformat=${Version}", "gatewright-gatescan")


def go_back_and_forward(gateway: Gateway, before: Path, traffic: Traffic) -> dict[str, int]:
    """Both runs while mail flows; how many messages had been sent at the end of each."""
    sent, build = {}, scanner_build(gateway)
    traffic.start()
    try:
        if not (before / "VERSION").exists():  # 1.0.0
            story = Story("Gatewright's own releases", f"-i inventory/lab --limit {gateway.name}", {})
            story.run('ansible gateways INV -b -m ansible.builtin.file -a "path=/var/qmail/alias owner=alias"')
        playbook(SITE, gateway.name, seconds=MINUTES, project=before)
        sent["back"] = len(traffic.told)
        assert scanner_build(gateway) != build
        playbook(SITE, gateway.name, seconds=MINUTES)
        sent["forward"] = len(traffic.told)
        assert scanner_build(gateway) == build
    except BaseException:
        traffic.is_vain = True
        raise
    finally:
        traffic.over.set()
        traffic.join()
    return sent


@pytest.mark.timeout(3 * MINUTES + 1200)
def test_nothing_is_lost_when_a_gateway_goes_back_a_release_and_forward_again(
    gateway: Gateway, outside: Peer, office: Peer, release_before: Path
) -> None:
    run, scanner = token(), Scanner(gateway)
    traffic = Traffic(gateway, outside, run)
    sent = go_back_and_forward(gateway, release_before, traffic)
    held, arrived = found_again(run, scanner, office)
    found = held + arrived
    taken = {number for number, tries in enumerate(traffic.told) if tries[-1].code == 250}
    twice = [number for number in found if found[number] > 1]
    codes = Counter(reply.code for tries in traffic.told for reply in tries)
    figures = {
        "messages": len(traffic.told), "sent at the end of": sent, "got 250": len(taken), "replies": dict(codes),
        "held": len(held), "arrived": len(arrived), "twice": len(twice),
    }  # short pairs, many a line # fmt: skip
    print("\nback and forward:", json.dumps(figures))
    assert len(taken) == len(traffic.told) >= LEAST, figures
    assert [number for number in taken if not found[number]] == [], "got 250 and is missing"
    assert [number for number in arrived if number % 5 == 0] == [], "passed and should have been held"
    assert [number for number in held if number % 5] == [], "held and should have passed"
    knew = [number for number in twice if not traffic.is_doubtful(number)]
    assert [number for number in knew if not was_broken_off(gateway, f"{run}.{number}.")] == [], "twice for no reason"


def test_a_release_that_would_lose_what_a_later_one_keeps_is_refused(gateway: Gateway) -> None:
    later = {"release": "9.0.0", "migrations": {"given-by-fax": "who has had a message by fax"}}
    note = gateway.run("cat", NOTE)
    assert "quarantine-shares" in json.loads(note)["migrations"]
    gateway.run("tee", NOTE, stdin=json.dumps(later))
    try:
        refused = playbook(SITE, gateway.name, "--check", succeeds=False)
        assert refused.changed(gateway.name) == 0
        said = " ".join(refused.output.split())
        assert "release 9.0.0 was here" in said and "lacks its migration given-by-fax" in said
        accepted = {"survey_accept": ["release"]}
        playbook(SITE, gateway.name, "--tags", "survey", variables=accepted)
    finally:
        gateway.run("tee", NOTE, stdin=note)
