"""The launcher ./gw: its verbs, what it needs of a machine, and what it says where something is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
GW = PROJECT / "gw"
NEEDS = ("readlink", "dirname", "cat", "sed")
DASH = shutil.which("dash")
FETCH = 'echo deb >> "$0.log"; for at in "$@"; do case $at in *archives=*) echo > "${at#*=}/a.deb" ;; esac; done'
"""apt-get that fetches something."""


def gw(*arguments: str, path: str = "", cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": path or "/usr/bin:/bin", **environment}
    command = [DASH or "/bin/sh", str(GW), *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)


def bare(folder: Path, *names: str) -> str:
    """A PATH of these programs alone."""
    for name in names:
        (folder / name).symlink_to(shutil.which(name) or "/nonexistent")
    return str(folder)


def place_programs(folder: Path, **scripts: str) -> None:
    """Put programs of these names in a folder."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def unpack(folder: Path, *packages: str) -> str:
    """Unpack packages below its folder cache, with the programs that lie in it; what that said."""
    command = ["/bin/sh", str(PROJECT / "requirements/unpack.sh"), str(folder / "cache"), *packages]
    said = subprocess.run(command, env={"PATH": f"{folder}:/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert said.returncode == 0
    return said.stderr


def test_it_starts_with_neither_make_nor_git_nor_python(tmp_path: Path) -> None:
    said = gw("help", path=bare(tmp_path, *NEEDS))
    assert said.returncode == 0 and "demo" in said.stdout and not said.stderr


def test_a_verb_that_there_is_not_is_named(tmp_path: Path) -> None:
    said = gw("dmeo", path=bare(tmp_path, *NEEDS))
    assert said.returncode == 2
    assert "gw: no verb dmeo" in said.stderr and "demo" in said.stderr


def test_a_playbook_that_there_is_not_is_named_with_those_that_are() -> None:
    for said in (gw("playbook"), gw("playbook", "sight")):
        assert said.returncode == 2 and "site" in said.stderr and "verify" in said.stderr


def test_a_playbook_runs_from_any_folder_by_the_checkouts_own_ansible(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("[gateways]\nmx1\n")
    if not (PROJECT / ".cache/venv/.ready").exists():
        pytest.skip("no virtual environment: ./gw setup makes it")
    said = gw("playbook", "site", "-i", "mine", "--list-hosts", cwd=tmp_path, HOME=str(tmp_path))
    assert said.returncode == 0, said.stderr
    assert "mx1" in said.stdout


def test_each_target_of_make_calls_a_verb_that_there_is() -> None:
    called = set(re.findall(r"\./gw (\w+)", (PROJECT / "Makefile").read_text()))
    cases = set(re.findall(r"^  ([\w |-]+)\)", GW.read_text(), re.MULTILINE))
    verbs = {verb.strip() for case in cases for verb in case.split("|")}
    assert {"demo", "test", "check", "setup"} <= called <= verbs


@pytest.mark.parametrize("is_there", [True, False])
def test_missing_packages_are_named_to_who_may_not_install_them(tmp_path: Path, is_there: bool) -> None:
    state = "install ok installed" if is_there else "unknown ok not-installed"
    place_programs(tmp_path, **{"dpkg-query": f"echo '{state}'", "id": "echo 1000"})
    (tmp_path / "list").write_text("# needed\nlibfoo\nbar\n")
    said = subprocess.run(
        ["/bin/sh", PROJECT / "requirements/packages.sh", tmp_path / "list"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == (0 if is_there else 1)
    assert is_there or "apt-get install --no-install-recommends libfoo bar" in said.stderr


@pytest.mark.parametrize("is_there", [True, False])
def test_daemons_for_tests_are_unpacked_once_and_missed_by_nobody_else(tmp_path: Path, is_there: bool) -> None:
    place_programs(tmp_path, **{"apt-get": FETCH if is_there else "exit 1", "dpkg-deb": 'mkdir -p "$3/usr"'})
    for _ in range(2):
        said = unpack(tmp_path, "slapd")
        assert said == ("" if is_there else "setup: not to be had: slapd; their tests are left out\n")
    assert (tmp_path / "cache/usr").exists() is is_there
    assert not is_there or (tmp_path / "apt-get.log").read_text() == "deb\n"
    assert not (tmp_path / "cache.archives").exists()


def test_what_was_unpacked_is_so_again_when_the_list_is_longer_and_stays_where_that_fails(tmp_path: Path) -> None:
    place_programs(tmp_path, **{"apt-get": FETCH, "dpkg-deb": 'mkdir -p "$3/usr"'})
    unpack(tmp_path, "slapd")
    old = tmp_path / "cache/usr/old"
    old.touch()
    place_programs(tmp_path, **{"apt-get": "exit 1"})
    assert unpack(tmp_path, "slapd", "unbound").startswith("setup: not to be had: slapd unbound;")
    assert old.exists()
    place_programs(tmp_path, **{"apt-get": FETCH})
    assert unpack(tmp_path, "slapd", "unbound") == ""
    assert (tmp_path / "cache/usr").exists() and not old.exists()


def test_an_environment_that_fits_the_locked_list_is_not_made_again(tmp_path: Path) -> None:
    ready = tmp_path / "venv/.ready"
    ready.parent.mkdir()
    (tmp_path / "dev.txt").write_text("ansible-core==0\n")
    (tmp_path / "setup.sh").write_bytes((PROJECT / "requirements/setup.sh").read_bytes())
    digest = subprocess.run("sha256sum < dev.txt", shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
    ready.write_bytes(digest)
    command = ["/bin/sh", "setup.sh", "venv"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    assert list(ready.parent.iterdir()) == [ready]


def test_a_set_up_that_fails_ends_the_verb(tmp_path: Path) -> None:
    """The packages that are missing are named, and nothing is run without them."""
    place_programs(tmp_path, **{"dpkg-query": "echo 'unknown ok not-installed'", "id": "echo 1000"})
    for verb in (["setup"], ["demo"], ["pytest", "tests/small"], ["playbook", "site"]):
        said = gw(*verb, path=f"{tmp_path}:/usr/bin:/bin", GATEWRIGHT_SMALL="1")
        assert said.returncode == 1, verb
        assert "setup: missing packages: python3" in said.stderr
        assert not said.stdout
