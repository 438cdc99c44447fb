"""Files and folders of the controller that an inventory names: where a run would look for them, before it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gatewright import PROJECT
from gatewright.inventory import Site
from gatewright.problems import Problems


def check_source(site: Site, problems: Problems, variable: str, is_folder: bool = False) -> None:
    """What a task of the variable's role copies to gateways is there, and can be read."""
    value = site.value(variable)
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        return
    places = list(_places(site, variable, value))
    found = next((place for place in places if place.exists()), None)
    if found is None:
        where = "" if Path(value).expanduser().is_absolute() else f", neither from {site.playbook} nor from the role"
        problems.add(variable, f"{value} is not there on the controller{where}: put it there, or correct the path")
    elif found.is_dir() is not is_folder:
        problems.add(variable, f"{found} is {'no' if is_folder else 'a'} folder, and must be a {_kind(is_folder)}")


def _kind(is_folder: bool) -> str:
    return "folder of files" if is_folder else "file"


def _places(site: Site, variable: str, value: str) -> Iterator[Path]:
    """The places where ansible's copy looks for a path, in its order."""
    role = PROJECT / "roles" / variable.partition("_")[0]
    path = Path(value).expanduser()
    tops = (role / "files", role, role / "tasks" / "files", role / "tasks", site.playbook / "files", site.playbook)
    yield from [path] if path.is_absolute() else (top / path for top in tops)
