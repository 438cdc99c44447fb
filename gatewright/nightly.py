"""gw nightly: the proofs that take hours, one after another. A step that fails does not end the others."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    *("relay_senders", "reports", "day", "page", "no_loss_out", "going_back", "touched"),
)

DELIVERY_TESTS = ("kills", "kinds", "signatures")


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
    fuzzing = ("python", "-m", "tests.fuzz", "--runs", environment.get("RUNS") or "1000000")
    machine = ("requirements/packages.sh", "requirements/apt-vm.txt"), ("python", "-m", "lab.vm", "gw1")
    return [
        *without_lab(),
        Step("public suites", [(*PYTEST, "-s", "tests/suites")], missing=suites),
        *in_lab(small),
        Step("the end of a gateway", [("molecule", "test", "-s", "remove")], missing=small),
        Step("fuzzing", [fuzzing]),
        Step("a machine with a kernel of its own", machine, missing=small),
    ]


def without_lab() -> list[Step]:
    """What any machine can run."""
    promtool = ("requirements/unpack.sh", ".cache/unpacked-nightly", "prometheus")
    alerts = Step("alerts by promtool", [promtool, (*PYTEST, "tests/unit/monitoring/test_shipped.py")])
    gateway_soak = ("python", "-m", "tests.soak.gateway", "--messages", "50000", "--rounds", "10")
    return [
        Step("the scanner's soak", [("python", "-m", "tests.soak", "--messages", "50000", "--reloads", "10")]),
        Step("the whole gateway's soak", [gateway_soak]),
        tests(
            "2,000 messages out while gatepost, unbound, the signer and the server are killed, 315 to 21 kinds of MX,"
            " 1,000 signed ones before two verifiers",
            *(f"tests/unit/gatepost/test_{name}.py" for name in DELIVERY_TESTS),
        ),
        tests(
            "a million questions to gatekeeper, with reloads and workers that die",
            "tests/unit/gatekeeper/test_long_life.py",
        ),
        tests(
            "10,000 unknown and 1,000 known recipients by list, directory and callout, up and down",
            "tests/unit/gatekeeper/test_ten_thousand.py",
        ),
        tests("the console in a browser", "tests/unit/fleet/test_browser.py"),
        alerts,
    ]


def tests(name: str, *files: str) -> Step:
    """Files of tests that wait for the night, and print what they measured."""
    return Step(name, [(*PYTEST, "-s", *files)], environment=NIGHT)


def in_lab(missing: str) -> list[Step]:
    """What needs the lab's hosts, which are made anew for each."""
    both = "gw1", "gw2"
    demo = ("ansible-playbook", "-i", "inventory/lab", "-e", "@lab/demo.yml", "playbooks/site.yml")
    found = [
        lab_tests(
            "runs cut at 20 places, what was changed by hand, jobs by their tags, greedy strangers, the fleet's"
            " commands, logs, metrics, relay clients' senders, reports, an administrator's day, the console over a"
            " gateway, no loss on the way out, back a release and forward while mail flows",
            ("gw1",),
            SITE,
            *(f"tests/testinfra/test_{name}.py" for name in LAB_TESTS),
        ),
        lab_tests(
            "who mail is from, and gatekeeper's workers that die or make way, on both Debians",
            both,
            demo,
            "tests/testinfra/test_gatekeeper.py",
        ),
        lab_tests(
            "jobs by their tags on a host that is not as the defaults have it",
            ("gw1",),
            (),
            "tests/testinfra/test_jobs_elsewhere.py",
        ),
        lab_tests("first runs on messy hosts", (), (), "tests/messy"),
        lab_tests(
            "a gateway of either Debian that died, and its archive", both, EVERYWHERE, "tests/testinfra/test_backup.py"
        ),
        lab_tests(
            "release by mail, through the gateway that does not hold the message, and rspamd on both Debians",
            both,
            EVERYWHERE,
            *("tests/testinfra/test_release_by_reply.py", "tests/testinfra/test_rspamd.py"),
        ),
        lab_tests(
            "two gateways that pull their inventory from a repository on a third host",
            both,
            EVERYWHERE,
            "tests/testinfra/test_pull.py",
        ),
    ]
    return [replace(step, missing=missing) for step in found]


def lab_tests(name: str, gateways: Sequence[str], playbook: Sequence[str], *files: str) -> Step:
    """Files of tests over hosts of the lab, on which a playbook was run before, if there is one."""
    hosts = (*LAB, "up", "dns", "office", "outside", *gateways)
    commands = [command for command in (hosts, playbook, (*PYTEST, *files)) if command]
    there = {"GATEWRIGHT_GATEWAYS": ",".join(gateways)} if gateways else {}
    return Step(name, commands, (*LAB, "down"), environment=NIGHT | there)


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
