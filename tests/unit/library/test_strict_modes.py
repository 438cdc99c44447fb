"""strict_modes: permissions are only taken away, set-id bits by dpkg, and unknown set-id programs are named."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import strict_modes

from tests.modules import run_module

# Keeps the overrides as `path mode` lines; --update gives the file its mode.
STATOVERRIDE = """\
#!/bin/sh
list=${0%/*}/overrides
case $1 in
--list) grep -q "^$2 " "$list" ;;
--remove) sed -i "\\\\|^$2 |d" "$list" ;;
--update) echo "$6 $5" >> "$list"; chmod "$5" "$6" ;;
esac
"""

KNOWS_ALL = "#!/bin/sh\n"


class Host:
    """A folder with programs, and a dpkg of its own."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.files = folder / "files"
        self.files.mkdir()
        self.overrides = self.programs / "overrides"
        self.overrides.touch()
        for name, text in (("dpkg-statoverride", STATOVERRIDE), ("dpkg-query", KNOWS_ALL)):
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)

    def file(self, name: str, mode: int) -> str:
        """Make a file; return its path."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(mode)
        return str(path)

    def run(self, check: bool = False, **options: Any) -> Any:
        """Run the module; return what it says."""
        arguments = options | {"search": str(self.files)}
        return run_module("strict_modes", arguments, check, diff=True, programs=self.programs)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def mode(path: str) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.mark.parametrize(
    ("present", "limit", "left"),
    [
        pytest.param(0o644, "0640", 0o640, id="too open"),
        pytest.param(0o600, "0640", 0o600, id="stricter stays"),
        pytest.param(0o604, "0640", 0o600, id="no bit is granted"),
        pytest.param(0o2755, "0750", 0o2750, id="a directory's group bit stays"),
    ],
)
def test_permissions_are_only_taken_away(host: Host, present: int, limit: str, left: int) -> None:
    path = host.file("a.log", present)
    told = host.run(limits={f"{host.files}/*.log": limit})
    assert mode(path) == left
    assert told["changed"] is (present != left)
    assert host.run(limits={f"{host.files}/*.log": limit})["changed"] is False


def test_a_pattern_goes_down_and_links_are_left(host: Host) -> None:
    deep = host.file("one/two/b.log", 0o666)
    outside = host.file("target", 0o666)
    (host.files / "link.log").symlink_to(outside)
    told = host.run(limits={f"{host.files}/**/*.log": "0640"})
    assert told["changed_paths"] == [deep]
    assert mode(outside) == 0o666


def test_a_set_id_program_is_stripped_by_dpkg_and_stays_so(host: Host) -> None:
    path = host.file("chfn", 0o4755)
    told = host.run(strip=[path])
    assert (told["changed"], told["unknown"], mode(path)) == (True, [], 0o755)
    assert host.overrides.read_text() == f"{path} 0755\n"
    assert host.run(strip=[path])["changed"] is False


def test_an_override_that_says_otherwise_gives_way(host: Host) -> None:
    path = host.file("mount", 0o4755)
    host.overrides.write_text(f"{path} 4755\n")
    host.run(strip=[path])
    assert host.overrides.read_text() == f"{path} 0755\n"


def test_dpkg_is_told_the_path_that_it_knows() -> None:
    class Dpkg:
        """One that knows /bin/mount and /usr/bin/chfn."""

        def run_command(self, command: list[str]) -> tuple[int, str, str]:
            return (0 if command[-1] in ("/bin/mount", "/usr/bin/chfn") else 1), "", ""

    paths = ("/usr/bin/mount", "/usr/bin/chfn", "/opt/tool")
    assert [strict_modes.name_for_dpkg(Dpkg(), path) for path in paths] == ["/bin/mount", "/usr/bin/chfn", "/opt/tool"]


def test_set_id_programs_that_nobody_declared_are_named_and_kept(host: Host) -> None:
    known, unknown = host.file("passwd", 0o4755), host.file("deep/rootkit", 0o2755)
    host.file("plain", 0o755)
    told = host.run(allowed=[known])
    assert (told["setid"], told["unknown"], told["changed"]) == ([unknown, known], [unknown], False)
    assert mode(unknown) == 0o2755


def test_a_check_changes_nothing_and_shows_what_it_would(host: Host) -> None:
    log, program = host.file("a.log", 0o644), host.file("chsh", 0o4755)
    told = host.run(check=True, limits={log: "0600"}, strip=[program])
    assert told["changed_paths"] == [log, program]
    assert told["diff"]["after"] == f"{log} 0600\n{program} 0755\n"
    assert (mode(log), mode(program), host.overrides.read_text()) == (0o644, 0o4755, "")
