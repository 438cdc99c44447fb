"""Every role says what it may be told: specs, defaults and documentation agree; its tasks are a table of contents."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from docs import generate

PROJECT = Path(__file__).parents[2]
ROLES = sorted(path.parent.parent for path in (PROJECT / "roles").glob("*/tasks/main.yml"))
IMPORTS = {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks"}

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


@each_role
def test_specs_and_defaults_agree_and_everything_has_a_meaning(role: Path) -> None:
    read = generate.read_role(role)
    assert read.title
    assert read.description
    assert read.problems == ()
    assert [item.name for item in read.variables if not item.meaning] == []


@each_role
def test_every_variable_bears_the_name_of_its_role(role: Path) -> None:
    assert [item.name for item in generate.read_role(role).variables if not item.name.startswith(f"{role.name}_")] == []


@each_role
def test_every_default_has_a_comment(role: Path) -> None:
    lines = (role / "defaults" / "main.yml").read_text().splitlines()
    above = zip(["", *lines], lines, strict=False)
    bare = [line for before, line in above if re.match(r"\w+:", line) and not before.startswith("#")]
    assert bare == []


@each_role
def test_the_main_file_of_tasks_only_imports_files_and_tags_them(role: Path) -> None:
    tasks = yaml.safe_load((role / "tasks" / "main.yml").read_text()) or []
    assert [task["name"] for task in tasks if not IMPORTS & task.keys()] == []
    assert [task["name"] for task in tasks if not task.get("tags")] == []


@each_role
def test_the_tags_of_a_role_carry_its_name(role: Path) -> None:
    files = [yaml.safe_load(path.read_text()) or [] for path in (role / "tasks").glob("*.yml")]
    tags = {tag for tasks in files for task in tasks for tag in task.get("tags", ())}
    # Besides, a task has the tags of the roles that it does something for.
    foreign = {tag for tag in tags if not tag.startswith(role.name) and "query('publishers'" not in tag}
    assert foreign <= {path.name for path in ROLES}


@pytest.mark.parametrize(
    "role", [role for role in ROLES if "__migrations:" in (role / "defaults/main.yml").read_text()]
)
def test_a_release_has_the_same_migrations_whatever_is_switched_on(role: Path) -> None:
    """Else to switch something off would look like going back."""
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    template = NativeEnvironment().from_string(defaults[f"{role.name}__migrations"])
    switches = [name for name, value in defaults.items() if isinstance(value, bool)]
    rendered: list[Any] = [template.render(dict.fromkeys(switches, is_on)) for is_on in (False, True)]
    off, on = rendered
    assert off.keys() == on.keys()


def test_tags_that_are_applied_are_one_list_without_another_in_it() -> None:
    """At `apply: {tags: [one, "{{ some list }}"]}` ansible-core 2.21 ends with a traceback."""
    for path in sorted((PROJECT / "roles").glob("*/tasks/*.yml")):
        for task in yaml.safe_load(path.read_text()) or []:
            include = task.get("ansible.builtin.include_tasks")
            tags = include.get("apply", {}).get("tags", []) if isinstance(include, dict) else []
            nested = [tag for tag in tags if "{{" in tag] if isinstance(tags, list) else []
            assert not nested, f"{path}: {task['name']}"


def test_no_tag_but_trimmings_purges_packages() -> None:
    purging = [path for path in (PROJECT / "roles").glob("*/tasks/*.yml") if "purge: true" in path.read_text()]
    assert {path.parent.parent.name for path in purging} <= {"service_trimming", "firewall"}
    contents = yaml.safe_load((PROJECT / "roles" / "service_trimming" / "tasks" / "main.yml").read_text())
    (entry,) = [task for task in contents if "packages.yml" in str(task)]
    assert entry["tags"] == ["service_trimming_packages"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one role, tcp_smtp, its documentation fresh."""
    for name in ("meta/argument_specs.yml", "defaults/main.yml"):
        target = tmp_path / "roles" / "tcp_smtp" / name
        target.parent.mkdir(parents=True)
        shutil.copy(PROJECT / "roles" / "tcp_smtp" / name, target)
    (tmp_path / "docs").mkdir()
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "site.yml").write_text("- roles: [{role: tcp_smtp}]\n")
    assert generate.main([], tmp_path) == 0
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    """Replace what must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_fresh_documentation_passes_the_check(project: Path) -> None:
    assert generate.main(["--check"], project) == 0


def test_documentation_shows_type_default_and_keys(project: Path) -> None:
    text = (project / "docs" / "inventory.md").read_text()
    assert "- `tcp_smtp_deny` (list of raw, default `[]`): Who may not connect at all" in text
    assert "  - `env` (dict, required): Environment, such as `QMAILQUEUE`" in text
    assert "tcp_smtp__relay_networks" not in text
    readme = (project / "roles" / "tcp_smtp" / "README.md").read_text()
    assert "tcp_smtp__relay_networks" in readme.partition("## Published to other roles")[2]


def test_what_people_wrote_around_the_generated_part_is_kept(project: Path) -> None:
    readme = project / "roles" / "tcp_smtp" / "README.md"
    readme.write_text("# By hand\n\n" + readme.read_text().partition("\n\n")[2] + "\nThe end.\n")
    edit(project / "roles" / "tcp_smtp" / "meta" / "argument_specs.yml", "Who may not connect at all", "Not these")
    assert generate.main([], project) == 0
    text = readme.read_text()
    assert text.startswith("# By hand\n\n")
    assert text.endswith("\nThe end.\n")
    assert "Not these" in text


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("meta/argument_specs.yml", "Who may not connect", "Whoever may not", "docs/inventory.md is stale"),
        ("defaults/main.yml", "tcp_smtp_deny: []", "tcp_smtp_deny: [10.0.0.1]", "tcp_smtp_deny is [] in the specs"),
        ("defaults/main.yml", "tcp_smtp_deny: []", "", "tcp_smtp_deny is in the specs, but has no default"),
        ("defaults/main.yml", "tcp_smtp_deny:", "tcp_smtp_new: 1\ntcp_smtp_deny:", "tcp_smtp_new has a default, but"),
    ],
)
def test_the_check_fails_on_what_is_stale_or_disagrees(
    project: Path, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str, words: str
) -> None:
    edit(project / "roles" / "tcp_smtp" / file, old, new)
    assert generate.main(["--check"], project) == 1
    assert words in capsys.readouterr().err


def test_no_service_user_has_a_home_that_is_its_own() -> None:
    """Programs read files of a user's home for that user: it is root's, and empty, or not there, or qmail's."""
    lines = [
        line
        for path in (PROJECT / "roles").glob("*/*/main.yml")
        for line in path.read_text().splitlines()
        if re.search(r"\bname\W+:.*\bhome\b", line) or re.search(r"{name:.*\bhome:", line)
    ]
    assert len(lines) >= 12
    theirs = [line for line in lines if not re.search(r"foundation__home|/nonexistent}|/var/qmail(/alias)?}", line)]
    assert theirs == []


@each_role
def test_a_run_that_is_cut_leaves_a_note_of_what_it_owes(role: Path) -> None:
    """What a file's change calls for is not done when the run ends before: file_set notes it, by `owed`."""
    texts = [path.read_text() for path in sorted((role / "tasks").glob("*.yml"))]
    tasks = [task for text in texts for task in yaml.safe_load(text) or [] if "file_set" in task]
    documented = (PROJECT / "library" / "file_set.py").read_text().split('"""')[3]
    options = set(yaml.safe_load(documented)["options"])
    assert [task["name"] for task in tasks if options & set(task.get("vars", {}))] == [], (
        "an option among the variables"
    )
    paths = {found for text in texts for found in re.findall(r"(\w+)\.changed_paths", text)}
    due = [task for task in tasks if "notify" in task or task.get("register") in paths]
    assert [task["name"] for task in due if "owed" not in task["file_set"]] == []
