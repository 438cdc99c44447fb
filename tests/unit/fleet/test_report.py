"""`playbooks/report.yml`: how all gateways are, in one file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from console_site import ConsoleSite
from test_console import check_elements

PROJECT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_report_is_one_file_that_runs_and_fetches_nothing_and_names_who_is_silent(tmp_path: Path) -> None:
    site = ConsoleSite(tmp_path / "site")
    lines = [f"{host} ansible_connection=local fleet_root={site.root(host)}" for host in ("gw1", "gw2")]
    lines.append("gw3 ansible_host=127.0.0.1 ansible_port=1")
    (tmp_path / "inventory").write_text("\n".join(["[gateways]", *lines, ""]))
    for host in ("gw1", "gw2"):
        control = site.root(host) / "var/qmail/control"
        control.mkdir(parents=True)
        (control / "me").write_text("gw.example.org\n")
    report = tmp_path / "report.html"
    program = str(Path(sys.executable).parent / "ansible-playbook")
    command = [program, "-i", str(tmp_path / "inventory"), "playbooks/report.yml"]
    environment = os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
    python = f"ansible_python_interpreter={sys.executable}"
    done = subprocess.run(
        [*command, "-e", f"report_file={report}", "-e", "report_days=1", "-e", python],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    text = report.read_text()
    style = re.findall("<style>.*?</style>", text, re.DOTALL)
    assert len(style) == 1 and "&gt;" not in style[0]
    policy = 'http-equiv="Content-Security-Policy"'
    check_elements(text.replace(style[0], "").replace(policy, ""))
    assert policy in text and "default-src 'none'" in text
    assert int(re.findall(r"<b>(\d+)</b> messages judged", text)[0]) > 200
    assert "<b>gw3</b>" in text and "<b>gw1</b>" not in text
