"""sshd_host_keys: which keys a host has afterwards, and who is refused."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.modules import run_module

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen (openssh-client)")


def run(directory: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module, with short keys that are quick to make."""
    arguments = {
        "directory": str(directory),
        "rsa_bits": 2048,
        "require_key": False,
        **options,
    }
    return run_module("sshd_host_keys", arguments, check)


def make_key(path: Path, *options: str) -> bytes:
    """Make a key as an installation would; return the private half."""
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", str(path), *options], check=True)
    return path.read_bytes()


def test_an_ed25519_key_is_kept_and_a_short_rsa_key_gets_a_longer_one_beside_it(tmp_path: Path) -> None:
    ed25519 = make_key(tmp_path / "ssh_host_ed25519_key", "-t", "ed25519")
    short = make_key(tmp_path / "ssh_host_rsa_key", "-t", "rsa", "-b", "1024")
    answer = run(tmp_path)
    assert answer["changed"] is True
    assert answer["host_keys"] == [str(tmp_path / name) for name in ("ssh_host_ed25519_key", "ssh_host_rsa2048_key")]
    assert (tmp_path / "ssh_host_ed25519_key").read_bytes() == ed25519
    assert (tmp_path / "ssh_host_rsa_key").read_bytes() == short
    assert (tmp_path / "ssh_host_rsa2048_key").stat().st_mode & 0o777 == 0o600
    assert run(tmp_path)["changed"] is False


def test_an_rsa_key_that_is_long_enough_is_kept(tmp_path: Path) -> None:
    long = make_key(tmp_path / "ssh_host_rsa_key", "-t", "rsa", "-b", "2048")
    assert str(tmp_path / "ssh_host_rsa_key") in run(tmp_path)["host_keys"]
    assert (tmp_path / "ssh_host_rsa_key").read_bytes() == long


def test_check_mode_makes_no_key(tmp_path: Path) -> None:
    assert run(tmp_path, check=True)["changed"] is True
    assert list(tmp_path.iterdir()) == []


def test_short_groups_leave_the_moduli_file(tmp_path: Path) -> None:
    head = "# Time Type Tests Tries Size Generator Modulus\n"
    short, long = (f"20200101000000 2 6 100 {size} 2 ABCD\n" for size in (2047, 3071))
    (tmp_path / "moduli").write_text(head + short + long)
    run(tmp_path)
    assert (tmp_path / "moduli").read_text() == head + long


def test_it_says_who_is_logged_in_and_in_which_group(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid())
    answer = run(tmp_path, login=me.pw_name)
    assert (answer["login"], answer["login_group"]) == (me.pw_name, grp.getgrgid(me.pw_gid).gr_name)
    assert run(tmp_path, login="nobody-of-that-name")["login_group"] == ""


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 admin", False),
        ('from="192.0.2.1" ssh-rsa AAAAB3NzaC1yc2E admin', False),
        ("# ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 admin", True),
        ("", True),
    ],
)
def test_a_login_without_an_authorized_key_is_refused(tmp_path: Path, line: str, refused: bool) -> None:
    keys = tmp_path / "authorized"
    keys.write_text(line + "\n")
    me = pwd.getpwuid(os.getuid()).pw_name
    answer = run(tmp_path, require_key=True, login=me, authorized_keys_files=[str(keys)])
    assert bool(answer.get("failed")) is refused
    if refused:
        assert f"{me} has no authorized key" in answer["msg"]
        assert not (tmp_path / "ssh_host_ed25519_key").exists()
