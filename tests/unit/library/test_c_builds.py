"""The C programs: one Makefile each, by which the role's package, the tests and the benchmarks build them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from gatewright.chapters import source_build

PROJECT = Path(__file__).parents[3]
PROGRAMS = {
    "gatepost": (("client", "package"), {"gatepost-remote"}),
    "scanner": (("client", "package"), {"gatescan-queue"}),
    "starttls": (("Makefile", "smtpd", "tls", "package"), {"starttls-smtpd"}),
}


@pytest.mark.parametrize("role", PROGRAMS)
def test_what_a_recipe_compiles_is_what_its_package_installs(role: str, tmp_path: Path) -> None:
    folders, programs = PROGRAMS[role]
    variables = yaml.safe_load((PROJECT / "roles" / role / "vars/main.yml").read_text())
    recipe = variables.get(f"_{role}_recipe") or variables[f"{role}__recipe"]
    for name, text in source_build.role_files(role, *folders).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["/bin/sh", "-ec", recipe["compile"]], cwd=tmp_path, check=True, capture_output=True)
    installed = (tmp_path / "package/install.sh").read_text()
    for program in programs:
        assert (tmp_path / program).stat().st_mode & 0o111, f"{program} was not built where install.sh looks for it"
        assert re.search(rf"^install .* {program} ", installed, re.MULTILINE)


def test_what_make_leaves_in_a_role_does_not_go_into_its_package() -> None:
    subprocess.run(["make", "-s", "-C", str(PROJECT / "roles/scanner/files/client")], check=True)
    names = set(source_build.role_files("scanner", "client"))
    assert names == {"client/Makefile", "client/bare.h", "client/gatescan-queue.c"}


def test_nothing_but_the_makefiles_knows_how_a_program_is_compiled() -> None:
    others = subprocess.run(
        ["git", "grep", "-lE", "-e", "-nostdlib|-lcrypto", "--", "*.py", "*.sh", "*.yml"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert set(others) <= {"tests/unit/library/test_c_builds.py"}
