"""The playbooks work from any folder and any project, and a run that would do nothing is an error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
PLAYBOOKS = sorted(path.name for path in (PROJECT / "playbooks").glob("*.yml"))
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
GATEWAY = {"qmail_postmaster": "postmaster@example.org", "ansible_host": "192.0.2.1"}


@pytest.fixture
def company(tmp_path: Path) -> Path:
    """A repository of a company's own: its inventory, its settings, and a playbook that imports site.yml."""
    (tmp_path / "ansible.cfg").write_text("[defaults]\nnocows = true\n")
    write(tmp_path / "company.yml", [{"import_playbook": str(PROJECT / "playbooks" / "site.yml")}])
    inventory(tmp_path, gateways={"gw1": GATEWAY}, office={"mail": {}})
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/connected\nexit 255\n')
    ssh.chmod(0o755)
    return tmp_path


def write(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content))


def inventory(folder: Path, **groups: dict[str, Any]) -> None:
    write(folder / "hosts.yml", {"all": {"children": {name: {"hosts": hosts} for name, hosts in groups.items()}}})


def play(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook in a company's folder, by its settings alone."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHONPATH"))}
    return subprocess.run(
        [ANSIBLE, "-i", "hosts.yml", *arguments],
        cwd=folder,
        env={**own, "ANSIBLE_SSH_EXECUTABLE": str(folder / "ssh"), "ANSIBLE_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_every_playbook_is_read_from_another_folder_with_other_settings(company: Path, name: str) -> None:
    done = play(company, str(PROJECT / "playbooks" / name), "--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_repository_imports_site_yml_and_its_wrong_inventory_is_refused(company: Path) -> None:
    inventory(company, gateways={"gw1": GATEWAY | {"sshd_port": 99999}})
    done = play(company, "company.yml")
    assert done.returncode != 0
    assert "sshd_port: must be a number from 1 to 65535" in done.stdout + done.stderr
    assert not (company / "connected").exists()


def test_another_repository_finds_every_role_and_module(company: Path) -> None:
    done = play(company, "company.yml", "--list-tasks")
    assert done.returncode == 0, done.stderr
    assert "tcp_smtp : Compile, prove and install the rules" in done.stdout


def test_a_relay_clients_job_tells_gatekeeper_for_whom_it_sends_before_it_may_relay(company: Path) -> None:
    done = play(company, "company.yml", "--tags", "tcp_smtp", "--list-tasks")
    told = done.stdout.partition("gatekeeper : Own its configuration and its service")
    assert told[1] and "tcp_smtp : Compile, prove and install the rules" in told[2], done.stdout
    assert "no longer wanted" not in done.stdout


@pytest.mark.parametrize("playbook", PLAYBOOKS)
@pytest.mark.parametrize(
    ("groups", "arguments", "words"),
    [
        ({"gateway": {"gw1": GATEWAY}}, (), "has no group gateways, but gateway: its gateways must be in gateways"),
        ({"gateways": {}}, (), "is empty"),
        ({"gateways": {"gw1": GATEWAY}, "office": {"mail": {}}}, ("--limit", "office"), "--limit leaves none of"),
        ({"gateways": {"gw1": GATEWAY}}, ("-e", "nonsense=1"), "nonsense: nobody reads this variable"),
    ],
    ids=["misspelt group", "empty group", "limit", "variable"],
)
def test_a_run_that_would_do_nothing_is_an_error(
    company: Path, playbook: str, groups: dict[str, Any], arguments: tuple[str, ...], words: str
) -> None:
    inventory(company, **groups)
    done = play(company, str(PROJECT / "playbooks" / playbook), *arguments)
    assert done.returncode != 0, done.stdout
    assert words in done.stdout + done.stderr
    assert not (company / "connected").exists()


def test_an_inventory_that_is_not_there_is_an_error(company: Path) -> None:
    (company / "hosts.yml").unlink()
    done = play(company, "company.yml")
    assert done.returncode != 0
    assert "has no group gateways" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("playbook", "slip", "meant"),
    [
        ("cutoff.yml", "mial", "mail"),
        ("outbreak.yml", "extention", "extension"),
        ("site.yml", "gatewright_serail", "gatewright_serial"),
    ],
)
def test_a_slip_on_the_command_line_is_named_with_what_was_meant(
    company: Path, playbook: str, slip: str, meant: str
) -> None:
    done = play(company, str(PROJECT / "playbooks" / playbook), "-e", f"{slip}=x")
    assert done.returncode != 0
    assert f"{slip}: nobody reads this variable; did you mean '{meant}'?" in done.stdout + done.stderr


def test_a_variable_that_the_inventory_is_made_of_may_come_from_the_command_line(company: Path) -> None:
    inventory(company, gateways={"gw1": GATEWAY | {"qmail_me": "{{ site }}.example.org"}})
    done = play(company, "company.yml", "-e", "site=berlin", "--list-tasks")
    assert done.returncode == 0
    told = play(company, "company.yml", "-e", "site=berlin", "-e", "sshd_port=0")
    assert "site: nobody" not in told.stdout + told.stderr
    assert "sshd_port: must be" in told.stdout + told.stderr


def batches(company: Path, serial: Any) -> list[list[str]]:
    """The hosts of each batch, by who learns which Debian it is; locally, and without a look at this machine."""
    hosts = {f"gw{number}": {"ansible_host": f"192.0.2.{number}"} for number in range(1, 6)}
    inventory(company, gateways=hosts)
    (company / "group_vars").mkdir()
    own = {"qmail_postmaster": "p@example.org", "gatewright_serial": serial, "ansible_connection": "local"}
    write(company / "group_vars" / "gateways.yml", own | {"ansible_python_interpreter": sys.executable})
    done = play(company, "company.yml", "--tags", "nothing_but_always", "--skip-tags", "survey")
    assert done.returncode == 0, done.stdout + done.stderr
    looks = done.stdout.split("TASK [Learn which Debian this is]")[1:]
    return [sorted(re.findall(r"^ok: \[(gw\d)\]", look.split("\nTASK")[0], re.MULTILINE)) for look in looks]


@pytest.mark.parametrize(
    ("playbook", "given", "words"),
    [
        ("upgrade.yml", "upgrade_reboot=nevr", "upgrade_reboot: must be true or false, not 'nevr'"),
        ("remove.yml", "remove_data=ture", "remove_data: must be true or false, not 'ture'"),
        ("remove.yml", "remove_seconds=ten", "remove_seconds: must be a number, not 'ten'"),
        ("verify.yml", "verify_recipient=a@b,c@d", "verify_recipient: must be one mail address"),
        ("verify.yml", "verify_seconds=0", "verify_seconds: must be a number from 1 on"),
        ("report.yml", "report_file=", "report_file: is empty"),
        ("verify.yml", "verify_closed_ports=80", "verify_closed_ports: must be a list, not a string"),
    ],
)
def test_a_value_that_a_playbook_can_make_nothing_of_is_an_error(
    company: Path, playbook: str, given: str, words: str
) -> None:
    done = play(company, str(PROJECT / "playbooks" / playbook), "-e", given)
    assert done.returncode != 0
    assert words in done.stdout + done.stderr
    assert not (company / "connected").exists()


def test_a_misspelt_tag_is_remarked_on_where_a_company_may_have_it(company: Path) -> None:
    done = play(company, "company.yml", "--tags", "tcp_smpt,qmail", "-e", "sshd_port=0")
    told = " ".join((done.stdout + done.stderr).split())
    assert "no task of Gatewright has the tag tcp_smpt; did you mean 'tcp_smtp'?" in told
    assert "sshd_port: must be" in told


def test_an_inventory_is_checked_without_its_hosts(company: Path) -> None:
    done = play(company, str(PROJECT / "playbooks" / "preflight.yml"))
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0 and "The inventory of gw1 is right" in told, told
    done = play(company, str(PROJECT / "playbooks" / "preflight.yml"), "-e", "sshd_port=0")
    assert done.returncode != 0 and "sshd_port: must be" in done.stdout + done.stderr
    assert not (company / "connected").exists()


def test_a_file_of_variables_that_nobody_reads_is_remarked_on_if_its_name_is_a_slip(company: Path) -> None:
    inventory(company, gateways={"mx1.corp.test": GATEWAY})
    for kind, names in (
        ("group", ("gateways.yml", "gateway.yml", "office.yml", ".gateway.yml.swp")),
        ("host", ("mx1.corp.test.yml", "mx1.yml", "db.corp.test.yml")),
    ):
        (company / f"{kind}_vars").mkdir()
        for name in names:
            write(company / f"{kind}_vars" / name, {})
    (company / "host_vars" / "mx1.corp.tset").mkdir()
    done = play(company, str(PROJECT / "playbooks" / "preflight.yml"))
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, told
    assert told.count("nobody reads it") == 3, told
    assert "group_vars/gateway.yml: nobody reads it, as the inventory has no group gateway; did you mean 'gat" in told
    for name in ("mx1.yml", "mx1.corp.tset"):
        assert f"host_vars/{name}: nobody reads it, as the inventory has no host" in told


def test_remove_reads_all_its_variables_before_anything_changes(company: Path) -> None:
    playbook = PROJECT / "playbooks" / "remove.yml"
    files = [playbook, *PROJECT.glob("roles/*/tasks/remove.yml"), *PROJECT.glob("roles/*/tasks/removed.yml")]
    later = {name for file in files for name in re.findall(r"lookup\('site', '([a-z]\w*)'\)", file.read_text())}
    (first,) = re.findall(r"query\('site', ([^)]*)\)", playbook.read_text())
    gathered = {"foundation_packages"}  # the roles' own, and of this host's facts
    assert later - gathered <= set(re.findall(r"\w+", first)) < later
    inventory(company, gateways={"gw1": GATEWAY | {"hardening_setid_stripped": ["su"]}})
    done = play(company, str(playbook), "-e", "gatewright_remove=gw1")
    assert done.returncode != 0 and "hardening_setid_stripped[0] (su)" in done.stdout + done.stderr
    assert not (company / "connected").exists()


def test_tags_of_roles_parts_are_known(company: Path) -> None:
    given = ("--tags", "qmail_control,scanner", "-e", "sshd_port=0")
    done = play(company, str(PROJECT / "playbooks" / "site.yml"), *given)
    told = " ".join((done.stdout + done.stderr).split())
    assert "has the tag" not in told and "sshd_port: must be" in told


@pytest.mark.parametrize(
    ("playbook", "tags", "words"),
    [
        ("site.yml", "tcp_smpt", "no task of site.yml has the tag tcp_smpt; did you mean 'tcp_smtp'?"),
        ("site.yml", "foo,bar", "no task of site.yml has the tag bar"),
        ("site.yml", "tcp_smtp,firewal", "no task of site.yml has the tag firewal; did you mean 'firewall'?"),
        ("cutoff.yml", "cutof", "no task of cutoff.yml has the tag cutof"),
        ("cutoff.yml", "qmail", "no task of cutoff.yml has the tag qmail"),
        ("verify.yml", "foo", "no task of verify.yml has the tag foo"),
        ("backup.yml", "backup", "no task of backup.yml has the tag backup"),
    ],
)
def test_tags_that_no_task_of_the_playbook_has_are_an_error(
    company: Path, playbook: str, tags: str, words: str
) -> None:
    done = play(company, str(PROJECT / "playbooks" / playbook), "--tags", tags)
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, told
    assert f"Nothing was done: - {words}" in told
    assert not (company / "connected").exists()


@pytest.mark.parametrize("options", [("--tags", "tagged"), ("--tags", "always,foo"), ("--skip-tags", "foo")])
def test_other_odd_tags_leave_a_run_as_it_is(company: Path, options: tuple[str, ...]) -> None:
    done = play(company, str(PROJECT / "playbooks" / "cutoff.yml"), *options, "-e", "mail=inward")
    told = " ".join((done.stdout + done.stderr).split())
    assert "-e mail is inward, and must be" in told
    assert ("no task of Gatewright has the tag foo" in told) is ("foo" in options[1])


@pytest.mark.parametrize("given", [(), ("-e", "mail=both")])
def test_a_check_of_cutoff_says_that_it_was_not_run(company: Path, given: tuple[str, ...]) -> None:
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory(company, gateways={"gw1": GATEWAY | here})
    done = play(company, str(PROJECT / "playbooks" / "cutoff.yml"), "--check", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not run (check mode)" in done.stdout.partition("Say what is in force")[2]


@pytest.mark.parametrize(
    "options", [("--start-at-task", "*Compile*"), ("--start-at-task", "x"), ("--skip-tags", "always")]
)
def test_a_run_that_passes_over_the_preflight_does_nothing(company: Path, options: tuple[str, ...]) -> None:
    done = play(company, "company.yml", *options)
    assert done.returncode != 0, done.stdout
    assert f"{' '.join(options[:1])}" in done.stderr
    assert "passes over the checks of the inventory" in done.stderr
    assert not (company / "connected").exists()


def test_the_hosts_of_a_run_can_be_listed(company: Path) -> None:
    done = play(company, "company.yml", "--list-hosts")
    assert done.returncode == 0, done.stderr
    assert "gw1" in done.stdout


@pytest.mark.parametrize(("serial", "sizes"), [(1, [1] * 5), ([1, "50%"], [1, 2, 2]), ("100%", [5])])
def test_the_inventory_says_in_which_batches_gateways_are_changed(company: Path, serial: Any, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches(company, serial)] == sizes


@pytest.mark.parametrize(
    ("serial", "words"),
    [(0, "must be a number of"), (None, "must be a number of"), ([1, "half"], "gatewright_serial[1]")],
)
def test_a_wrong_order_of_batches_is_refused(company: Path, serial: Any, words: str) -> None:
    inventory(company, gateways={"gw1": GATEWAY | {"gatewright_serial": serial}})
    done = play(company, "company.yml")
    assert done.returncode != 0
    assert words in done.stdout + done.stderr


def test_gateways_that_want_different_batches_are_refused(company: Path) -> None:
    other = GATEWAY | {"ansible_host": "192.0.2.2", "gatewright_serial": 2}
    inventory(company, gateways={"gw1": GATEWAY | {"gatewright_serial": 1}, "gw2": other})
    done = play(company, "company.yml")
    assert "gatewright_serial: must be the same for all gateways; gw2 has another" in done.stdout + done.stderr
