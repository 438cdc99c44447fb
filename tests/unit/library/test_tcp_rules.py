"""tcp_rules: rules take effect only after they were proved, and a second run changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.modules import run_module

RULES = '127.:allow,RELAYCLIENT=""\n10.0.0.1-9:allow,RELAYCLIENT=""\n192.0.2.:deny\n:allow\n'
PROOFS = [
    {"address": "10.0.0.9", "entry": "office", "deny": False, "env": {"RELAYCLIENT": ""}},
    {"address": "10.0.0.10", "entry": "office", "deny": False, "env": {}},
    {"address": "192.0.2.7", "entry": "spammer", "deny": True},
]

pytestmark = pytest.mark.skipif(
    shutil.which("tcprulescheck") is None, reason="tcprules is not installed here (Debian: ucspi-tcp-ipv6)"
)


def run(
    folder: Path, content: str = RULES, proofs: list[dict[str, Any]] | None = None, check: bool = False
) -> dict[str, Any]:
    """Run the module."""
    arguments = {
        "path": str(folder / "tcp.smtp"),
        "content": content,
        "proofs": PROOFS if proofs is None else proofs,
    }
    return run_module("tcp_rules", arguments, check)


def asked(folder: Path, address: str) -> str:
    return subprocess.run(
        [shutil.which("tcprulescheck") or "", folder / "tcp.smtp.cdb"],
        env={"TCPREMOTEIP": address},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {item.name: (item.read_bytes(), item.stat().st_ino) for item in folder.iterdir()}


def test_rules_are_installed_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert first["changed"] and first["proved"] == len(PROOFS)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["tcp.smtp", "tcp.smtp.cdb"]
    assert (tmp_path / "tcp.smtp.cdb").stat().st_mode & 0o777 == 0o644
    assert "RELAYCLIENT=" in asked(tmp_path, "10.0.0.5")
    before = snapshot(tmp_path)
    assert run(tmp_path)["changed"] is False
    assert snapshot(tmp_path) == before


def test_a_client_that_is_removed_loses_its_right(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, RULES.replace("10.0.0.1-9", "10.0.0.1-8"), [])["changed"]
    assert "RELAYCLIENT" not in asked(tmp_path, "10.0.0.9")


def test_a_failed_proof_names_its_entry_and_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    before = snapshot(tmp_path)
    result = run(tmp_path, RULES.replace("192.0.2.:deny", "192.0.2.0:deny"))
    assert result["failed"]
    assert "spammer: 192.0.2.7 must be denied, but rule (everyone) says allowed" in result["msg"]
    assert snapshot(tmp_path) == before


def test_rules_that_count_on_a_file_are_installed_only_where_it_is(tmp_path: Path) -> None:
    wanted = tmp_path / "policy"
    arguments = {"path": str(tmp_path / "tcp.smtp"), "content": RULES, "needed": {str(wanted): "switch it on"}}
    result = run_module("tcp_rules", arguments)
    assert result["failed"] and result["msg"] == f"nothing was changed: {wanted} is missing: switch it on"
    assert not list(tmp_path.iterdir())
    assert run_module("tcp_rules", arguments, True)["changed"], "a check of a host that has not been installed yet"
    wanted.touch()
    assert run_module("tcp_rules", arguments)["changed"]


@pytest.mark.parametrize("line", ["10.0.0.1", "10.0.0.1:alow", '10.0.0.1:allow,A="x', "10.a-5.:allow", " "])
def test_a_line_that_is_no_rule_is_refused_and_does_not_hang(tmp_path: Path, line: str) -> None:
    run(tmp_path)
    before = snapshot(tmp_path)
    assert run(tmp_path, f"{RULES}{line}\n")["failed"]
    assert snapshot(tmp_path) == before


def test_a_stale_damaged_or_missing_compiled_file_is_put_right(tmp_path: Path) -> None:
    run(tmp_path)
    compiled = tmp_path / "tcp.smtp.cdb"
    good = compiled.read_bytes()
    compiled.write_bytes(good[:-4] + b"oops")
    assert run(tmp_path)["changed"] and compiled.read_bytes() == good
    compiled.unlink()
    assert run(tmp_path)["changed"] and compiled.read_bytes() == good
    compiled.chmod(0o600)
    assert run(tmp_path)["changed"] and compiled.stat().st_mode & 0o777 == 0o644


def test_check_mode_shows_the_difference_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    run(tmp_path)
    before = snapshot(tmp_path)
    result = run(tmp_path, RULES.replace("192.0.2.", "198.51.100."), [], check=True)
    assert result["changed"] and "198.51.100." in result["diff"]["after"] and "192.0.2." in result["diff"]["before"]
    assert snapshot(tmp_path) == before
    assert run(tmp_path, RULES.replace("192.0.2.", "198.51.100."), check=True)["failed"], "a check proves the rules too"
