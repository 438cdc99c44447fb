"""What a gateway does by itself with the site's repository, and how it tells."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gatewright_pull
import pytest

TOOLS = Path(sys.executable).parent
STAND_IN = """#!/bin/sh
# in the place of ansible-pull: fetches, and does what the repository's apply.sh says
set -e
while [ $# -gt 1 ]; do case $1 in --url) url=$2 ;; --directory) place=$2 ;; esac; shift; done
echo run >> "$place.runs"
[ -d "$place" ] || git clone --quiet "$url" "$place"
git -C "$place" fetch --quiet && git -C "$place" reset --quiet --hard origin/main
sh "$place/apply.sh"
"""
INJECT = '#!/bin/sh\ncat >> "$0.mails"\n'


class Site:
    """A gateway's folders, and the repository that it pulls."""

    def __init__(self, folder: Path) -> None:
        self.place = gatewright_pull.Place(folder / "gateway")
        self.repository = folder / "repository"
        self.inject = self.place.root / "var/qmail/bin/qmail-inject"
        for path in (self.place.settings, self.place.programs / "bin", self.place.state / "home", self.inject.parent):
            path.mkdir(parents=True)
        self.write(self.inject, INJECT)
        self.write(self.place.programs / "bin/ansible-pull", STAND_IN)
        (self.place.settings / "gitconfig").touch()
        control = self.place.root / "var/qmail/control"
        control.mkdir()
        (control / "me").write_text("gw1.corp.test\n")
        self.git("init", "--quiet", "--initial-branch=main", str(self.repository), at=folder)
        self.settle()

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def settle(self, **changed: object) -> None:
        """Write the settings, as the role does."""
        known = {
            "repository": str(self.repository), "branch": "main", "inventory": "hosts.yml", "playbook": "site.yml",
            "host": "gw1", "release": "ansible_core-2.19.1", "is_signed": False, "has_vault": False,
            "report_to": "admin@corp.test",
        }  # short pairs, many a line # fmt: skip
        (self.place.settings / "settings.json").write_text(json.dumps(known | changed))

    def git(self, *words: str, at: Path | None = None) -> str:
        own = ("-c", "user.name=A", "-c", "user.email=a@corp.test")
        done = subprocess.run(
            ["git", *own, *words], cwd=at or self.repository, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, *options: str, **files: str) -> str:
        """Commit files (name without its dot and ending: apply is apply.sh) and return the commit."""
        for name, text in files.items():
            (self.repository / name.replace("_", ".")).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change", *options)
        return self.git("rev-parse", "HEAD")

    def pull(self) -> dict[str, Any]:
        """One pull; what is noted of it."""
        is_well = gatewright_pull.attempt(self.place)
        noted = gatewright_pull.last_of(self.place)
        assert is_well == (noted["result"] == "ok")
        return noted

    def past(self, seconds: float) -> None:
        """Let the last pull be so much longer ago."""
        noted = gatewright_pull.last_of(self.place)
        times = {key: noted[key] - seconds for key in ("applied", "since", "at") if key in noted}
        gatewright_pull.note(self.place, noted | times)

    @property
    def runs(self) -> int:
        runs = Path(f"{self.place.checkout}.runs")
        return len(runs.read_text().splitlines()) if runs.exists() else 0

    @property
    def mails(self) -> str:
        mails = Path(f"{self.inject}.mails")
        return mails.read_text() if mails.exists() else ""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_new_commit_is_applied_once(site: Site) -> None:
    commit = site.commit(apply_sh="echo PLAY")
    assert site.pull()["applied_commit"] == commit
    noted = site.pull()
    assert (noted["result"], noted["commit"], site.runs) == ("ok", commit, 1)
    newer = site.commit(apply_sh="echo PLAY again")
    assert site.pull()["applied_commit"] == newer
    assert site.runs == 2


def test_after_a_day_it_is_applied_although_nothing_is_new(site: Site) -> None:
    site.commit(apply_sh="echo PLAY")
    site.pull()
    site.past(gatewright_pull.DAY + 1)
    assert time.time() - site.pull()["applied"] < 60
    assert site.runs == 2


def test_after_the_clock_was_set_back_by_a_year_a_day_is_a_day(site: Site) -> None:
    site.commit(apply_sh="echo PLAY")
    site.pull()
    site.past(-365 * gatewright_pull.DAY)
    site.pull()
    assert site.runs == 2
    site.repository.rename(site.repository.with_name("away"))
    site.pull()
    site.past(-365 * gatewright_pull.DAY)
    assert site.pull()["since"] <= time.time()


def test_a_commit_that_cannot_be_applied_is_noted_with_its_reason_mailed_once_and_tried_again(site: Site) -> None:
    good = site.commit(apply_sh="echo PLAY")
    site.pull()
    why = "sshd_port: must be a number from 1 to 65535"
    told = f"[ERROR]: Task failed: The inventory of gw1 is wrong:\n  - {why}"
    bad = site.commit(apply_sh=f"echo 'PLAY [all]\n{told}\nOrigin: /x/site.yml:4:3\n4 - name: x'; exit 2")
    noted = [site.pull() for _ in range(3)]
    assert {(one["result"], one["commit"], one["applied_commit"]) for one in noted} == {("failed", bad, good)}
    assert noted[0]["why"] == told
    assert site.runs == 4
    assert site.mails.count("Subject: gw1: the inventory could not be pulled") == 1
    assert bad in site.mails
    assert why in site.mails


def test_a_commit_that_failed_is_not_taken_for_applied_once_the_repository_was_away(site: Site) -> None:
    site.commit(apply_sh="echo PLAY")
    site.pull()
    site.commit(apply_sh="exit 2")
    site.pull()
    site.settle(repository=f"{site.repository}.gone")
    assert site.pull()["result"] == "unreachable"
    site.settle()
    assert site.pull()["result"] == "failed"


def test_a_repository_that_is_away_is_mailed_about_after_a_day_and_not_at_once(site: Site) -> None:
    commit = site.commit(apply_sh="echo PLAY")
    site.pull()
    site.settle(repository=f"{site.repository}.gone")
    assert site.pull()["result"] == "unreachable"
    assert not site.mails
    site.past(gatewright_pull.DAY + 1)
    for _ in range(2):
        assert site.pull()["applied_commit"] == commit
    assert site.mails.count("Subject:") == 1
    assert "does not answer" in site.mails


def test_settings_are_proved_only_if_the_branch_is_there(site: Site) -> None:
    site.write(site.place.programs / "bin/ansible-pull", "#!/bin/sh\necho 'ansible-pull [core 2.19.1]'\n")
    commit = site.commit(apply_sh="echo PLAY")
    assert commit in gatewright_pull.prove(site.place)
    site.settle(branch="mian")
    with pytest.raises(gatewright_pull.PullError, match="has no branch mian"):
        gatewright_pull.prove(site.place)
    site.write(site.place.programs / "bin/ansible-pull", "#!/bin/sh\necho 'requires Python 3.12' >&2; exit 1\n")
    with pytest.raises(gatewright_pull.PullError, match=r"requires Python 3\.12"):
        gatewright_pull.prove(site.place)


def test_what_ran_a_pull_goes_when_that_pull_has_switched_it_off(site: Site) -> None:
    site.commit(apply_sh=f"rm -r {site.place.settings}")
    assert site.pull()["result"] == "ok"
    assert not site.place.programs.exists()


def test_an_older_release_of_ansible_core_goes_with_the_next_run(site: Site) -> None:
    for name in ("ansible_core-2.19.0", "ansible_core-2.19.1"):
        (site.place.programs / name).mkdir()
        (site.place.programs / f"{name}-py3-none-any.whl").touch()
    site.commit(apply_sh="echo PLAY")
    site.pull()
    left = sorted(path.name for path in site.place.programs.glob("ansible_core*"))
    assert left == ["ansible_core-2.19.1", "ansible_core-2.19.1-py3-none-any.whl"]


def test_a_run_that_systemd_ends_is_noted(site: Site) -> None:
    site.commit(apply_sh="echo started; exec sleep 600")
    started = site.place.state / "started"
    site.commit(apply_sh=f"touch {started}; exec sleep 600")
    program = Path(str(gatewright_pull.__file__))
    with subprocess.Popen([sys.executable, program, "--root", site.place.root], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not started.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        second = subprocess.run([sys.executable, program, "--root", site.place.root], check=False)
        process.terminate()
    assert (process.returncode, second.returncode) == (1, 2)
    noted = gatewright_pull.last_of(site.place)
    assert (noted["result"], "signal 15" in noted["why"]) == ("failed", True)


@pytest.mark.slow
def test_with_signers_only_a_commit_that_one_of_them_signed_is_applied(site: Site, tmp_path: Path) -> None:
    """By ansible-pull itself and git's signatures by SSH keys."""
    for name in ("ansible", "ansible-playbook", "ansible-pull"):
        path = site.place.programs / "bin" / name
        path.unlink(missing_ok=True)
        path.symlink_to(TOOLS / name)
    for who in ("admin", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / who], check=True)
    signers = site.place.settings / "signers"
    signers.write_text(f"admin@corp.test {(tmp_path / 'admin.pub').read_text()}")
    (site.place.settings / "gitconfig").write_text(f'[gpg "ssh"]\n\tallowedSignersFile = {signers}\n')
    site.settle(is_signed=True, repository=f"file://{site.repository}")
    mark = tmp_path / "mark"
    play = {"hosts": "gw1", "gather_facts": False, "tasks": [{"copy": {"dest": str(mark), "content": "{{ word }}"}}]}
    hosts = {"all": {"hosts": {"gw1": {"ansible_connection": "ssh", "ansible_python_interpreter": sys.executable}}}}
    site.git("config", "gpg.format", "ssh")

    def commit(word: str, *signed: str) -> None:
        play["vars"] = {"word": word}
        site.commit(*signed, site_yml=json.dumps([play]), hosts_yml=json.dumps(hosts))

    def signed_by(who: str) -> str:
        return f"--gpg-sign={tmp_path / who}"

    commit("first", signed_by("admin"))
    assert site.pull()["result"] == "ok"
    commit("second", signed_by("stranger"))
    # the second time the checkout has that commit already
    assert [site.pull()["result"] for _ in range(2)] == ["failed", "failed"]
    commit("third")
    assert site.pull()["result"] == "failed"
    assert mark.read_text() == "first"
