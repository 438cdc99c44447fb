"""The scanners, unpacked beside the host that they look at: none is installed there, so nothing of it changes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab.machine import environment, run
from lab.topology import CACHE

Enter = Callable[..., list[str]]
"""Turns a command into the command line that runs it inside a host, with this program's standard input."""

INSIDE = "/opt/bench"
CONTENT = "usr/share/xml/scap/ssg/content"
WANTED = {
    "trixie": "openscap-scanner,lynis",
    "bookworm": "openscap-scanner,lynis,libopendbx1",
}
NUMBER = {"bookworm": 12, "trixie": 13}

MACHINE_VIEW = (
    ('<unix:filepath datatype="string">/.dockerenv<', '<unix:filepath datatype="string">/.none<'),
    ('<unix:filepath datatype="string">/run/.containerenv<', '<unix:filepath datatype="string">/run/.none<'),
    ("<linux:name>linux-base<", "<linux:name>base-files<"),
)
"""The content takes a host with these files for a container, and one without this package for a host without a kernel,
and leaves out more than half of its rules there. Here it looks at every host as at a machine."""


def toolbox(suite: str) -> Path:
    """Return the archive of a suite's tools, made by mmdebstrap unless it is there.

    The newest content knows both suites and is only in sid, whose signed index may be older than it says it holds (a
    mirror that stands still): that matters to a bench less than to a host.
    """
    archive = CACHE.parent / "hardening" / f"tools-{suite}.tar"
    if archive.exists():
        return archive
    root = archive.with_suffix("")
    root.mkdir(parents=True, exist_ok=True)
    _extract(suite, WANTED[suite], root, [])
    _extract("sid", "ssg-debian", root, ["--aptopt=Acquire::Check-Valid-Until false"])
    _take_machine_view(root / CONTENT / f"ssg-debian{NUMBER[suite]}-ds.xml")
    parts = [name for name in ("usr", "lib", "etc/lynis") if (root / name).exists()]
    run("tar", "--create", "--exclude=usr/share/doc", "--exclude=usr/share/man", "--exclude=usr/share/locale",
        f"--file={archive}", f"--directory={root}", *parts)  # a command as one types it # fmt: skip
    run("rm", "-rf", str(root))
    return archive


def _extract(suite: str, packages: str, root: Path, options: list[str]) -> None:
    part = root.with_name(f"{root.name}-{packages.split(',')[0]}.tar")
    run("mmdebstrap", "--variant=extract", f"--include={packages}", *options, suite, str(part))
    run("tar", "--extract", f"--file={part}", f"--directory={root}")
    part.unlink()


def _take_machine_view(content: Path) -> None:
    text = content.read_text()
    for old, new in MACHINE_VIEW:
        text, count = re.subn(re.escape(old), new, text)
        if not count:
            raise SystemExit(f"bench: {content.name} has no {old!r}: its inventory checks have changed")
    content.write_text(text)


def container(name: str) -> Enter:
    """The way into a container."""
    return lambda *command: ["podman", "exec", "--interactive", name, *command]


def bring(enter: Enter, suite: str) -> None:
    """Unpack the tools in a host, and put Lynis where it looks for itself."""
    with toolbox(suite).open("rb") as archive:
        script = f"mkdir -p {INSIDE} && tar -xf - -C {INSIDE}"
        subprocess.run(enter("sh", "-c", script), stdin=archive, check=True, env=environment())
    places = (
        ("usr/share/lynis/.", "/usr/share/lynis"),
        ("etc/lynis/.", "/etc/lynis"),
        ("usr/sbin/lynis", "/usr/sbin/"),
    )
    for source, target in places:
        make = f"mkdir -p {target} && cp -r {INSIDE}/{source} {target}"
        run(*enter("sh", "-c", make), input_text="")
