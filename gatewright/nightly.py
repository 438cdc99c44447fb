"""gw nightly: the proofs that take hours, one after another. A step that fails does not end the others."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PYTEST = ("pytest", "-q", "-p", "no:cacheprovider")
EVERYWHERE = ("ansible-playbook", "-i", "inventory/lab", "playbooks/site.yml")
SITE = (*EVERYWHERE, "--limit", "gw1")
LAB = ("python", "-m", "lab")
NIGHT = {"GATEWRIGHT_NIGHTLY": "1"}
"""Tests that take long, and say so when it is missing."""
LAB_TESTS = (
    *("cut_runs", "jobs", "greedy_strangers", "fleet", "log_shipping", "monitoring", "policy_daemon"),
    *("reports", "day", "page", "no_loss_out", "going_back"),
)

DELIVERY_TESTS = ("kills", "kinds", "signatures", "mta_sts")


@dataclass(frozen=True)
class Step:
    """A proof: commands of which each needs the one before, and what is run at the end in any case.

    missing: why it cannot be run here; empty, it can.
    """

    name: str
    commands: Sequence[Sequence[str]]
    finally_: Sequence[str] = ()
    missing: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def plan(environment: Mapping[str, str]) -> list[Step]:
    """What a night runs, the cheapest first."""
    small = "this user or container may not start containers" if environment.get("GATEWRIGHT_SMALL") else ""
    suites = "" if environment.get("GATEWRIGHT_SUITES") else "GATEWRIGHT_SUITES names no folder of public suites"
    runs = environment.get("RUNS") or "1000000"
    down = (*LAB, "down")
    return [
        Step("the scanner's soak", [("python", "-m", "tests.soak", "--messages", "50000", "--reloads", "10")]),
        Step(
            "the whole gateway's soak",
            [("python", "-m", "tests.soak.gateway", "--messages", "50000", "--rounds", "10")],
        ),
        Step(
            "2,000 messages out while gatepost, unbound, the signer and the server are killed, 315 to 21 kinds of MX,"
            " 1,000 signed ones before two verifiers, MTA-STS from end to end",
            [(*PYTEST, "-s", *(f"tests/unit/gatepost/test_{name}.py" for name in DELIVERY_TESTS))],
            environment=NIGHT,
        ),
        Step(
            "a million questions to gatekeeper, with reloads and workers that die",
            [(*PYTEST, "-s", "tests/unit/gatekeeper/test_long_life.py")],
            environment=NIGHT,
        ),
        Step(
            "10,000 unknown and 1,000 known recipients by list, directory and callout, up and down",
            [(*PYTEST, "-s", "tests/unit/gatekeeper/test_ten_thousand.py")],
            environment=NIGHT,
        ),
        Step(
            "the console in a browser",
            [(*PYTEST, "-s", "tests/unit/fleet/test_browser.py")],
            environment=NIGHT,
        ),
        Step("public suites", [(*PYTEST, "-s", "tests/suites")], missing=suites),
        Step(
            "runs cut at 20 places, jobs by their tags, greedy strangers, the fleet's commands, logs, metrics,"
            " reports, an administrator's day, the console over a gateway, no loss on the way out,"
            " back a release and forward while mail flows",
            [
                (*LAB, "up", "dns", "office", "outside", "gw1"),
                SITE,
                (
                    *PYTEST,
                    *(f"tests/testinfra/test_{name}.py" for name in LAB_TESTS),
                ),
            ],
            down,
            small,
            NIGHT,
        ),
        Step(
            "who mail is from, and gatekeeper's workers that die or make way, on both Debians",
            [
                (*LAB, "up", "dns", "office", "outside", "gw1", "gw2"),
                ("ansible-playbook", "-i", "inventory/lab", "-e", "@lab/demo.yml", "playbooks/site.yml"),
                (*PYTEST, "tests/testinfra/test_gatekeeper.py"),
            ],
            down,
            small,
            NIGHT,
        ),
        Step(
            "first runs on messy hosts",
            [(*LAB, "up", "dns", "office", "outside"), (*PYTEST, "tests/messy")],
            down,
            small,
        ),
        Step(
            "a gateway of either Debian that died, and its archive",
            [
                (*LAB, "up", "dns", "office", "outside", "gw1", "gw2"),
                EVERYWHERE,
                (*PYTEST, "tests/testinfra/test_backup.py"),
            ],
            down,
            small,
            NIGHT,
        ),
        Step(
            "release by mail, through the gateway that does not hold the message, and rspamd on both Debians",
            [
                (*LAB, "up", "dns", "office", "outside", "gw1", "gw2"),
                EVERYWHERE,
                (*PYTEST, "tests/testinfra/test_release_by_reply.py", "tests/testinfra/test_rspamd.py"),
            ],
            down,
            small,
            NIGHT,
        ),
        Step(
            "two gateways that pull their inventory from a repository on a third host",
            [
                (*LAB, "up", "dns", "office", "outside", "gw1", "gw2"),
                EVERYWHERE,
                (*PYTEST, "tests/testinfra/test_pull.py"),
            ],
            down,
            small,
            NIGHT,
        ),
        Step("the end of a gateway", [("molecule", "test", "-s", "remove")], missing=small),
        Step("fuzzing", [("python", "-m", "tests.fuzz", "--runs", runs)]),
        Step(
            "a machine with a kernel of its own",
            [("requirements/packages.sh", "requirements/apt-vm.txt"), ("python", "-m", "lab.vm", "gw1")],
            missing=small,
        ),
    ]


def run(steps: Sequence[Step]) -> int:
    """Run all, and say at the end how each went; returns the exit status."""
    told = [outcome(step) for step in steps]
    print("\n".join(f"nightly: {line}" for line, _passed in told), flush=True)
    return 0 if all(passed for _line, passed in told) else 1


def outcome(step: Step) -> tuple[str, bool]:
    """Run one; returns a line about it, and whether nothing failed."""
    if step.missing:
        return f"{step.name}: not run: {step.missing}", True
    started = time.monotonic()
    print(f"nightly: {step.name} ...", flush=True)
    passed = all(call(command, step.environment) for command in step.commands)
    if step.finally_:
        call(step.finally_, step.environment)
    return f"{step.name}: {'passed' if passed else 'FAILED'} after {time.monotonic() - started:.0f} s", passed


def call(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Run a command, its words as they come; whether it ended well."""
    try:
        return subprocess.run(command, cwd=PROJECT, env={**os.environ, **environment}, check=False).returncode == 0
    except OSError as error:
        print(f"nightly: {command[0]}: {error.strerror}", flush=True)
        return False


def main() -> int:
    """The verb."""
    return run(plan(os.environ))
