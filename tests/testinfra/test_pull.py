"""Two gateways apply what a repository on another host says, by their timers; what is wrong there changes nothing."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, lab_host

from lab.reach import SSH_ARGUMENTS
from lab.topology import CACHE, HOSTS, NUMBER, PROJECT

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("GATEWRIGHT_NIGHTLY"), reason="a dozen runs of the playbook: GATEWRIGHT_NIGHTLY is not set"
    ),
    pytest.mark.timeout(3600),
]

BARE = "/srv/gateways.git"
WHEELS = "inventory/wheels"
OWN = "playbooks/pull.yml"
"""Does the role's part of site.yml, for commits that are about the pull itself."""
PULL_SECONDS = 900
"""A pull and its run of site.yml on both gateways at once, on a machine that has other work."""


@dataclass
class Repository:
    """The site's repository: a clone here, the bare one on another host; values: of all gateways, beside the lab's."""

    clone: Path
    host: Peer
    values: dict[str, Any]

    def git(self, *words: str) -> str:
        """Run git in the clone, over the lab's key where it speaks with the other host."""
        ssh = " ".join(["ssh", *SSH_ARGUMENTS])
        own = ("-c", "user.name=Admin", "-c", "user.email=admin@corp.test")
        done = subprocess.run(
            ["git", *own, *words],
            cwd=self.clone,
            env={**os.environ, "GIT_SSH_COMMAND": ssh},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, **changed: Any) -> str:
        """Have gateways get these variables from now on; returns the commit."""
        self.values |= changed
        # as host variables, which stand above the lab's group_vars; the lab's number would be asked of the environment
        values = {"lab_number": str(NUMBER), **self.values}
        hosts = {host.name: {"lab_octet": host.octet, **values} for host in HOSTS if host.image == "gateway"}
        site = {"lab": {"children": {"gateways": {"hosts": hosts}}}}
        (self.clone / "inventory/site/hosts.yml").write_text(yaml.safe_dump(site))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", ", ".join(changed) or "the site")
        self.git("push", "--quiet", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")


def last(gateway: Gateway) -> dict[str, Any]:
    """How a gateway's last pull went; empty before the first."""
    text = gateway.sh("cat /var/lib/gatewright/pull/last.json 2>/dev/null || true")
    return dict(json.loads(text)) if text else {}


def both(gateways: list[Gateway], look: Callable[[Gateway], bool], what: str) -> None:
    """Wait until something holds on both."""
    for one in gateways:
        eventually(functools.partial(look, one), PULL_SECONDS, f"{what} on {one.name}: {last(one)}")


def told(gateways: list[Gateway], commit: str, result: str) -> None:
    """Wait until both have tried a commit, with this result."""
    both(
        gateways,
        lambda one: (last(one).get("commit"), last(one).get("result")) == (commit, result),
        f"{result} {commit}",
    )


@pytest.fixture(scope="module")
def gateways() -> list[Gateway]:
    """Debian 13 and 12."""
    return [Gateway(lab_host(name)) for name in ("gw1", "gw2")]


@pytest.fixture(scope="module")
def repository(
    gateways: list[Gateway], outside: Peer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Repository]:
    """The repository with a deploy key, and both gateways set to pull it each minute."""
    folder = tmp_path_factory.mktemp("pull")
    clone = folder / "clone"
    outside.sh(
        f"apt-get -qq update && apt-get -qq install -y --no-install-recommends git && git init --bare -b main {BARE}"
    )
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", clone], check=True)
    files = (
        "git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from - --ignore-failed-read"
    )
    subprocess.run(["sh", "-c", f"{files} | tar --extract --directory {clone}"], cwd=PROJECT, check=True)
    shutil.copytree(PROJECT / "inventory/lab/group_vars", clone / "inventory/site/group_vars")
    (clone / ".cache/lab").mkdir(parents=True)
    shutil.copy(CACHE / "release.json", clone / ".cache/lab")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "-r", PROJECT / "requirements/pull.txt", "-d", clone / WHEELS], check=True)
    (wheel,) = (clone / WHEELS).glob("*.whl")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "deploy"], check=True)
    allowed = f'restrict,command="git-upload-pack {BARE}" {(folder / "deploy.pub").read_text()}'
    outside.run("sh", "-c", "cat >> /root/.ssh/authorized_keys", stdin=allowed)
    part = {"name": "pull", "rolespec_validate": False}
    play = {"name": "The pull", "hosts": "gateways", "gather_facts": False, "tasks": [{"import_role": part}]}
    (clone / OWN).write_text(yaml.safe_dump([play]))
    settings = {
        "pull_enabled": True,
        "pull_repository": f"ssh://root@{outside.ipv4}{BARE}",
        "pull_inventory": "inventory/site",
        "pull_schedule": "minutely",
        "pull_spread": 0,
        "pull_wheel": f"{{{{ inventory_dir }}}}/../wheels/{wheel.name}",
        "pull_key": (folder / "deploy").read_text(),
        "pull_known_hosts": [
            f"{outside.ipv4} {outside.run('cut', '-d ', '-f1,2', '/etc/ssh/ssh_host_ed25519_key.pub').strip()}"
        ],
    }
    made = Repository(clone, outside, settings)
    made.git("remote", "add", "origin", f"root@{outside.ipv4}:{BARE}")
    made.git("add", "--all", "--force", ".cache")
    made.commit()
    playbook(
        "playbooks/site.yml",
        "gateways",
        "--tags=pull",
        variables={**settings, "pull_wheel": str(wheel)},
        seconds=PULL_SECONDS,
    )
    yield made
    playbook("playbooks/site.yml", "gateways", "--tags=pull,tcp_smtp", seconds=PULL_SECONDS)
    outside.sh(f"rm -rf {BARE}; sed -i /git-upload-pack/d /root/.ssh/authorized_keys")


