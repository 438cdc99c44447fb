"""What an administrator types on the controller: playbooks and commands, run against the lab's gateways."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.machine import environment
from lab.talk import COMMAND_SECONDS
from lab.topology import PROJECT


@dataclass(frozen=True)
class Run:
    """What came of a command: its exit status and all it said."""

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
    project: Path = PROJECT,
) -> Run:
    """Run a playbook of this project against one host; fail unless it ends as it should, and within `seconds`.

    project: the folder of another release.
    """
    command = ["ansible-playbook", path, "--limit", host, *options, *extra_variables(variables)]
    return call(command, succeeds, seconds, project)


def extra_variables(variables: Mapping[str, object] | None) -> list[str]:
    """Variables as a playbook's command line has them."""
    return ["--extra-vars", json.dumps(variables)] if variables else []


def call(command: Sequence[str], succeeds: bool, seconds: float = COMMAND_SECONDS, project: Path = PROJECT) -> Run:
    """Run a command in the project's folder; fail unless it ends as it should, and within `seconds`."""
    # another release must not find this one's Python packages
    own = {} if project == PROJECT else {"PYTHONPATH": "", "ANSIBLE_CONFIG": str(project / "ansible.cfg")}
    done = subprocess.run(
        command, cwd=project, env=environment() | own, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds,
    )  # short arguments, many a line # fmt: skip
    assert (done.returncode == 0) == succeeds, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}"
    return Run(done.returncode, done.stdout)
