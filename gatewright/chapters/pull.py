"""A gateway that pulls its inventory: from where, as whom, and by what it is let in."""

from __future__ import annotations

import posixpath
import re
from typing import Any
from urllib.parse import urlsplit

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.qmail.people import check_person
from gatewright.inventory import Site
from gatewright.problems import Problems

WHEEL = re.compile(r"ansible_core-2\.(19|[2-9]\d)(\.\d+)*(rc\d+)?-py3-none-any\.whl")
# ansible-pull puts it into a shell's command line, so it has no sign that a shell knows. Logs would show a password.
_REPOSITORY = kinds.matching(
    r"(ssh|https)://([A-Za-z0-9._-]+@)?[A-Za-z0-9._-]+(:\d{1,5})?/[A-Za-z0-9._~/-]+",
    "an address such as ssh://git@git.example.org/mail.git, or https:// without a password",
    empty=True,
)
_KEY = r"(ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/]+=*( .*)?"
_KNOWN_HOST = kinds.matching(rf"(@\S+ )?[^\s#]+ {_KEY}", "a line of known_hosts")
_SIGNER = kinds.matching(
    rf"[^\s#]+ (\S+=\S+ )*{_KEY}", "a line of allowed signers, such as name@example.org ssh-ed25519 AAAA"
)


@kinds.plain
def _password(value: Any) -> str:
    """One line, which no message repeats."""
    return "" if isinstance(value, str) and (value.isprintable() or not value) else "must be one line of text"


@kinds.plain
def _private_key(value: Any) -> str:
    """A private key as ssh-keygen writes it, which no message repeats."""
    right = isinstance(value, str) and (not value or re.match(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n", value))
    return "" if right else "must be a private key as ssh-keygen writes it"


@kinds.plain
def _inside(value: Any) -> str:
    """A path within the repository."""
    right = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]*", value)
    if right and posixpath.normpath(value) == value.rstrip("/") and ".." not in value.split("/"):
        return ""
    return f"must be a plain path within the repository, such as inventory/hosts.yml, not {value!r}"


@kinds.plain
def _branch(value: Any) -> str:
    """A name that git takes for a branch (git-check-ref-format)."""
    right = isinstance(value, str) and re.fullmatch(
        r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", value
    )
    odd = right and (".." in value or any(part.endswith((".", ".lock")) for part in value.split("/")))
    return "" if right and not odd else f"must be the name of a branch, not {value!r}"


def _is_port(repository: str) -> bool:
    """Whether an address has a port that there is, or none."""
    try:
        return urlsplit(repository).port != 0
    except ValueError:
        return False


def check(site: Site, problems: Problems) -> None:
    """What is pulled is named, the gateway gets in, and sshd goes on to let in whoever else comes."""
    check_person(site, problems, "pull_report_to")
    if site.value("pull_enabled") is not True:
        return
    for name in ("pull_repository", "pull_schedule"):
        if not site.value(name):
            problems.add(name, "is needed with pull_enabled")
    if not _is_port(str(site.value("pull_repository"))):
        problems.add("pull_repository", "has no port from 1 to 65535")
    if not WHEEL.fullmatch(posixpath.basename(str(site.value("pull_wheel")))):
        problems.add(
            "pull_wheel", "must be a wheel of ansible-core 2.19 or later (ansible_core-2.19.N-py3-none-any.whl)"
        )
    if str(site.value("pull_repository")).startswith("ssh:"):
        for name in ("pull_key", "pull_known_hosts"):
            if not site.value(name):
                problems.add(name, "is needed to pull from a repository by ssh://")
    if not site.value("ansible_user"):
        problems.add(
            "pull_enabled",
            "needs ansible_user in the inventory: a pull comes in as nobody, and sshd must go on to let that user in",
        )


CHAPTER = Chapter(
    options={
        "pull_repository": _REPOSITORY,
        "pull_branch": _branch,
        "pull_inventory": _inside,
        "pull_playbook": _inside,
        "pull_schedule": kinds.calendar,
        "pull_spread": kinds.number(0, 86_400, "seconds"),
        "pull_wheel": kinds.controller_path(empty=True),
        "pull_key": _private_key,
        "pull_known_hosts": kinds.listed(_KNOWN_HOST),
        "pull_vault_password": _password,
        "pull_signers": kinds.listed(_SIGNER),
        "pull_report_to": kinds.mailbox,
    },
    check=check,
)
