"""What is wrong with a role itself is told by its place, before a host is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatewright.chapters import Chapter
from gatewright.inventory import Host, Role, Site, check_host
from gatewright.problems import InventoryError, Problems
from gatewright.role_check import check_published, check_together, options_of, specs_of
from gatewright.roles import roles_of, tags_of
from tests.unit.preflight.site_of import NEEDED, PROJECT, roles, validate

NUMBER = {"variable": "greeter_uid", "of": "users", "name": "greeter"}
SPECS = "roles/greeter/meta/argument_specs.yml"


def published(**defaults: Any) -> list[str]:
    problems = Problems()
    own: dict[str, Any] = {"greeter_uid": 970, "greeter_users": {"greeter": 970}}
    own |= {f"greeter__{kind}": value for kind, value in defaults.items()}
    check_published(Role("greeter", {}, own), problems)
    return problems.found


def numbers(**change: Any) -> dict[str, Any]:
    """A number that a role publishes, changed; None leaves a key away."""
    return {"numbers": [{key: value for key, value in {**NUMBER, **change}.items() if value is not None}]}


@pytest.mark.parametrize("role", roles())
def test_the_roles_here_are_right(role: str) -> None:
    problems = Problems()
    check_published(roles()[role], problems)
    assert problems.found == []
    assert options_of(role, specs_of(PROJECT / "roles" / role)).keys() == roles()[role].options.keys()


@pytest.mark.parametrize(
    ("need", "words"),
    [
        ({"packages": "greeter"}, "greeter__packages: must be a list, not a string"),
        ({"packages": None}, "greeter__packages: must be a list, not nothing"),
        ({"packages": ["fine", "Has Blank"]}, "greeter__packages[1]: must be the name of a Debian package"),
        ({"users": {"name": "greeter"}}, "greeter__users: must be a list, not a mapping"),
        ({"users": [{"name": "greeter"}]}, "greeter__users[0]: needs uid and gid and home"),
        ({"numbers": {"greeter": "greeter_uid"}}, "greeter__numbers: must be a list, not a mapping"),
        ({"numbers": ["greeter_uid"]}, "greeter__numbers[0]: must be a mapping, not a string"),
        (numbers(of=None), "greeter__numbers[0]: needs of"),
        (numbers(of="hosts"), "greeter__numbers[0]: of: 'hosts' is none of users, groups"),
        (numbers(variable="greeter_udi"), "greeter__numbers[0]: greeter_udi is no variable of role"),
        (numbers(variable="qmail_users"), "greeter__numbers[0]: qmail_users is no variable of role"),
        (numbers(variable=7), "greeter__numbers[0]: variable: must be one line of text"),
        (numbers(name=None), "greeter__numbers[0]: greeter_uid is one number: needs"),
        (numbers(variable="greeter_users"), "greeter__numbers[0]: greeter_users is a mapping, which"),
        ({"firewall": [{"port": 5}]}, "greeter__firewall: must be a mapping, not a list"),
        ({"firewall": {"inbond": []}}, "greeter__firewall: unknown key 'inbond'"),
        ({"firewall": {"inbound": [{"port": "http"}]}}, "greeter__firewall.inbound[0] (http): port 'http'"),
        ({"firewall": {"outbound": [{"port": 5}]}}, "greeter__firewall.outbound[0] (5): names no user"),
        ({"sockets": [{"proto": "tcp", "port": 5}]}, "greeter__sockets[0]: needs owner"),
        ({"aliases": {"abuse": []}}, "greeter__aliases.abuse: must be text, not a list"),
        ({"aliases": {"abuse": " \n"}}, "greeter__aliases.abuse: is empty"),
        ({"aliases": {"a/b": "# nowhere\n"}}, "greeter__aliases.a/b: must be the name of a file"),
        ({"questions": {"greeter": ["cat"]}}, "greeter__questions.greeter: must be text, not a list"),
        ({"questions": {"greeter": None}}, "greeter__questions.greeter: must be text, not nothing"),
        ({"questions": {"greeter": " \n"}}, "greeter__questions.greeter: is empty: the survey would ask nothing"),
        ({"questions": {"a b": "true"}}, "greeter__questions.a b: must be a name of letters"),
        ({"questions": ["true"]}, "greeter__questions: must be a mapping, not a list"),
        ({"units": ["a.service"]}, "greeter__units[0]: is the name of a unit with its suffix"),
        ({"trimmed_units": ["a.service"]}, "greeter__trimmed_units[0]: is the name of a unit with its suffix"),
        ({"pakages": ["x"]}, "greeter__pakages: there is no kind pakages; did you mean 'packages'?"),
    ],
)
def test_a_need_that_nobody_can_meet_is_refused(need: dict[str, Any], words: str) -> None:
    assert published(**need)[0].startswith(words), published(**need)


@pytest.mark.parametrize(
    ("mine", "theirs", "is_told"),
    [
        ("cat /a", "cat /b", True),
        ("cat /a", "cat /a", False),
        ("{{ a }}", "cat /b", True),
    ],
)
def test_two_roles_that_ask_by_one_name_are_told(mine: str, theirs: str, is_told: bool) -> None:
    pair = [Role(name, {}, {f"{name}__questions": {"it": text}}) for name, text in (("a", mine), ("b", theirs))]
    problems = Problems()
    check_together(pair, problems)
    assert problems.found == (["b__questions.it: a__questions gives it another value"] if is_told else [])


def test_what_two_roles_give_by_templates_is_compared_when_it_is_gathered() -> None:
    problems = Problems()
    check_together((Role(name, {}, {f"{name}__svscan": {"X": f"{{{{ {name} }}}}"}}) for name in "ab"), problems)
    check_together(roles().values(), problems)
    assert problems.found == []
    check_together((Role(name, {}, {f"{name}__svscan": {"X": name}}) for name in "ab"), problems)
    assert problems.found == ["b__svscan.X: a__svscan gives it another value"]


def test_a_number_or_a_mapping_of_numbers_of_the_roles_own_will_do() -> None:
    assert published(numbers=[NUMBER, {"variable": "greeter_users", "of": "users"}]) == []


def test_what_is_made_when_it_is_gathered_is_left_to_that() -> None:
    assert published(packages="{{ x }}", users=[{"name": "a", "uid": "{{ x }}"}], firewall={"inbound": "{{ x }}"}) == []


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (["a"], f"{SPECS}: the file: must be a mapping, not a list"),
        ({"argument_specs": ["main"]}, f"{SPECS}: argument_specs: must be a mapping, not a list"),
        ({"argument_specs": {"main": "x"}}, f"{SPECS}: main: must be a mapping, not a string"),
        ({"argument_specs": {"main": {"options": ["x"]}}}, f"{SPECS}: main: options: must be a mapping"),
        ({"argument_specs": {"main": {"options": {"x": None}}}}, f"{SPECS}: x: must be a mapping with type"),
        ({"argument_specs": {"main": {"options": {"x": {"type": "integer"}}}}}, f"{SPECS}: x: 'integer' is no type"),
    ],
)
def test_a_specification_that_is_none_is_told_with_its_file(specs: Any, words: str) -> None:
    with pytest.raises(InventoryError, match="roles/greeter") as raised:
        options_of("greeter", specs)
    assert raised.value.problems[0].startswith(words)


@pytest.mark.parametrize("text", ["argument_specs: [", "a: !vault b", "a: \0", "a: {b: 1, c: 2, b: 1}"])
def test_a_specification_that_cannot_be_read_is_told_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "roles" / "greeter" / "meta" / "argument_specs.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InventoryError) as raised:
        specs_of(path.parents[1])
    (problem,) = raised.value.problems
    assert problem.startswith(f"{SPECS}: cannot be read: ") and "\n" not in problem
    path.unlink()
    assert specs_of(path.parents[1]) == {}


def test_a_key_that_is_twice_in_a_specification_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "roles" / "greeter" / "meta" / "argument_specs.yml"
    path.parent.mkdir(parents=True)
    path.write_text("a: &base {b: 1}\nc:\n  <<: *base\n  b: 2\n  d: 3\n")
    assert specs_of(path.parents[1])["c"] == {"b": 2, "d": 3}
    path.write_text("a:\n  b: 1\n  c: 2\n  b: 3\n")
    with pytest.raises(InventoryError, match=r"cannot be read: b is there twice.*line 4"):
        specs_of(path.parents[1])


def test_an_empty_specification_has_no_options() -> None:
    for specs in ({}, {"argument_specs": None}, {"argument_specs": {"main": None}}):
        assert options_of("greeter", specs) == {}


def test_a_check_that_fails_itself_is_told_with_its_role() -> None:
    def broken_check(_site: Site, _problems: Problems) -> None:
        raise KeyError("port")

    host = Host("gw1", NEEDED)
    broken = Role("greeter", {}, {}, Chapter(check=broken_check))
    told = check_host(host, {"gw1": host}, {**roles(), "greeter": broken}, validate)
    assert told == ["role greeter: the check of its chapter ended in KeyError: 'port'"]


def test_roles_of_a_playbook_are_found_however_they_are_written() -> None:
    tasks = [
        {"block": [{"ansible.builtin.import_role": {"name": "inner"}}], "always": [{"import_role": "name=last"}]},
        {"include_role": {"role": "other"}},
    ]
    plays = [{"roles": ["first", {"role": "second"}], "tasks": tasks}, {"import_playbook": "x.yml", "tasks": None}]
    assert roles_of(plays) == ["first", "second", "inner", "last", "other"]


def test_tags_of_a_playbook_are_found_in_blocks_too() -> None:
    plays = [{"tags": "a,b", "tasks": [{"tags": ["c", "{{ query('publishers', 'x') }}"], "block": [{"tags": "d"}]}]}]
    assert tags_of(plays) == {"a", "b", "c", "d"}
