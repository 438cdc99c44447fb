#!/usr/bin/python3
"""Find a pinned source archive and prove that it is the one."""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: pinned_archive
short_description: Find a source archive and prove that it is the pinned one
description:
  - Looks in the cache, then in a local folder, then on each mirror, then at the official addresses.
  - The first place that has the archive decides. What it gives must have the pinned SHA-256 or, where an archive is
    packed again on demand and has other bytes for the same files, the pinned content digest.
  - An archive that has neither stops the run with both values; no other place is tried, since somebody
    should look at the one that answered wrong.
  - Runs on the controller (C(delegate_to=localhost)).
options:
  name:
    description: File name of the archive, also its name in the local folder, in the cache and on a mirror.
    type: str
    required: true
  aliases:
    description: Other file names the same archive goes by, such as Debian's C(_VERSION.orig.tar.gz).
    type: list
    elements: str
    default: []
  sha256:
    description: Expected SHA-256 of the file, in hex.
    type: str
  content:
    description: >-
      Expected content digest, in hex. It is the SHA-256 over the list that C(sha256sum) prints for every regular
      file, sorted by name in bytes, names relative to the archive's single top folder with a leading C(./).
    type: str
  local_dir:
    description: Folder to look in first. Empty means none.
    type: str
    default: ""
  mirrors:
    description: Addresses of folders that hold archives under their names, tried in order.
    type: list
    elements: str
    default: []
  urls:
    description: Official addresses of this archive, tried in order after the mirrors.
    type: list
    elements: str
    default: []
  cache_dir:
    description: Folder in which downloaded archives are kept, apart by pin.
    type: path
    required: true
  timeout:
    description: Seconds a connection may stay silent.
    type: int
    default: 30
