"""The mail of a gateway about itself, made where only the files are that the role puts there."""

from __future__ import annotations

import email
import email.policy
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest
from console_site import ConsoleSite
from test_console import check_elements

from gatewright.chapters.monitoring import report_files

PROJECT = Path(__file__).parents[3]
PROGRAM = PROJECT / "roles/monitoring/files/usr/local/lib/gatewright/report/gatewright_report.py"
# As on a gateway, which has no Ansible: the scanner's package is Debian's Python's, the rest beside the program.
START = """
import runpy, sys
sys.modules["ansible"] = None
sys.path[:0] = [{folder!r}, {scanner!r}]
sys.argv[1:] = {words!r}
runpy.run_path({folder!r} + "/gatewright_report.py", run_name="__main__")
"""
INJECT = """#!/bin/sh
printf '%s\\n' "$@" > {root}/arguments && cat > {root}/mail && exit {status}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gateway's files, with mail of a day, some of it hostile."""
    made = ConsoleSite(tmp_path_factory.mktemp("site")).root("gw1")
    (made / "var/qmail/control").mkdir(parents=True, exist_ok=True)
    (made / "var/qmail/control/me").write_text("gw1.example.org\n")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the role installs."""
    for name, text in report_files(str(tmp_path)).items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    (tmp_path / PROGRAM.name).write_text(PROGRAM.read_text())
    return tmp_path


def run(folder: Path, root: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Have the report mailed by a qmail-inject with this exit status."""
    inject = root / "var/qmail/bin/qmail-inject"
    inject.parent.mkdir(parents=True, exist_ok=True)
    inject.write_text(INJECT.format(root=root, status=status))
    inject.chmod(0o755)
    words = ["--root", str(root), "--days", "1", "postmaster@example.org"]
    start = START.format(folder=str(folder), scanner=str(PROJECT / "roles/scanner/files"), words=words)
    return subprocess.run([sys.executable, "-I", "-B", "-c", start], capture_output=True, text=True, check=False)


def parts(root: Path) -> tuple[EmailMessage, str, str]:
    """The mail, its plain text and its page."""
    mail = email.message_from_bytes((root / "mail").read_bytes(), policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain and page and mail.get_content_type() == "multipart/alternative"
    return mail, plain.get_content(), page.get_content()


def test_the_postmaster_gets_the_overview_as_text_and_as_a_page_that_fetches_nothing(folder: Path, root: Path) -> None:
    done = run(folder, root)
    assert done.returncode == 0, done.stderr
    mail, plain, page = parts(root)
    assert (root / "arguments").read_text().split("\n") == ["-a", "-f", "", "postmaster@example.org", ""]
    assert mail["To"] == "postmaster@example.org" and mail["Auto-Submitted"] == "auto-generated"
    assert "postmaster@gw1.example.org" in mail["From"] and mail["Subject"].startswith(
        "gw1.example.org: the last day, "
    )
    judged = int(plain.split()[0])
    assert judged > 100 and f"<b>{judged}</b> messages judged" in page and f"{judged} messages" in mail["Subject"]
    assert "Messages by verdict" in plain and "Delivery by TLS" in plain and "\ngw1.example.org\nQueue: " in plain
    style = page[page.index("<style>") : page.index("</style>") + 8]
    check_elements(page.replace(style, "").replace('http-equiv="Content-Security-Policy"', ""))


def test_every_server_can_take_the_mail(folder: Path, root: Path) -> None:
    assert run(folder, root).returncode == 0
    raw = (root / "mail").read_bytes()
    assert raw.isascii() and b"\r" not in raw and b"\x1b" not in raw
    assert max(map(len, raw.split(b"\n"))) <= 998


def test_a_mail_that_qmail_does_not_take_is_a_failure_of_the_unit(folder: Path, root: Path) -> None:
    done = run(folder, root, status=111)
    assert done.returncode == 1 and "no report: " in done.stderr and "111" in done.stderr


def test_a_host_that_is_no_gateway_sends_nothing(folder: Path, tmp_path: Path) -> None:
    done = run(folder, tmp_path / "empty")
    assert done.returncode == 1 and "no report: " in done.stderr
    assert not (tmp_path / "empty/mail").exists()
