"""Playbooks run against fresh gateways of the lab, timed and counted."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab import hosts
from lab.__main__ import bring_up
from lab.machine import LabError, environment
from lab.topology import PROJECT, Host, select

SITE = PROJECT / "playbooks/site.yml"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: how long it took in seconds, how many tasks it went through (also those it skipped) and changed."""

    seconds: float
    tasks: int = 0
    changed: int = 0

    def __str__(self) -> str:
        """All three in words."""
        return f"{self.tasks} tasks, {self.seconds:.0f} s, {self.changed} changed"


def fresh_gateway(name: str) -> Host:
    """Make a gateway anew, beside the name server that it needs."""
    (gateway,) = select([name])
    hosts.remove(gateway.container)
    bring_up(["dns", name], internal=False)
    return gateway


def play(playbook: Path, name: str, *options: str, **settings: str) -> Run:
    """Run a playbook on a gateway, with Ansible's settings as variables. Raises LabError with its last words."""
    command = ["ansible-playbook", "--limit", name, *options, str(playbook)]
    own = {**environment(), **settings}
    started = time.monotonic()
    done = subprocess.run(command, cwd=PROJECT, env=own, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    recap = re.search(
        rf"^{name}\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=0\s+failed=0\s+skipped=(\d+)", done.stdout, re.MULTILINE
    )
    if done.returncode or not recap:
        raise LabError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    ok, changed, skipped = (int(number) for number in recap.groups())
    return Run(seconds, ok + skipped, changed)


def bare_tasks(count: int, place: Path) -> Path:
    """A playbook of as many tasks that do nothing."""
    tasks = [{"name": f"Task {n}", "command": "/bin/true", "changed_when": False} for n in range(count)]
    playbook = place / "bare.yml"
    playbook.write_text(json.dumps([{"hosts": "gateways", "gather_facts": False, "tasks": tasks}]))
    return playbook


def without_filters(place: Path) -> dict[str, str]:
    """Settings for bare tasks: each of Ansible's workers loads all filters there are, and these need none of ours."""
    return {"ANSIBLE_FILTER_PLUGINS": str(place)}
