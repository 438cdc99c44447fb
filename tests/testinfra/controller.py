"""What an administrator types on the controller: playbooks, run against the lab's gateways."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from lab.machine import environment
from lab.talk import COMMAND_SECONDS
from lab.topology import PROJECT


@dataclass(frozen=True)
class Run:
    """A playbook's run: its exit status and all it said."""

    status: int
    output: str

    def changed(self, host: str) -> int:
        """The number of changes in the recap of a host."""
        found = re.search(rf"^{host}\s+:.*changed=(\d+)", self.output, re.MULTILINE)
        assert found, self.output
        return int(found[1])


def playbook(
    path: str,
    host: str,
    *options: str,
    variables: Mapping[str, object] | None = None,
    succeeds: bool = True,
    seconds: float = COMMAND_SECONDS,
) -> Run:
    """Run a playbook of this project against one host; fail unless it ends as it should, and within `seconds`."""
    extra = ["--extra-vars", json.dumps(variables)] if variables else []
    done = subprocess.run(
        ["ansible-playbook", path, "--limit", host, *options, *extra],
        cwd=PROJECT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=seconds,
    )  # fmt: skip
    assert (done.returncode == 0) == succeeds, f"{path}: exit {done.returncode}\n{done.stdout}"
    return Run(done.returncode, done.stdout)
