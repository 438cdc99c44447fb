"""Modules of the project, run as Ansible runs them: a process with its arguments as JSON on standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewright import PROJECT

RUN = """
import runpy, sys
import ansible.module_utils
module_utils, *sys.argv = sys.argv[1:]
ansible.module_utils.__path__.append(module_utils)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Ansible packs a project's module_utils into its own package."""
SECONDS = 60


def run_module(
    name: str, arguments: Mapping[str, Any], check: bool = False, diff: bool = False, programs: Path | None = None
) -> dict[str, Any]:
    """What a module answers. programs: a directory whose programs it finds first."""
    (path,) = (path for pattern in ("library", "roles/*/library") for path in PROJECT.glob(f"{pattern}/{name}.py"))
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(PROJECT / "module_utils"), str(path)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}}),
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"} if programs else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if not done.stdout:
        raise AssertionError(f"{name} answered nothing: {done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
