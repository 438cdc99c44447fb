#!/usr/bin/python3
"""Apply what the site's repository says to this gateway, by ansible-pull; note how that went, and mail a failure once.

    gatewright_pull.py            fetch and apply
    gatewright_pull.py --prove    show that ansible-core runs here and that the repository has the branch

Exit status: 0 all is well, 1 the pull failed (the reason is printed, noted and mailed), 2 another one is under way.
Managed by Gatewright.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from itertools import islice, takewhile
from pathlib import Path
from types import FrameType
from typing import Any

DAY = 86_400
"""Seconds after which a run is due although nothing changed: it mends what somebody changed on the host. A repository
that does not answer is mailed about after as many."""
PROVE_SECONDS = 50
"""Patience with ansible-core's start and with the repository."""
REASON_LINES = 12
REASON_SIGNS = 1_000


class PullError(Exception):
    """Why nothing, or not all, was applied; the message is for the administrator."""


class UnreachableError(PullError):
    """The repository does not answer, or has no such branch."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are. root: the folder that stands for /."""

    root: Path

    @property
    def settings(self) -> Path:
        """What the role pull wrote."""
        return self.root / "etc/gatewright/pull"

    @property
    def programs(self) -> Path:
        """This program, and ansible-core."""
        return self.root / "usr/local/lib/gatewright/pull"

    @property
    def state(self) -> Path:
        """The checkout, and how the last pull went."""
        return self.root / "var/lib/gatewright/pull"

    @property
    def checkout(self) -> Path:
        """The repository as it was fetched."""
        return self.state / "checkout"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is pulled, from where, and as which host of its inventory."""

    repository: str
    branch: str
    inventory: str
    playbook: str
    host: str
    release: str
    is_signed: bool
    has_vault: bool
    report_to: str


def settings_of(place: Place) -> Settings:
    """Read the settings; raises PullError when there are none."""
    try:
        return Settings(**json.loads((place.settings / "settings.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise PullError(f"{place.settings}/settings.json: {error}") from error


def environment(place: Place) -> dict[str, str]:
    """The environment of git and ansible-core: nothing of who called, nothing of root's home.

    How ssh is called stands here, as ansible-core's module git heeds no configuration of git's about it.
    """
    home = str(place.state / "home")
    ssh = {
        "BatchMode": "yes",
        "ConnectTimeout": "20",
        "IdentitiesOnly": "yes",
        "IdentityFile": place.settings / "key",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": place.settings / "known_hosts",
        "GlobalKnownHostsFile": "none",
    }
    return {
        "PATH": f"{place.programs}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": home,
        "ANSIBLE_HOME": f"{home}/.ansible",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_NOCOLOR": "1",
        "GIT_CONFIG_GLOBAL": str(place.settings / "gitconfig"),
        "GIT_SSH_COMMAND": " ".join(["ssh", "-F", "none", *(f"-o {name}={value}" for name, value in ssh.items())]),
        "GIT_TERMINAL_PROMPT": "0",
    }


def said(place: Place, *command: str) -> str:
    """What a program prints; raises PullError with its last words."""
    try:
        done = subprocess.run(
            command, env=environment(place), capture_output=True, text=True, errors="replace", timeout=PROVE_SECONDS,
            check=False,
        )  # short arguments, many a line # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PullError(f"{Path(command[0]).name}: {error}") from error
    if done.returncode:
        raise PullError(f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()[-REASON_SIGNS:]}")
    return done.stdout


def newest_of(place: Place, settings: Settings) -> str:
    """The newest commit of the branch; raises UnreachableError."""
    try:
        found = said(place, "git", "ls-remote", "--", settings.repository, f"refs/heads/{settings.branch}")
    except PullError as error:
        raise UnreachableError(f"{settings.repository} does not answer: {error}") from error
    if not found.strip():
        raise UnreachableError(f"{settings.repository} has no branch {settings.branch}")
    return found.split()[0]


def prove(place: Place) -> str:
    """Show that a pull can begin; raises PullError if it cannot."""
    settings = settings_of(place)
    version = said(place, str(place.programs / "bin/ansible-pull"), "--version").splitlines()[0]
    return f"{version}; {settings.repository} has {settings.branch}: {newest_of(place, settings)}"


# --- one pull ---


def command(place: Place, settings: Settings) -> list[str]:
    """ansible-pull with its options. The inventory's way to the host (ssh, another user) is not the one from inside."""
    here = {"ansible_connection": "local", "ansible_become": False}
    return [
        str(place.programs / "bin/ansible-pull"),
        "--url", settings.repository,
        "--checkout", settings.branch,
        "--directory", str(place.checkout),
        "--inventory", settings.inventory,
        "--limit", settings.host,
        "--extra-vars", json.dumps(here),
        "--clean",
        *(["--verify-commit"] if settings.is_signed else []),
        *(["--vault-password-file", str(place.settings / "vault")] if settings.has_vault else []),
        settings.playbook,
    ]  # an option beside its value # fmt: skip


