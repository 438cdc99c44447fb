"""What is built, and where archives come from: a recipe's key in the controller's cache, and its place there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewright import PROJECT, kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems

ROLES = PROJECT / "roles"
RELEASE = PROJECT / "VERSION"
"""The file that holds Gatewright's own version."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Debian's names of the kernel's."""
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
"""Maintainer scripts of a package, as dpkg names them."""

_pin = kinds.record(
    {
        "name": kinds.file_name,
        "sha256": kinds.sha256,
        "content": kinds.sha256,
        "urls": kinds.listed(kinds.url("http", "https", "file")),
        "aliases": kinds.listed(kinds.file_name),
    },
    needed=["name"],
)


def remark(site: Site, remarks: Problems) -> None:
    """A folder of archives that is not there: they are looked for elsewhere."""
    folder = site.value("source_build_archive_dir")
    if folder and not Path(folder).expanduser().is_dir():
        remarks.add(
            "source_build_archive_dir", f"{folder} is no folder on the controller: archives come from elsewhere"
        )


CHAPTER = Chapter(
    options={
        "source_build_archive_dir": kinds.controller_path(empty=True),
        "source_build_mirrors": kinds.listed(kinds.url("http", "https", "file")),
        "source_build_cache_dir": kinds.controller_folder(),
        "source_build_pins_extra": kinds.mapped(kinds.file_name, _pin),
    },
    remark=remark,
)


def complete(recipe: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """A recipe with what all packages of ours have in common; what it has itself counts.

    A program of our own (with `files`) is named after its `archive`, and brings its steps in the folder `package`:
    install.sh and maintainer scripts. architecture: the kernel's name of it, as in Ansible's facts.
    """
    if "package" not in recipe:
        return dict(recipe)
    files = recipe.get("files")
    common, steps, scripts = {"Depends": "libc6"}, {}, {}
    if files is not None:
        common = {"Package": f"gatewright-{recipe['archive']}", "Section": "mail", "Priority": "optional"}
        steps = {"install": files["package/install.sh"]} if "package/install.sh" in files else {}
        scripts = {name: files[f"package/{name}"] for name in SCRIPTS if f"package/{name}" in files}
    package = recipe["package"]
    made = {"Architecture": ARCHITECTURES.get(architecture, architecture), "Maintainer": "Gatewright <root@localhost>"}
    scripts |= package.get("scripts", {})
    whole = {**package, "control": {**common, **made, **package.get("control", {})}}
    return {**steps, **recipe, "package": whole | ({"scripts": scripts} if scripts else {})}


def build_key(recipe: Mapping[str, Any], pin: Mapping[str, Any], suite: str, architecture: str) -> str:
    """Digest of everything that goes into a build, 16 hex digits.

    Equal keys mean equal archive, patches, commands, accounts, Debian release and architecture. Where an archive is
    found does not count, nor does the version of the package, which is made from this key.
    """
    recipe = complete(recipe, architecture)
    content = {name: value for name, value in pin.items() if name in ("sha256", "content")}
    package = dict(recipe.get("package", {}))
    package["control"] = {k: v for k, v in package.get("control", {}).items() if k != "Version"}
    parts = [{**recipe, "package": package}, content, suite, architecture]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def build_plan(
    recipe: Mapping[str, Any], pin: Mapping[str, Any], cache: str, suite: str, architecture: str
) -> dict[str, Any]:
    """A recipe with its `result`, a path on the controller, and with a version of the package that names the build.

    So another patch or flag gives another version. A package without a version, of our own programs, has Gatewright's.
    """
    key = build_key(recipe, pin, suite, architecture)
    recipe = complete(recipe, architecture)
    suffix = "deb" if "package" in recipe else "tar.gz"
    plan = {**recipe, "result": f"{cache}/built/{recipe['archive']}-{key}.{suffix}"}
    if "package" in recipe:
        control = recipe["package"]["control"]
        version = control.get("Version") or RELEASE.read_text(encoding="utf-8").strip()
        plan["package"] = {**recipe["package"], "control": {**control, "Version": f"{version}+gw{key}"}}
    return plan


def lacks_build(installed: Mapping[str, str], plan: Mapping[str, Any]) -> bool:
    """Whether the very build of a plan is not among what is known to be installed, name to version."""
    control = plan["package"]["control"]
    return bool(installed.get(control["Package"]) != control["Version"])


def role_files(role: str, *folders: str) -> dict[str, str]:
    """Return relative path -> text of every file in folders of a role's `files`; caches of tools left out.

    A file may be named in a folder's place. Links are followed: roles share packages by them.
    """
    top = ROLES / role / "files"
    walked = (at for name in folders for at in os.walk(top / name, followlinks=True))
    named = (top / name for name in folders if (top / name).is_file())
    found = (*named, *(Path(folder) / name for folder, _, names in walked for name in names))
    names = sorted(path.relative_to(top) for path in found)
    kept = [name for name in names if not any(part == "__pycache__" or part.startswith(".") for part in name.parts)]
    return {name.as_posix(): (top / name).read_text(encoding="utf-8") for name in kept}
