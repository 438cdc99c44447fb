"""The archives that the lab's gateways are built from, and which qmail that makes."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from pathlib import Path

from lab.machine import keep
from lab.standin import pack
from lab.topology import CACHE

ARCHIVES = CACHE.parent / "artifacts"
RELEASE = CACHE / "release.json"
OFFICIAL = "https://github.com/notqmail/notqmail/releases"
LOUD = """
********************************************************************************
No archive of qmail: not in $GATEWRIGHT_ARTIFACTS, and its site is out of reach.
The lab uses its STAND-IN for qmail (lab/standin): it tests the roles, it is no
mail server, and no figure about mail that comes of it says anything of qmail.
********************************************************************************
"""


def is_in_reach(url: str) -> bool:
    """Whether this machine gets an answer from an address within a few seconds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5):
            return True
    except OSError:
        return False


def given() -> list[Path]:
    """The archives in the folder that GATEWRIGHT_ARTIFACTS names."""
    folder = os.environ.get("GATEWRIGHT_ARTIFACTS", "")
    return sorted(path for path in Path(folder).glob("*.tar.*") if path.is_file()) if folder else []


def pack_standin() -> dict[str, object]:
    """Pack the stand-in; return the variables by which the lab, and only the lab, installs it."""
    archive = pack.pack()
    keep(ARCHIVES / "standin-1.0.tar.gz", archive)
    pin = {"name": "standin-1.0.tar.gz", "sha256": hashlib.sha256(archive).hexdigest(), "urls": []}
    source = {"archive": "standin-1.0", "version": "1.0", "apparmor": False}
    return {"qmail_release": "netqmail", "qmail_source": source, "source_build_pins_extra": {"standin-1.0": pin}}


def assemble() -> str:
    """Gather the archives in one folder, and write down which qmail they make; returns its name."""
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    for archive in given():
        keep(ARCHIVES / archive.name, archive.read_bytes())
    release: dict[str, object] = {"qmail_release": "notqmail", "qmail_source": {}, "source_build_pins_extra": {}}
    has_qmail = any(archive.name.startswith("notqmail-1.09") for archive in given())
    if os.environ.get("GATEWRIGHT_LAB_STANDIN") or not (has_qmail or is_in_reach(OFFICIAL)):
        release = pack_standin()
    keep(RELEASE, (json.dumps(release, indent=1) + "\n").encode())
    return "standin" if release["qmail_source"] else "notqmail"


def is_standin_in_use() -> bool:
    """Whether the lab's gateways get the stand-in for qmail."""
    return bool(json.loads(RELEASE.read_text())["qmail_source"])


def warn() -> None:
    """Say loudly when the lab uses its stand-in for qmail."""
    if is_standin_in_use():
        print(LOUD, flush=True)
