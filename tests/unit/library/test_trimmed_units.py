"""trimmed_units: services stay off together with what could start them again, and a second run finds nothing to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatewright import PROJECT
from tests.modules import run_module

SYSTEMCTL = '''\
#!{python}
"""systemctl on a host whose units are in state.json; every change is a line of calls."""
import json, sys
from pathlib import Path
here = Path(__file__).parent
state = json.loads((here / "state.json").read_text())
verb, units = sys.argv[1], [word for word in sys.argv[2:] if not word.startswith("--")]
if verb == "show":
    for unit in units:
        alias, load, active = state.get(unit, [unit, "not-found", "inactive"])
        print(f"Id={{alias}}\\nNames={{alias}}\\nLoadState={{load}}\\nActiveState={{active}}\\n")
    sys.exit()
with (here / "calls").open("a") as calls:
    print(verb, *units, file=calls)
if verb == "kill":
    state = {{unit: facts for unit, facts in state.items() if unit not in units or facts[1] != "transient"}}
    (here / "state.json").write_text(json.dumps(state))
    sys.exit()
if verb == "stop" and set(units) - set(state):
    sys.exit(5)
for unit in units:
    alias, load, active = state.get(unit, [unit, "not-found", "inactive"])
    ends = verb in ("stop", "reset-failed")
    state[unit] = [alias, "masked" if verb == "mask" else load, "inactive" if ends else active]
(here / "state.json").write_text(json.dumps(state))
'''


class Host:
    """A host with a systemctl of its own. Units: name to (id, load state, active state)."""

    def __init__(self, folder: Path, units: dict[str, tuple[str, str]]) -> None:
        self.folder = folder
        program = folder / "systemctl"
        program.write_text(SYSTEMCTL.format(python=sys.executable))
        program.chmod(0o755)
        self.state_file = folder / "state.json"
        self.state_file.write_text(json.dumps({unit: [unit, *facts] for unit, facts in units.items()}))
        (folder / "system").mkdir()

    def state(self) -> Any:
        return json.loads(self.state_file.read_text())

    def calls(self) -> list[str]:
        """What was changed, in order."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, *names: str, check: bool = False) -> Any:
        places = {"masks": "system", "ledger_dir": "ledger", "built": "built"}
        arguments = {option: str(self.folder / name) for option, name in places.items()}
        return run_module("trimmed_units", {"names": list(names), **arguments}, check, programs=self.folder)

    def noted(self) -> list[str]:
        """What stands in the note of what was masked."""
        path = self.folder / "ledger" / "masked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    units = {
        "rpcbind.service": ("loaded", "active"),
        "rpcbind.socket": ("loaded", "active"),
        "apt-daily.service": ("loaded", "inactive"),
        "apt-daily.timer": ("loaded", "active"),
        "ssh.service": ("loaded", "active"),
    }
    return Host(tmp_path, units)


def test_a_service_is_stopped_after_its_socket_and_both_are_masked(host: Host) -> None:
    result = host.run("rpcbind")
    assert result["changed"]
    assert result["trimmed"] == ["rpcbind.service", "rpcbind.socket"]
    stops = [call for call in host.calls() if call.startswith("stop")]
    assert stops == ["stop rpcbind.socket", "stop rpcbind.service"]
    assert host.state()["rpcbind.service"][1:] == ["masked", "inactive"]
    assert host.state()["rpcbind.socket"][1:] == ["masked", "inactive"]


def test_units_that_nobody_named_are_left_alone(host: Host) -> None:
    host.run("rpcbind", "apt-daily")
    assert host.state()["ssh.service"][1:] == ["loaded", "active"]
    assert host.state()["apt-daily.timer"][1:] == ["masked", "inactive"]


def test_a_second_run_changes_nothing(host: Host) -> None:
    host.run("rpcbind", "apt-daily")
    calls = host.calls()
    result = host.run("rpcbind", "apt-daily")
    assert (result["changed"], result["trimmed"]) == (False, [])
    assert host.calls() == calls


def test_a_service_that_this_host_does_not_have_is_masked_without_its_timer(host: Host) -> None:
    assert host.run("cups")["trimmed"] == ["cups.service"]
    assert host.calls()[0] == "mask cups.service"


def test_a_masked_service_that_still_runs_is_stopped(tmp_path: Path) -> None:
    host = Host(tmp_path, {"atd.service": ("masked", "active")})
    assert host.run("atd")["trimmed"] == ["atd.service"]
    assert host.state()["atd.service"][2] == "inactive"


@pytest.mark.parametrize("load", ["loaded", "masked"])
def test_a_service_that_had_failed_is_not_a_failed_one_any_more(tmp_path: Path, load: str) -> None:
    host = Host(tmp_path, {"usbguard-dbus.service": (load, "failed")})
    assert host.run("usbguard-dbus")["trimmed"] == ["usbguard-dbus.service"]
    assert host.state()["usbguard-dbus.service"][1:] == ["masked", "inactive"]
    assert not host.run("usbguard-dbus")["changed"]


def test_an_alias_of_another_unit_is_left_to_that_one(tmp_path: Path) -> None:
    host = Host(tmp_path, {})
    host.state_file.write_text(json.dumps({"syslog.service": ["rsyslog.service", "loaded", "active"]}))
    assert host.run("syslog")["trimmed"] == []
    assert host.calls() == []


def test_check_mode_shows_a_true_diff_and_changes_nothing(host: Host) -> None:
    result = host.run("rpcbind", check=True)
    assert result["changed"]
    assert "rpcbind.service loaded active" in result["diff"]["before"]
    assert "rpcbind.service masked inactive" in result["diff"]["after"]
    assert host.calls() == []