def run(place: Place, words: list[str]) -> None:
    """Run ansible-pull, its words going on to the journal; raises PullError with the reason of a failure."""
    lines: list[str] = []
    with subprocess.Popen(
        words, cwd=place.state, env=environment(place), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # short arguments, many a line # fmt: skip
        assert process.stdout
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line.rstrip())
        except PullError:  # systemd ends what is left of it
            process.kill()
            raise
    if process.returncode:
        raise PullError(reason(lines) or f"ansible-pull ended with {process.returncode}")


def reason(lines: Sequence[str]) -> str:
    """The part of what Ansible printed that says why it failed: its first error, without the place in the playbook."""
    marks = ("fatal:", "[ERROR]", "ERROR!")
    start = next((number for number, line in enumerate(lines) if line.startswith(marks)), -REASON_LINES)
    part = takewhile(lambda line: not line.startswith("Origin: "), lines[start:])
    return "\n".join(line for line in islice(part, REASON_LINES) if line.strip())[:REASON_SIGNS]


def commit_of(place: Place) -> str:
    """The commit in the checkout; nothing if there is none."""
    with contextlib.suppress(PullError):
        return said(place, "git", "-C", str(place.checkout), "rev-parse", "HEAD").strip()
    return ""


def tidy(place: Place, settings: Settings) -> None:
    """Remove releases of ansible-core that an earlier run left, as they were running it."""
    unused = [path for path in place.programs.glob("ansible_core-*") if not path.name.startswith(settings.release)]
    for path in unused:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if unused:  # a file that is newer has the integrity check's baseline renewed at the end of the run
        (place.programs / Path(__file__).name).touch()


def pull(place: Place, settings: Settings, last: Mapping[str, Any]) -> dict[str, Any]:
    """Fetch and apply what is new or due; returns which commit was last applied, and when. Raises PullError."""
    done = {"applied_commit": last.get("applied_commit", ""), "applied": last.get("applied", 0)}
    # what lies ahead of a clock that was set back may be a year away
    is_recent = 0 <= time.time() - done["applied"] <= DAY
    if newest_of(place, settings) == done["applied_commit"] and is_recent:
        return done
    tidy(place, settings)
    run(place, command(place, settings))
    return {"applied_commit": commit_of(place), "applied": time.time()}


# --- what is told ---


