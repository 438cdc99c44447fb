"""backup.yml and restore.yml on the controller: what its disk gets, and what is refused before a gateway is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from on_gateway.archive.age import make_identity

PROJECT = Path(__file__).parents[3]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
SECRET = "SECRET" * 10


@dataclass(frozen=True)
class Controller:
    """An inventory of one gateway, whose files are below a folder of this machine."""

    folder: Path
    recipient: str

    def run(self, name: str, *options: str, **variables: object) -> tuple[int, str]:
        """Run a playbook from another folder; exit status, and what it said."""
        given = {"backup_recipients": [self.recipient], "backup_directory": str(self.folder / "archives"), **variables}
        own = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        done = subprocess.run(
            [ANSIBLE, "-i", "inventory", PROJECT / f"playbooks/{name}.yml", *options, "-e", json.dumps(given)],
            cwd=self.folder,
            env={**own, "ANSIBLE_HOME": str(self.folder / "home")},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    def restore(self, **variables: object) -> tuple[int, str]:
        """Look whether the archive could be brought back."""
        return self.run("restore", "--check", gatewright_restore="gw1", **variables)

    def archives(self) -> list[Path]:
        """What stands in the folder of archives."""
        return sorted((self.folder / "archives").iterdir())


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """A gateway with a key that is its own."""
    root = tmp_path / "gw1"
    files = {"var/qmail/control/me": "gw1.example.org\n", "var/qmail/queue/lock/sendmutex": ""}
    for name, text in (files | {"etc/gatewright/starttls.pem": SECRET}).items():
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text)
    line = f"gw1 ansible_connection=local ansible_python_interpreter={sys.executable} fleet_root={root}"
    (tmp_path / "inventory").write_text(f"[gateways]\n{line} qmail_me=gw1.example.org qmail_postmaster=p@example.org\n")
    return Controller(tmp_path, make_identity(tmp_path / "key"))


@pytest.mark.slow
def test_an_archive_is_encrypted_before_it_comes_here_and_another_key_does_not_open_it(controller: Controller) -> None:
    status, said = controller.run("backup")
    assert status == 0 and "/etc/gatewright/starttls.pem 60" in said, said
    (archive,) = controller.archives()
    assert archive.name.startswith("gw1-2") and archive.stat().st_mode & 0o777 == 0o600
    assert archive.read_bytes().startswith(b"age-encryption.org/")
    status, said = controller.restore(restore_identity=str(controller.folder / "key"))
    assert status == 0 and "/etc/gatewright/starttls.pem 1" in said, said
    make_identity(controller.folder / "other")
    status, said = controller.restore(restore_identity=str(controller.folder / "other"))
    assert status == 2 and "no identity matched" in said, said


@pytest.mark.slow
def test_what_is_missing_is_named_and_old_archives_go(controller: Controller) -> None:
    status, said = controller.run("backup", backup_recipients=[])
    assert status == 2 and "backup_recipients" in said, said
    status, said = controller.restore(restore_identity=str(controller.folder / "key"))
    assert status == 2 and "has no archive of gw1" in said, said
    folder = controller.folder / "archives"
    folder.mkdir()
    names = [f"gw1-2026112{day}T010203Z.tar.gz.age" for day in (1, 2, 3)]
    for name in (*names, "gw10-20261121T010203Z.tar.gz.age", "gw1-old.tar.gz.age"):
        (folder / name).touch()
    for wrong, words in (({"backup_keep": -3}, "from 0 on"), ({"backup_recipients": "age1x"}, "must be a list")):
        status, said = controller.run("backup", **wrong)
        assert status == 2 and words in said and next(iter(wrong)) in said, said
        assert len(controller.archives()) == 5
    status, said = controller.run("backup", backup_keep=2)
    assert status == 0, said
    left = {path.name for path in controller.archives()}
    assert not left.intersection(names[:2]) and names[2] in left and len(left) == 4
    for path in controller.archives():
        path.rename(path.with_name(path.name.replace("gw1-202", "gw1-209")))  # the clock was set back since
    (folder / "gw1-20261120T010203Z.tar.gz.age.part").touch()  # of a run that was killed
    os.utime(folder / "gw1-20261120T010203Z.tar.gz.age.part", (1, 1))
    status, said = controller.run("backup", backup_keep=2)
    names = [path.name for path in controller.archives() if path.name.startswith("gw1-2")]
    assert status == 0 and len(names) == 2 and names[0] < "gw1-209", "the one just taken stays"
    (controller.folder / "locked").write_text("age-encryption.org/v1\n-> scrypt ...\n")
    status, said = controller.restore(restore_identity=str(controller.folder / "locked"))
    assert status == 2 and "locked by a passphrase" in said, said
