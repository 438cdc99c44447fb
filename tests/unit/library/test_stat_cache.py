"""stat_cache: what a module found in order is trusted until somebody touches what it looked at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from on_gateway import stat_cache

from tests.modules import run_module

MOUNTED = "36 25 0:30 / /srv rw,nodev - ext4 /dev/vda rw\n"
SS = """#!/bin/sh
cat {listening}
"""
MODULI = "20250101000000 2 6 100 4095 2 ABC\n"


class Host:
    """Folders in the place of a host's, with a ledger."""

    def __init__(self, top: Path) -> None:
        self.top, self.ledger = top, top / "ledger"
        self.ledger.mkdir()
        (top / "bin").mkdir()

    def file(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Write a file; return its path."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def run(self, module: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run a module, which notes that all is in order."""
        noted = {"task": "a task", "digest": "d", "place": str(self.ledger)}
        answer = run_module(module, {**arguments, "noted": noted}, check, programs=self.top / "bin")
        assert not answer.get("failed"), answer
        return answer

    @property
    def untouched(self) -> dict[str, Any]:
        """What the survey would tell of that task."""
        return stat_cache.untouched(str(self.ledger))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Host(tmp_path)


def kernel(host: Host) -> Callable[[], dict[str, Any]]:
    host.file("proc/net/ipv4/ip_forward", "1\n")
    return lambda: host.run("live_sysctl", root=str(host.top / "proc"), settings={"net.ipv4.ip_forward": 0, "none": 1})


def mounts(host: Host) -> Callable[[], dict[str, Any]]:
    fstab, shown = host.file("fstab", "/dev/vda /srv ext4 nodev 0 2\n"), host.file("mountinfo", MOUNTED)
    wanted = {"/srv": ["nodev"], "/home": ["nodev"]}
    return lambda: host.run("mount_options", wanted=wanted, fstab=str(fstab), mounts=str(shown))


def modes(host: Host) -> Callable[[], dict[str, Any]]:
    host.file("files/a.log", "", 0o666)
    host.file("files/tool", "", 0o4755)
    limits, files = {f"{host.top}/files/*.log": "0640"}, str(host.top / "files")
    return lambda: host.run("strict_modes", limits=limits, search=files)


def sockets(host: Host) -> Callable[[], dict[str, Any]]:
    host.file("listening", 'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=2,fd=3))\n')
    host.file("bin/ss", SS.format(listening=host.top / "listening"), 0o755)
    return lambda: host.run("declared_sockets", declared=[{"proto": "tcp", "port": 22, "owner": "sshd"}])


def further_domains(host: Host) -> Callable[[], dict[str, Any]]:
    (host.top / "control").mkdir()
    return lambda: host.run("morercpthosts", control=str(host.top / "control"), domains=[])


def host_keys(host: Host) -> Callable[[], dict[str, Any]]:
    host.file("ssh/moduli", MODULI)
    return lambda: host.run(
        "sshd_host_keys", directory=str(host.top / "ssh"), rsa_bits=2048, require_key=False, login="root"
    )


def rules(host: Host) -> Callable[[], dict[str, Any]]:
    policy = host.file("policy", "")
    return lambda: host.run(
        "tcp_rules", path=str(host.top / "tcp.smtp"), content=":allow\n", needed={str(policy): "switch it on"}
    )


def guarded(host: Host) -> Callable[[], dict[str, Any]]:
    rules, force = host.file("nftables.conf", "table\n"), host.file("in-force", "")
    return lambda: host.run(
        "guarded_files",
        name="firewall",
        files={str(rules): "table\n"},
        apply="true",
        in_force=f"test -e {force}",
        state_dir=str(host.top / "guard"),
    )


def no_tool(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(name), reason=f"needs {name}")


CASES = [
    pytest.param(kernel, lambda top: (top / "proc/net/ipv4/ip_forward").write_text("1\n"), id="a kernel parameter"),
    pytest.param(mounts, lambda top: (top / "fstab").write_text(""), id="a line of fstab"),
    pytest.param(mounts, lambda top: (top / "mountinfo").write_text(MOUNTED.replace(",nodev", "")), id="a mount"),
    pytest.param(
        mounts, lambda top: (top / "mountinfo").open("a").write(MOUNTED.replace("srv", "home")), id="a new one"
    ),
    pytest.param(modes, lambda top: (top / "files/a.log").chmod(0o644), id="a mode"),
    pytest.param(modes, lambda top: (top / "files/b.log").touch(0o666), id="a new file"),
    pytest.param(modes, lambda top: shutil.copy2(top / "files/tool", top / "files/another"), id="a set-id program"),
    pytest.param(sockets, lambda top: (top / "listening").write_text(""), id="a socket that is gone"),
    pytest.param(
        sockets, lambda top: (top / "listening").open("a").write("udp UNCONN 0 0 *:69 *:*\n"), id="a new socket"
    ),
    pytest.param(further_domains, lambda top: (top / "control/morercpthosts.cdb").touch(), id="a compiled list"),
    pytest.param(
        host_keys, lambda top: (top / "ssh/ssh_host_ed25519_key").unlink(), id="a key", marks=no_tool("ssh-keygen")
    ),
    pytest.param(
        host_keys, lambda top: (top / "ssh/moduli").write_text(""), id="the moduli", marks=no_tool("ssh-keygen")
    ),
    pytest.param(rules, lambda top: (top / "tcp.smtp").write_text(""), id="rules", marks=no_tool("tcprules")),
    pytest.param(rules, lambda top: (top / "tcp.smtp.cdb").unlink(), id="compiled rules", marks=no_tool("tcprules")),
    pytest.param(rules, lambda top: (top / "policy").unlink(), id="what rules need", marks=no_tool("tcprules")),
    pytest.param(guarded, lambda top: (top / "nftables.conf").chmod(0o600), id="a guarded file"),
    pytest.param(guarded, lambda top: (top / "in-force").unlink(), id="what is not in force"),
    pytest.param(guarded, lambda top: (top / "guard/firewall/armed").mkdir(parents=True), id="an unconfirmed change"),
]


@pytest.mark.parametrize(("prepare", "touch"), CASES)
def test_what_a_module_found_in_order_is_trusted_until_it_is_touched(
    host: Host, prepare: Callable[[Host], Callable[[], dict[str, Any]]], touch: Callable[[Path], object]
) -> None:
    run = prepare(host)
    run()
    (known,) = host.untouched.values()
    again = run()
    assert again["changed"] is False
    assert known.items() <= again.items(), "a task that is not sent answers what its module would"
    touch(host.top)
    assert host.untouched == {}


@pytest.mark.parametrize("prepare", [kernel, modes], ids=["parameters", "modes"])
def test_a_check_notes_nothing(host: Host, prepare: Callable[[Host], Callable[[], dict[str, Any]]]) -> None:
    run = prepare(host)
    sent, host.run = host.run, lambda module, **arguments: sent(module, check=True, **arguments)  # type: ignore[method-assign]  # the same call
    run()
    assert host.untouched == {}


def test_what_stays_wrong_is_not_in_order(host: Host) -> None:
    """Nothing is noted of a parameter that took, and was set back at once."""
    parameter = host.file("proc/net/ipv4/ip_forward", "1\n")
    stat_cache.keep(
        {"task": "t", "digest": "d", "place": str(host.ledger)},
        [("file", str(parameter))],
        {},
        lambda: parameter.read_text() == "0\n",
    )
    assert host.untouched == {}


def test_without_a_ledger_nothing_is_noted(host: Host) -> None:
    host.ledger.rmdir()
    stat_cache.keep({"task": "t", "digest": "d", "place": str(host.ledger)}, [], {}, lambda: True)
    assert not host.ledger.exists()


def test_what_is_not_in_force_when_it_is_looked_at_is_not_noted(host: Host) -> None:
    """It may be a moment later, and would be trusted as long as it is not."""
    looks = [("succeeds", f"test -e {host.top}/loaded")]
    stat_cache.keep({"task": "t", "digest": "d", "place": str(host.ledger)}, looks, {}, lambda: True)
    assert host.untouched == {}
    host.file("loaded", "")
    stat_cache.keep({"task": "t", "digest": "d", "place": str(host.ledger)}, looks, {}, lambda: True)
    assert list(host.untouched) == ["d"]


@pytest.mark.parametrize("digest", ["[]", '["d"]'])
def test_a_damaged_digest_is_none_of_a_tasks(host: Host, digest: str) -> None:
    host.file("ledger/stat-cache", f'{{"t": {{"digest": {digest}, "marks": []}}}}')
    assert "d" not in host.untouched