@pytest.mark.parametrize("name", ["rpcbind.service", "../etc", " "])
def test_what_is_no_unit_name_is_refused_by_name(host: Host, name: str) -> None:
    result = host.run("rpcbind", name)
    assert result["failed"]
    assert repr(name) in result["msg"]
    assert host.calls() == []


def test_a_service_without_a_unit_file_is_gone_once_it_is_killed(tmp_path: Path) -> None:
    host = Host(tmp_path, {"web.service": ("transient", "active"), "atd.service": ("loaded", "inactive")})
    assert host.run("web", "atd")["changed"]
    assert host.state()["web.service"][1:] == ["masked", "inactive"]


def test_a_service_that_does_not_stop_is_named(tmp_path: Path) -> None:
    host = Host(tmp_path, {"web.service": ("loaded", "active")})
    program = tmp_path / "systemctl"
    program.write_text(program.read_text().replace('verb in ("stop", "reset-failed")', "False"))
    assert "does not stop web.service" in host.run("web")["msg"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("target", [None, "/nowhere/rpcbind.socket"])
def test_where_a_mask_cannot_be_made_nothing_is_stopped(host: Host, check: bool, target: str | None) -> None:
    """`systemctl mask` failed at the end, when the service was stopped and disabled."""
    place = host.folder / "system" / "rpcbind.socket"
    place.symlink_to(target) if target else place.write_text("[Socket]\n")
    result = host.run("apt-daily", "rpcbind", check=check)
    assert result["failed"]
    assert result["msg"].startswith(f"rpcbind.socket cannot be masked, and nothing was stopped: {place} would")
    assert host.calls() == []


def test_a_mask_and_the_link_to_a_unit_elsewhere_are_not_in_the_way(host: Host) -> None:
    (host.folder / "system" / "rpcbind.socket").symlink_to("/dev/null")
    (host.folder / "system" / "rpcbind.service").symlink_to(host.state_file)
    assert host.run("rpcbind")["trimmed"] == ["rpcbind.service", "rpcbind.socket"]


def test_a_name_with_a_dot_that_is_no_suffix_is_one(tmp_path: Path) -> None:
    host = Host(tmp_path, {"php8.2-fpm.service": ("loaded", "active")})
    assert host.run("php8.2-fpm")["trimmed"] == ["php8.2-fpm.service"]


def test_what_is_masked_is_noted_and_stays_noted(host: Host) -> None:
    host.run("rpcbind")
    host.run("cups", "apt-daily")
    noted = ["apt-daily.service", "apt-daily.timer", "cups.service", "rpcbind.service", "rpcbind.socket"]
    assert host.noted() == noted
    host.run("cups")
    assert host.noted() == noted


def test_what_somebody_else_masked_is_not_noted_though_it_is_stopped(tmp_path: Path) -> None:
    host = Host(tmp_path, {"ntp.service": ("masked", "inactive"), "atd.service": ("masked", "active")})
    assert host.run("ntp", "atd")["trimmed"] == ["atd.service"]
    assert host.noted() == []


def test_check_mode_notes_nothing(host: Host) -> None:
    host.run("rpcbind", check=True)
    assert host.noted() == []


def test_a_note_that_begins_after_an_earlier_release_says_that_it_is_not_all(host: Host) -> None:
    (host.folder / "built").touch()
    host.run("cups")
    host.run("rpcbind")
    assert [line.startswith("#") for line in host.noted()] == [True, False, False, False]
    assert host.noted()[1:] == ["cups.service", "rpcbind.service", "rpcbind.socket"]


def test_the_note_is_there_before_the_mask(host: Host) -> None:
    """A run may be cut between the two."""
    program = host.folder / "systemctl"
    program.write_text(program.read_text().replace('"stop" and', '"mask" or verb == "stop" and'))
    assert host.run("cups")["failed"]
    assert host.noted() == ["cups.service"]


UNMASK = """\
#!/bin/sh
# systemctl: the units whose masks were taken away
[ "$1" = unmask ] && echo "$3" >> {calls}
"""


@pytest.mark.parametrize(
    ("note", "freed"),
    [
        ("old-name.service\ncups.socket\n", ["old-name.service", "cups.socket"]),
        ("", []),
        (None, ["rpcbind.service", "rpcbind.socket", "ntp.service"]),
        ("# begun late\ncups.socket\n", ["cups.socket", "rpcbind.service", "rpcbind.socket", "ntp.service"]),
    ],
    ids=["by the note alone", "nothing was masked", "no note", "a note that is not all"],
)
def test_remove_unmasks_what_was_noted_and_goes_by_the_inventory_where_no_note_tells_all(
    tmp_path: Path, note: str | None, freed: list[str]
) -> None:
    units, ledger, calls = tmp_path / "units", tmp_path / "masked", tmp_path / "calls"
    units.mkdir()
    for unit in ("old-name.service", "cups.socket", "rpcbind.service", "rpcbind.socket", "ntp.service"):
        (units / unit).symlink_to("/dev/null")  # the inventory names rpcbind, and ntp, which its administrator masked
    if note is not None:
        ledger.write_text(note)
    (tmp_path / "systemctl").write_text(UNMASK.format(calls=calls))
    (tmp_path / "systemctl").chmod(0o755)
    (task,) = yaml.safe_load((PROJECT / "roles/service_trimming/tasks/removed.yml").read_text())
    script = re.sub(r"{{.*?}}", "rpcbind ntp lpd", task["ansible.builtin.shell"]["cmd"])
    script = script.replace("/var/lib/gatewright/masked", str(ledger)).replace("/etc/systemd/system", str(units))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == freed
    assert (calls.read_text().split() if calls.exists() else []) == freed
