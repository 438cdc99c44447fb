"""Who logs in to a host, and by which keys."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterable
from pathlib import Path

_KEY = re.compile(r"^[^#\n]*\b(ssh|ecdsa|sk)-\S+ AAAA", re.MULTILINE)


def login_name(login: str) -> str:
    """Who is logged in: the one named, or who became root, or who runs this."""
    return login or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def key_files(user: pwd.struct_passwd, patterns: Iterable[str]) -> list[Path]:
    """Where a user's authorized keys are. patterns: as in sshd_config (%h, %u and %% are known)."""
    words = {"%h": user.pw_dir, "%u": user.pw_name, "%%": "%"}
    return [Path(user.pw_dir, re.sub("%[hu%]", lambda match: words[match[0]], pattern)) for pattern in patterns]


def has_key(user: pwd.struct_passwd, patterns: Iterable[str]) -> bool:
    """Whether one of a user's files has a line that is a key."""
    return any(path.is_file() and _KEY.search(path.read_text(errors="replace")) for path in key_files(user, patterns))