def last_of(place: Place) -> dict[str, Any]:
    """How the last pull went; empty before the first."""
    try:
        found = json.loads((place.state / "last.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note(place: Place, one: Mapping[str, Any]) -> None:
    """Keep how a pull went, for `gw status` and monitoring."""
    fresh = place.state / ".last.json.new"
    fresh.write_text(json.dumps(one) + "\n")
    fresh.replace(place.state / "last.json")


def mail(place: Place, settings: Settings, one: Mapping[str, Any]) -> None:
    """Tell the administrator; a mail that cannot be sent is said in the journal."""
    home = place.root / "var/qmail"
    command = [str(home / "bin/qmail-inject"), "-a", "-f", "", settings.report_to]
    try:
        told = mail_of(settings, one, (home / "control/me").read_text(encoding="ascii").strip())
        subprocess.run(command, input=told.as_bytes(), timeout=60, check=True)
    except (OSError, UnicodeError, subprocess.SubprocessError) as error:
        print(f"no mail about it: {error}", file=sys.stderr)


def mail_of(settings: Settings, one: Mapping[str, Any], me: str) -> EmailMessage:
    """What the administrator is told. me: the gateway's name."""
    told = EmailMessage()
    told["From"] = f"Gatewright on {me} <postmaster@{me}>"
    told["To"] = settings.report_to
    told["Subject"] = f"{settings.host}: the inventory could not be pulled"
    told["Auto-Submitted"] = "auto-generated"
    told.set_content(
        f"{me} could not apply {one['commit'] or 'any commit'} of {settings.repository}:\n\n"
        f"{one['why']}\n\nIt goes on as it was after the last run that came to its end, and tries again by its timer;"
        " this mail\ncomes once for a commit. All that was printed: journalctl -u gatewright-pull\n"
    )
    return told


def outcome(place: Place, settings: Settings, last: Mapping[str, Any]) -> dict[str, Any]:
    """Pull, and say how it went."""
    started = time.time()
    one = {key: last[key] for key in ("applied", "applied_commit") if key in last}
    try:
        one |= pull(place, settings, last) | {"result": "ok"}
    except UnreachableError as error:
        one |= {"result": "unreachable", "why": str(error)}
    except PullError as error:
        one |= {"result": "failed", "why": str(error)}
    one |= {"commit": commit_of(place), "at": time.time(), "seconds": round(time.time() - started, 1)}
    is_same = all(one[key] == last.get(key) for key in ("result", "commit"))
    return one | {
        "since": min(last["since"], one["at"]) if is_same else one["at"],
        "is_told": is_same and last["is_told"],
    }


def is_to_be_told(one: Mapping[str, Any]) -> bool:
    """Whether a mail is due: of a commit that cannot be applied at once, of a repository that is away after a day."""
    is_lasting = one["result"] == "failed" or one["at"] - one["since"] > DAY
    return one["result"] != "ok" and is_lasting and not one["is_told"]


def attempt(place: Place) -> bool:
    """Pull, note how it went, and mail what is to be told; whether all is well."""
    settings = settings_of(place)
    one = outcome(place, settings, last_of(place))
    if one["result"] != "ok":
        print(f"gatewright_pull: {one['why']}", file=sys.stderr)
    if is_to_be_told(one):
        mail(place, settings, one)
        one["is_told"] = True
    note(place, one)
    if not place.settings.exists():  # the repository says that nothing is pulled any more; what ran it goes last
        shutil.rmtree(place.programs)
    return bool(one["result"] == "ok")


def stop(number: int, _frame: FrameType | None) -> None:
    """Turn systemd's end of patience into a failure that is noted."""
    raise PullError(f"the run was ended by signal {number}, such as a time-out or a restart of the host")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prove", action="store_true", help="only show that a pull can begin")
    parser.add_argument("--root", type=Path, default=Path("/"), help="folder that stands for /")
    options = parser.parse_args()
    place = Place(options.root)
    os.umask(0o022)
    (place.state / "home").mkdir(parents=True, exist_ok=True)
    try:
        if options.prove:
            print(prove(place))
            return 0
        with (place.state / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            signal.signal(signal.SIGTERM, stop)
            return 0 if attempt(place) else 1
    except BlockingIOError:
        print("gatewright_pull: another pull is under way", file=sys.stderr)
        return 2
    except PullError as error:
        print(f"gatewright_pull: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