def test_a_relay_client_that_is_added_in_git_comes_to_both_gateways(
    gateways: list[Gateway], repository: Repository
) -> None:
    commit = repository.commit(tcp_smtp_relay_clients=[{"address": "203.0.113.99"}])
    told(gateways, commit, "ok")
    for gateway in gateways:
        assert "203.0.113.99" in gateway.run("cat", "/etc/tcp.smtp")
        assert last(gateway)["applied_commit"] == commit


def test_a_wrong_commit_changes_nothing_and_is_told_and_the_next_one_is_taken(
    gateways: list[Gateway], repository: Repository, office: Peer
) -> None:
    office.sh("rm -f /var/spool/lab/Maildir/new/*")
    wrong = repository.commit(tcp_smtp_relay_clients=[{"address": "203.0.113.300"}], sshd_max_auth_tries=7)
    told(gateways, wrong, "failed")
    for gateway in gateways:
        assert "203.0.113.99" in gateway.run("cat", "/etc/tcp.smtp")
        assert "MaxAuthTries 7" not in gateway.run("cat", "/etc/ssh/sshd_config")
        assert "203.0.113.300" in last(gateway)["why"]
        subject = f"Subject: {gateway.name}: the inventory could not be pulled"
        (path,) = eventually(functools.partial(office.find, subject), what="the mail")
        assert "203.0.113.300" in office.run("cat", path)
    command = [sys.executable, "-m", "gatewright.fleet", "status", "--limit", "gateways"]
    shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert shown.returncode == 1 and shown.stdout.count(f"pull of {wrong[:12]} failed") == 2, (
        shown.stdout + shown.stderr
    )
    right = repository.commit(tcp_smtp_relay_clients=[{"address": "203.0.113.100"}], sshd_max_auth_tries=3)
    told(gateways, right, "ok")
    for gateway in gateways:
        assert "203.0.113.100" in gateway.run("cat", "/etc/tcp.smtp")


def test_a_commit_that_names_a_branch_that_is_not_there_loses_no_gateway(
    gateways: list[Gateway], repository: Repository
) -> None:
    told(gateways, repository.commit(pull_playbook=OWN), "ok")
    told(gateways, repository.commit(pull_branch="mian"), "failed")
    told(gateways, repository.commit(pull_branch="main"), "ok")


def test_pulling_ends_by_a_commit(gateways: list[Gateway], repository: Repository) -> None:
    repository.commit(pull_enabled=False)
    gone = (
        "! ls -d /etc/gatewright/pull /usr/local/lib/gatewright/pull /etc/systemd/system/*gatewright-pull* 2>/dev/null"
    )
    both(gateways, lambda one: one.sh(f"{gone} && echo gone || true").strip() == "gone", "nothing of the pull left")
