"""What the project says of itself: release, licence, requirements, hooks, CI, and documents that lead somewhere."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import gatescan
import pytest
import yaml

from gatewright.chapters.source_build import build_plan

PROJECT = Path(__file__).parents[2]
RELEASE = (PROJECT / "VERSION").read_text().strip()
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
TEXTS = {".py", ".yml", ".toml", ".sh", ".md", ".c", ".h", ".j2", ".cfg", ".txt"}


def files() -> list[Path]:
    """The project's text files, without locked lists and what tools leave."""
    found = (path for path in PROJECT.rglob("*") if path.suffix in TEXTS and path.is_file())
    hidden = {".cache", ".git", ".venv", ".build", ".mypy_cache", ".ruff_cache"}
    return [path for path in found if not hidden & set(path.relative_to(PROJECT).parts) and path.name != "dev.txt"]


def read(name: str) -> Any:
    """A YAML file of the project."""
    return yaml.safe_load((PROJECT / name).read_text())


def test_the_release_stands_in_one_file() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", RELEASE)
    assert gatescan.__version__ == RELEASE
    assert tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]
    pattern = re.compile(rf"""version\w*["']?\s*[:=]\s*["']?v?{re.escape(RELEASE)}\b""", re.IGNORECASE)
    assert [str(path) for path in files() if pattern.search(path.read_text(errors="replace"))] == []


@pytest.mark.parametrize("role", ["scanner", "starttls", "gatepost", "gatekeeper"])
def test_packages_of_our_own_programs_carry_the_release(role: str) -> None:
    variables = yaml.safe_load((PROJECT / "roles" / role / "vars/main.yml").read_text())
    recipe = variables.get(f"_{role}_recipe") or variables[f"{role}__recipe"]
    control = build_plan(recipe | {"files": {}}, {}, "/cache", "trixie", "x86_64")["package"]["control"]
    assert control["Version"].startswith(f"{RELEASE}+gw")


@pytest.mark.parametrize("role", ["dnscache", "ucspi_tcp"])
def test_packages_of_ours_leave_the_hosts_usr_local_bin(role: str) -> None:
    variables = yaml.safe_load((PROJECT / "roles" / role / "vars/main.yml").read_text())
    (recipe,) = [value for value in variables.values() if isinstance(value, dict) and "archive" in value]
    assert "usr/local/bin" in str(recipe) and recipe["package"]["scripts"] == "{{ source_build__keep_local_bin }}"
    scripts = yaml.safe_load((PROJECT / "roles/source_build/vars/main.yml").read_text())["source_build__keep_local_bin"]
    assert "mkdir -p -m 0755 /usr/local/bin" in scripts["postrm"]


def test_the_product_knows_nothing_of_the_labs_stand_in_for_qmail() -> None:
    plugins = ("library", "module_utils", "filter_plugins", "lookup_plugins", "action_plugins")
    product = ("roles", "gatewright", "playbooks", *plugins)
    named = re.compile(r"\bstandin\b|stand-in for qmail|lab's stand-in", re.IGNORECASE)
    places = {PROJECT / folder for folder in product}
    found = [path for path in files() if places & set(path.parents) and named.search(path.read_text(errors="replace"))]
    assert [str(path.relative_to(PROJECT)) for path in found] == []


def test_the_changelog_knows_the_release_and_what_comes_next() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert RELEASE in headings or ".dev" in RELEASE


def test_the_licence_is_the_same_everywhere() -> None:
    text = (PROJECT / "LICENSE").read_text()
    assert text.startswith("MIT License\n") and "The Gatewright maintainers" in text
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["license-files"]) == ("MIT", ["LICENSE"])
    roles = [path for path in (PROJECT / "roles").iterdir() if (path / "tasks").is_dir()]
    metas = {role.name: read(f"roles/{role.name}/meta/main.yml")["galaxy_info"]["license"] for role in roles}
    assert set(metas.values()) == {"MIT"}, metas


