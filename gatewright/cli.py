"""gw VERB: the verbs that check this checkout. The launcher ./gw has set up what they need; make's targets call it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gatewright import nightly

PROJECT = Path(__file__).resolve().parents[1]
PYTEST = ("pytest", "-q", "-p", "no:cacheprovider")
WITHOUT_CONTAINERS = ("--numprocesses=2", "tests/unit", "tests/inventories", "tests/small")
NOT_OURS = {".git", ".cache", ".venv", ".build", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "out"}
SHELLS = (b"#!/bin/sh", b"#! /bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash", b"#!/usr/bin/env sh")
NOT_SHELL = {".j2", ".md", ".py", ".yml", ".patch"}
CPPCHECK = ("cppcheck", "--quiet", "--error-exitcode=1", "--enable=warning,portability,performance")
CPPCHECK_C = (
    "--inline-suppr",
    "--std=c11",
    "--suppress=normalCheckLevelMaxBranches",  # it says how deep it looks, not what is wrong
    "-DBARE_LIBC",  # without the assembly, which cppcheck cannot read
    "-D__SIZEOF_LONG__=8",
    "-Iroles/starttls/files/tls",
)
EACH_CONFTEST = 'mypy && for file; do mypy --no-error-summary "$file" || exit; done'
"""After all others, as all have one name and each must be looked at by itself."""
NOT_RUN_SMALL = (
    "test: this user or container may not start containers, so not run: molecule's scenarios (hosts that\n"
    "test: playbooks/site.yml builds: firewall, TLS, hardening, reboots). The small gateway shows their mail path."
)


@dataclass(frozen=True)
class Step:
    """A command of lint, by a name that failures are told with."""

    name: str
    command: Sequence[str]


def tracked() -> list[str]:
    """The project's files, as git knows them; in a copy without git, all but what tools leave."""
    if has_git():
        return output("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    found = []
    for folder, folders, names in os.walk(PROJECT):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        found += [str((Path(folder) / name).relative_to(PROJECT)) for name in names]
    return sorted(found)


def has_git() -> bool:
    """Whether this checkout has its history, and git is there to read it."""
    return (PROJECT / ".git").exists() and shutil.which("git") is not None


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


def is_shell(name: str) -> bool:
    """Whether a file is a shell script, by its first line."""
    path = PROJECT / name
    if path.suffix in NOT_SHELL or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline().startswith(SHELLS)


def lint_steps(is_quick: bool) -> list[Step]:
    """The commands of lint, the longest first; quick: ansible-lint looks at what is not committed alone."""
    files = [name for name in tracked() if (PROJECT / name).is_file()]
    c_files = [name for name in files if name.endswith(".c")]
    headers = [name for name in files if name.endswith(".h")]
    conftests = [name for name in files if Path(name).name == "conftest.py"]
    python = (
        Step("mypy", ["sh", "-c", EACH_CONFTEST, "sh", *conftests]),
        Step("ruff", ["ruff", "check", "."]),
        Step("ruff format", ["ruff", "format", "--check", "."]),
    )
    others = (
        Step("yamllint", ["yamllint", "--strict", "."]),
        Step("shellcheck", ["shellcheck", *filter(is_shell, files)]),
        Step("clang-format", ["clang-format", "--dry-run", "--Werror", *c_files, *headers]),
        Step("cppcheck", [*CPPCHECK, *CPPCHECK_C, *c_files]),
        Step("requirements.yml", ["ansible-galaxy", "install", "-r", "requirements.yml"]),
        Step("generated docs (./gw docs writes them)", [sys.executable, "-m", "docs.generate", "--check"]),
    )
    return [*ansible_lint(is_quick), *python, *others]


def ansible_lint(is_quick: bool) -> list[Step]:
    """All of Ansible's files, or those that are not committed."""
    command = ["ansible-lint", "--offline", "--strict", "-q"]
    if not is_quick:
        return [Step("ansible-lint", command)]
    if not has_git():
        print("check: ansible-lint not run: no git here to tell what changed; ./gw lint looks at all", flush=True)
        return []
    changed = output("git", "diff", "--name-only", "--diff-filter=d", "HEAD", "--", "*.yml").split()
    return [Step("ansible-lint", [*command, *changed])] if changed else []


def run_step(step: Step) -> bool:
    """Run one, and print what it said if it failed; returns whether it passed."""
    try:
        done = output_and_status(*step.command)
    except FileNotFoundError as error:
        print(f"lint: {step.name}: {error}", flush=True)
        return False
    if done.returncode:
        print(f"lint: {step.name} failed:\n{done.stdout}", flush=True)
    return done.returncode == 0


def lint(is_quick: bool = False) -> int:
    """All checks of form, side by side; returns the exit status."""
    steps = lint_steps(is_quick)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        passed = list(pool.map(run_step, steps))
    print(f"lint: {sum(passed)} of {len(steps)} passed", flush=True)
    return 0 if all(passed) else 1


def pytest(*arguments: str) -> int:
    """Run tests; returns the exit status."""
    return subprocess.run([*PYTEST, *arguments], cwd=PROJECT, check=False).returncode


def check() -> int:
    """The fast loop."""
    return lint(is_quick=True) or pytest("--numprocesses=2", "-m", "not slow", "tests/unit")


def unit() -> int:
    """Unit tests and the wrong inventories."""
    return pytest("tests/unit", "tests/inventories")


def molecule() -> int:
    """Molecule's scenarios only."""
    return pytest("tests/molecule")


def first_containers() -> int:
    """Make the lab's images, and have the demonstration run in bare containers; says at the end what that came to."""
    made = output_and_status(sys.executable, "-m", "lab", "images")
    bare = output_and_status(*PYTEST, "tests/bare")
    print(f"{made.stdout}{bare.stdout}", flush=True)
    return made.returncode or bare.returncode


def output_and_status(*command: str) -> subprocess.CompletedProcess[str]:
    """A command that has ended; stdout has all that it said."""
    return subprocess.run(
        command, cwd=PROJECT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test() -> int:
    """Everything that this machine can run; pytest's closing line is the last one printed.

    The first containers are made beside the unit tests: they wait for packages, mostly.
    """
    if status := lint():
        return status
    if os.environ.get("GATEWRIGHT_SMALL"):
        status = pytest(*WITHOUT_CONTAINERS)
        print(NOT_RUN_SMALL, flush=True)
        return status
    with ThreadPoolExecutor(1) as pool:
        containers = pool.submit(first_containers)
        status = pytest(*WITHOUT_CONTAINERS)
    return pytest("tests/molecule") or containers.result() or status


def docs() -> int:
    """Write the generated documentation again."""
    return subprocess.run([sys.executable, "-m", "docs.generate"], cwd=PROJECT, check=False).returncode


VERBS: dict[str, Callable[[], int]] = {
    "check": check,
    "docs": docs,
    "lint": lint,
    "molecule": molecule,
    "nightly": nightly.main,
    "quick": lambda: lint(is_quick=True),
    "test": test,
    "unit": unit,
}


def main(arguments: Sequence[str]) -> int:
    """Run one verb."""
    if len(arguments) != 1 or arguments[0] not in VERBS:
        print(f"usage: gw {' | '.join(VERBS)}", file=sys.stderr)
        return 2
    return VERBS[arguments[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
