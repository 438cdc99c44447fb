"""The small gateway's qmail: the real one, or the stand-in where no archive of it is to be had."""

from __future__ import annotations

import grp
import os
from pathlib import Path

from lab.small.place import Place
from lab.standin import pack
from lab.topology import PROJECT

RELEASE = "notqmail-1.09"
PATCHES = PROJECT / "roles/qmail/files/patches" / RELEASE
STANDIN = PROJECT / "lab/standin"
USERS = 8
"""Lines of conf-users: alias, qmaild, qmaill, root, qmailp, qmailq, qmailr, qmails."""

# Who is not root may not set groups, and there is but one user: nothing to give up.
ONE_USER = """\
#include <sys/types.h>
#include <unistd.h>
#include "prot.h"
int prot_gid(gid_t gid) { return setgid(gid); }
int prot_gids(const char *user, gid_t gid) { (void) user; return setgid(gid); }
"""


def archive() -> Path | None:
    """notqmail's archive, if GATEWRIGHT_ARTIFACTS has it and nothing asks for the stand-in."""
    path = Path(os.environ.get("GATEWRIGHT_ARTIFACTS", "/nonexistent")) / f"{RELEASE}.tar.gz"
    return path if path.is_file() and not os.environ.get("GATEWRIGHT_LAB_STANDIN") else None


def install(place: Place) -> tuple[Path, str]:
    """Build and install; returns qmail's home and the name of what stands there."""
    home = place.folder("qmail")
    found = archive()
    source = _unpack(place, found) if found else _copy_standin(place)
    _configure(place, source, home)
    if found:
        (source / "prot.c").write_text(ONE_USER)
        for patch in sorted(PATCHES.glob("*.patch")):
            place.run("patch", "-p1", "--fuzz=0", cwd=source, stdin=patch.read_text())
    _make(place, source)
    return home, RELEASE if found else "the stand-in for qmail"


def _unpack(place: Place, found: Path) -> Path:
    source = place.folder("build")
    (source / found.name).write_bytes(found.read_bytes())
    place.run("tar", "-xzf", found.name, "--no-same-owner", "--strip-components=1", cwd=source)
    return source


def _copy_standin(place: Place) -> Path:
    source = place.folder("build")
    packed = place.path / "standin.tar.gz"
    packed.write_bytes(pack.pack())
    place.run("tar", "-xzf", packed, "--no-same-owner", "--strip-components=1", cwd=source)
    return source


def _configure(place: Place, source: Path, home: Path) -> None:
    """All of qmail's users are our one user."""
    user, group = place.account.pw_name, grp.getgrgid(place.account.pw_gid).gr_name
    files = {"conf-qmail": f"{home}\n", "conf-users": f"{user}\n" * USERS, "conf-groups": f"{group}\n" * 2}
    for name, text in files.items():
        path = source / name
        path.unlink(missing_ok=True)
        path.write_text(text)


def _make(place: Place, source: Path) -> None:
    jobs = f"-j{os.cpu_count() or 1}"
    place.run("make", jobs, "it", cwd=source)
    place.run("make", jobs, "man", "NROFF=true", cwd=source)  # formatted pages are left empty: nobody reads them here
    for program in ("./instpackage", "./instchown"):
        place.run(program, cwd=source)