author: Gatewright
"""

EXAMPLES = r"""
- name: Find the daemontools archive
  delegate_to: localhost
  pinned_archive:
    name: daemontools-0.76.tar.gz
    aliases: [daemontools_0.76.orig.tar.gz]
    sha256: a55535012b2be7a52dcd9eccabb9a198b13be50d0384143bd3b32b8710df4c1f
    urls: [https://cr.yp.to/daemontools/daemontools-0.76.tar.gz]
    local_dir: /srv/archives
    cache_dir: ~/.cache/gatewright
  register: archive
"""

RETURN = r"""
path:
  description: Where the proved archive is. Empty in check mode when it would have to be downloaded.
  type: str
  returned: success
source:
  description: The place that had it, C(cache), a file name or an address.
  type: str
  returned: success
proved_by:
  description: C(sha256) or C(content).
  type: str
  returned: when an archive was found
"""

BLOCK = 1 << 20
MAX_ARCHIVE = 64 * BLOCK
"""No source archive of ours is near this size (bytes); an endless answer must not fill the disk."""


class ArchiveError(Exception):
    """The archive cannot be had, or is not the pinned one."""


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """Digest of the regular files in a tar archive, whatever way they were packed.

    Equals ``find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`` inside the single top folder,
    or beside the top folder where that is the unversioned ``admin`` of daemontools.
    Raises tarfile.TarError when the file is no tar archive.
    """
    sums: dict[bytes, str] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if not member.isreg():
                continue
            stream = archive.extractfile(member)
            assert stream is not None
            digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # IO has readinto
            sums[PurePosixPath(member.name).as_posix().encode()] = digest
    tops = {name.split(b"/", 1)[0] for name in sums}
    if len(tops) == 1 and tops != {b"admin"} and all(b"/" in name for name in sums):
        sums = {name.split(b"/", 1)[1]: digest for name, digest in sums.items()}
    total = hashlib.sha256()
    for name in sorted(sums):
        total.update(sums[name].encode() + b"  ./" + name + b"\n")
    return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Pin:
    """What an archive must be: one of the two digests has to fit (hex; None when not recorded)."""

    sha256: str | None
    content: str | None

    def prove(self, path: Path, source: str) -> str:
        """Which digest the archive at `path` matches: "sha256" or "content". Raises ArchiveError with both values."""
        got_file = file_digest(path)
        if self.sha256 and got_file == self.sha256.lower():
            return "sha256"
        got_content = "not asked for"
        if self.content:
            try:
                got_content = content_digest(path)
            except (tarfile.TarError, OSError, EOFError) as error:
                got_content = f"not a readable archive ({error})"
            if got_content == self.content.lower():
                return "content"
        raise ArchiveError(
            f"{source} is not the pinned archive: "
            f"SHA-256 expected {self.sha256 or 'none'}, got {got_file}; "
            f"content digest expected {self.content or 'none'}, got {got_content}"
        )

    def label(self) -> str:
        """Short name of the pin: cached archives are kept apart by it, so that a new pin never meets an old file."""
        return (self.sha256 or self.content or "")[:16].lower()


def download(url: str, to: Path, timeout: int) -> str | None:
    """Fetch `url` into the file `to`. Returns None, or the reason why the place has not got the archive."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer, to.open("wb") as out:
            while block := answer.read(BLOCK):
                out.write(block)
                if out.tell() > MAX_ARCHIVE:
                    return f"more than {MAX_ARCHIVE} bytes"
    except (http.client.HTTPException, OSError, ValueError) as error:
        return str(getattr(error, "reason", None) or error)
    return None


def nowhere(reasons: list[str]) -> ArchiveError:
    """The error that no place has the archive; reasons: an address and what it said, each."""
    advice = "put it into a folder that source_build_archive_dir names, or name a mirror in source_build_mirrors"
    return ArchiveError(
        f"cannot be had: {'; '.join(reasons) or 'no mirror and no address is known'}. To go on, {advice}"
    )


def find(addresses: list[str], timeout: int) -> str:
    """The first address that has the archive, of which no more than the beginning is read."""
    reasons = []
    for address in addresses:
        try:
            with urllib.request.urlopen(address, timeout=timeout) as answer:
                if answer.read(1):
                    return address
            reasons.append(f"{address}: empty")
        except (http.client.HTTPException, OSError, ValueError) as error:
            reasons.append(f"{address}: {getattr(error, 'reason', None) or error}")
    raise nowhere(reasons)


def fetch(addresses: list[str], pin: Pin, kept: Path, timeout: int) -> tuple[str, str]:
    """Download the archive to `kept`; it gets that name only once proved. Returns (address, proved_by)."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        fresh = Path(folder, "archive")
        for address in addresses:
            reason = download(address, fresh, timeout)
            if reason is None:
                proved_by = pin.prove(fresh, address)
                fresh.replace(kept)
                return address, proved_by
            reasons.append(f"{address}: {reason}")
    raise nowhere(reasons)


def obtain(ask: Mapping[str, Any], is_check: bool) -> dict[str, Any]:
    """Take it from the local folder, the cache, or an address; return the module's result.

    is_check: an address is only asked whether it has it. Raises ArchiveError and OSError.
    """
    pin = Pin(ask["sha256"], ask["content"])
    names = [ask["name"], *ask["aliases"]]
    for path in (Path(ask["local_dir"]).expanduser() / name for name in names if ask["local_dir"]):
        if path.is_file():
            return {"changed": False, "path": str(path), "source": str(path), "proved_by": pin.prove(path, str(path))}
    kept = Path(ask["cache_dir"], "archives", pin.label(), ask["name"])
    if kept.is_file():
        return {"changed": False, "path": str(kept), "source": "cache", "proved_by": pin.prove(kept, str(kept))}
    addresses = [mirror.rstrip("/") + "/" + name for mirror in ask["mirrors"] for name in names] + ask["urls"]
    if is_check:
        return {"changed": True, "path": "", "source": find(addresses, ask["timeout"])}
    source, proved_by = fetch(addresses, pin, kept, ask["timeout"])
    return {"changed": True, "path": str(kept), "source": source, "proved_by": proved_by}


def main() -> None:
    """Run the module."""
    strings = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "aliases": strings,
            "sha256": {"type": "str"},
            "content": {"type": "str"},
            "local_dir": {"type": "str", "default": ""},
            "mirrors": strings,
            "urls": strings,
            "cache_dir": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 30},
        },
        required_one_of=[("sha256", "content")],
        supports_check_mode=True,
    )
    ask = module.params
    try:
        module.exit_json(**obtain(ask, is_check=module.check_mode))
    except ArchiveError as error:
        looked_in = f" (looked in the local folder {ask['local_dir']} first)" if ask["local_dir"] else ""
        module.fail_json(msg=f"{ask['name']}: {error}{looked_in}")
    except OSError as error:
        module.fail_json(msg=f"{ask['name']}: {error}")


if __name__ == "__main__":
    main()
