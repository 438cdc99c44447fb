"""The throwaway root goes whatever happens, a failed step says what it printed, and a key tells builds apart.

A whole build needs root, apt and a mirror: the lab's hosts do that.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import throwaway_build

from gatewright.chapters import source_build


@pytest.fixture
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(throwaway_build, "LOCK", tmp_path / "lock")
    return tmp_path / "work"


def test_place_is_removed_when_the_build_fails(work_dir: Path) -> None:
    with pytest.raises(RuntimeError), throwaway_build.throwaway_place(work_dir) as place:
        (place / "cc").touch()
        raise RuntimeError
    assert not list(work_dir.iterdir())


def test_what_a_killed_build_left_goes_first(work_dir: Path) -> None:
    (work_dir / "throwaway/root").mkdir(parents=True)
    with throwaway_build.throwaway_place(work_dir) as place:
        assert not list(place.iterdir())


def test_failed_step_names_itself_and_shows_its_last_words() -> None:
    with pytest.raises(throwaway_build.BuildError, match=r"(?s)compile: exit status 3.*no such header"):
        throwaway_build.Runner(10).run("compile", ["/bin/sh"], script="echo no such header; exit 3")


@pytest.mark.parametrize("part", ["patches", "compile", "users", "package"])
def test_key_changes_with_every_part(part: str) -> None:
    recipe = {"archive": "a", "package": {"scripts": {}}}
    key = source_build.build_key(recipe, {"sha256": "0"}, "trixie", "x86_64")
    other = {**recipe, part: {"scripts": {"postinst": "x"}} if part == "package" else "other"}
    assert source_build.build_key(other, {"sha256": "0"}, "trixie", "x86_64") != key
    assert source_build.build_key(recipe, {"sha256": "1"}, "trixie", "x86_64") != key
    assert source_build.build_key(recipe, {"sha256": "0"}, "bookworm", "x86_64") != key
    assert source_build.build_key(recipe, {"sha256": "0", "urls": ["elsewhere"]}, "trixie", "x86_64") == key


def test_a_plan_names_its_build_in_the_result_and_in_the_version() -> None:
    recipe = {"archive": "a", "files": {"x": "1"}, "package": {"control": {"Package": "p", "Version": "1.0"}}}
    plan = source_build.build_plan(recipe, {}, "/cache", "trixie", "x86_64")
    other = source_build.build_plan({**recipe, "files": {"x": "2"}}, {}, "/cache", "trixie", "x86_64")
    key = source_build.build_key(recipe, {}, "trixie", "x86_64")
    assert plan["result"] == f"/cache/built/a-{key}.deb"
    assert (plan["package"]["control"]["Package"], plan["package"]["control"]["Version"]) == ("p", f"1.0+gw{key}")
    assert other["result"] != plan["result"]
    assert source_build.build_plan({"archive": "a"}, {}, "/cache", "trixie", "x86_64")["result"].endswith(".tar.gz")


def test_a_host_lacks_a_build_that_nobody_has_seen_or_seen_in_another_version() -> None:
    plan = source_build.build_plan({"archive": "a", "files": {"x": "1"}, "package": {}}, {}, "", "trixie", "x86_64")
    version = plan["package"]["control"]["Version"]
    assert not source_build.lacks_build({"gatewright-a": version}, plan)
    assert source_build.lacks_build({"gatewright-a": f"{version}0"}, plan)
    assert source_build.lacks_build({}, plan)


def test_what_all_packages_have_in_common_need_not_be_said() -> None:
    ours = {"package/install.sh": "cp x y", "package/postinst": "start", "src/prerm": "no script"}
    own = {"archive": "greeter", "files": ours, "compile": "make", "package": {"control": {"Depends": "python3"}}}
    plan = source_build.build_plan(own, {}, "/cache", "trixie", "aarch64")
    assert plan["install"] == "cp x y"
    assert plan["package"]["scripts"] == {"postinst": "start"}
    control = plan["package"]["control"]
    assert control | {"Version": ""} == {
        "Package": "gatewright-greeter", "Architecture": "arm64", "Maintainer": "Gatewright <root@localhost>",
        "Section": "mail", "Priority": "optional", "Depends": "python3", "Version": "",
    }  # short pairs, many a line # fmt: skip

    others = {"archive": "a-1.0", "package": {"control": {"Package": "p", "Version": "1", "Architecture": "all"}}}
    control = source_build.build_plan(others, {"sha256": "0"}, "/cache", "trixie", "x86_64")["package"]["control"]
    assert (control["Architecture"], control["Depends"], "Section" in control) == ("all", "libc6", False)


def test_a_build_that_was_completed_keeps_its_key() -> None:
    recipe = {"archive": "a", "files": {"package/install.sh": "x"}, "package": {"control": {"Depends": "python3"}}}
    whole = source_build.complete(recipe, "x86_64")
    assert source_build.build_key(recipe, {}, "trixie", "x86_64") == source_build.build_key(
        whole, {}, "trixie", "x86_64"
    )
    assert source_build.complete(whole, "x86_64") == whole


def test_sources_of_a_role_are_read_without_what_tools_leave() -> None:
    files = source_build.role_files("scanner", "client", "gatescan")
    assert "client/gatescan-queue.c" in files and "gatescan/__init__.py" in files
    assert not [name for name in files if "__pycache__" in name]


def test_what_only_fsanitize_needs_is_unpacked_for_who_names_it() -> None:
    asan, gcc = Path("libasan8_14.2.0-19_amd64.deb"), Path("gcc-14_14.2.0-19_amd64.deb")
    assert [throwaway_build.is_used(deb, throwaway_build.TOOLS) for deb in (asan, gcc)] == [False, True]
    assert throwaway_build.is_used(asan, ["libasan8"])


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb makes and unpacks packages")
def test_the_root_has_programs_and_headers_but_no_documentation(work_dir: Path) -> None:
    content = work_dir / "content"
    files = ("usr/bin/cc1", "usr/include/x.h", "usr/share/doc/x/README", "usr/share/man/man1/x.1")
    for path in (content / name for name in files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    control = dict.fromkeys(("Package", "Maintainer", "Description"), "x") | {"Version": "1", "Architecture": "all"}
    runner, root, deb = throwaway_build.Runner(30), work_dir / "root", work_dir / "x_1_all.deb"
    content.rename(work_dir / "out")
    throwaway_build.pack(runner, work_dir, work_dir, deb, {"control": control})
    throwaway_build.unpack_packages(runner, root, [deb])
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == sorted(files[:2])


@pytest.mark.parametrize("has_lists", [True, False])
def test_it_is_told_whether_apts_lists_had_to_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_lists: bool
) -> None:
    fetched: list[bool] = []

    def apt(_self: throwaway_build.Runner, what: str, command: list[str]) -> str:
        if command[-1] == "update":
            fetched.append(True)
        elif not has_lists and not fetched:
            raise throwaway_build.BuildError(what)
        return ""

    monkeypatch.setattr(throwaway_build.Runner, "run", apt)
    _debs, has_fetched = throwaway_build.download_packages(throwaway_build.Runner(1), tmp_path, ["gcc"])
    assert has_fetched is not has_lists