def test_what_galaxy_is_asked_for_is_pinned() -> None:
    wanted = read("requirements.yml")
    assert set(wanted) == {"collections", "roles"}
    for item in [*wanted["collections"], *wanted["roles"]]:
        assert re.fullmatch(r"\d+(\.\d+)+", str(item["version"])), item


def test_collections_that_the_code_uses_are_required() -> None:
    """A task of community.general, say, works only where requirements.yml brings it."""
    required = {item["name"] for item in read("requirements.yml")["collections"]}
    module = re.compile(r"^\s*(?:- )?((?!ansible\.builtin)[a-z_]+\.[a-z_]+)\.[a-z_0-9]+:$", re.MULTILINE)
    places = ("roles", "playbooks", "molecule", "tests")
    texts = [path.read_text() for place in places for path in (PROJECT / place).rglob("*.yml")]
    assert {name for text in texts for name in module.findall(text)} <= required


def test_hooks_fetch_nothing() -> None:
    assert {repository["repo"] for repository in read(".pre-commit-config.yaml")["repos"]} == {"local"}


def test_the_hook_for_subjects_takes_72_characters_and_no_more(tmp_path: Path) -> None:
    hooks = {hook["id"]: hook for hook in read(".pre-commit-config.yaml")["repos"][0]["hooks"]}
    message = tmp_path / "message"
    for length, status in ((72, 0), (73, 1)):
        message.write_text("x" * length + "\n\nWhy.\n")
        done = subprocess.run(f"{hooks['subject']['entry']} {message}", shell=True, check=False)
        assert done.returncode == status


def test_hosted_ci_calls_what_everybody_calls() -> None:
    jobs = read(".github/workflows/ci.yml")["jobs"].values()
    lines = {step["run"] for job in jobs for step in job["steps"] if "run" in step}
    assert lines == {"./gw demo", "./gw test", "bash .ci/run"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_lead_to_files_and_verbs_that_there_are(name: str) -> None:
    text = (PROJECT / name).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    paths = re.findall(r"`((?:tests|docs|roles|playbooks|lab|molecule|inventory)/[\w./-]+)`", text)
    paths = [path for path in paths if path != "inventory/mine" and not path.startswith("roles/greeter/")]  # examples
    assert [path for path in (*links, *paths) if not (PROJECT / path).exists()] == []
    cases = set(re.findall(r"^  ([\w |-]+)\)", (PROJECT / "gw").read_text(), re.MULTILINE))
    verbs = {verb.strip() for case in cases for verb in case.split("|")}
    assert set(re.findall(r"\./gw (\w+)", text)) <= verbs
    playbooks = set(re.findall(r"\./gw playbook ([a-z]+)", text))
    assert [playbook for playbook in playbooks if not (PROJECT / f"playbooks/{playbook}.yml").exists()] == []


def test_every_test_that_documents_name_is_there() -> None:
    tests = list((PROJECT / "tests").rglob("test_*.py"))
    there = {path.name for path in tests}
    there |= {name for path in tests for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    named = {
        name
        for path in (PROJECT / "docs").glob("*.md")
        for name in re.findall(r"`(?:tests/[\w/]*/)?(test_\w+(?:\.py)?)`", path.read_text())
    }
    assert named
    assert named - there == set()


def test_gateways_that_pull_have_the_ansible_core_that_debian_12_takes_as_locked() -> None:
    pin, *hashes = [line for line in (PROJECT / "requirements/pull.txt").read_text().splitlines() if line[:1] != "#"]
    locked = (PROJECT / "requirements/dev.txt").read_text().splitlines()
    (at,) = [number for number, line in enumerate(locked) if line.startswith(pin.rstrip(" \\") + " ")]
    assert pin.startswith("ansible-core==2.19.")
    assert hashes == locked[at + 1 : at + 3]


def test_the_execution_environment_has_the_ansible_core_that_is_locked() -> None:
    pin = read("execution-environment.yml")["dependencies"]["ansible_core"]["package_pip"]
    locked = (PROJECT / "requirements/dev.txt").read_text()
    assert f"\n{pin} ; python_full_version >= '3.12' " in locked
