"""Configuration files of the gateway's programs: what is wrong is named by file and key, and says what it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gatekeeper.config
import gatekeeper.directory
import gatepost.config
import gatescan.config
import gatesettings
import gatewright_log_shipping
import pytest

LOADS: dict[str, Callable[[Path], object]] = {
    "gatekeeper": gatekeeper.config.load,
    "gatekeeper-ldap": gatekeeper.directory.load,
    "gatepost": gatepost.config.load,
    "gatescan": gatescan.config.load,
    "log shipping": gatewright_log_shipping.load,
}
ERRORS = (
    gatekeeper.config.ConfigError,
    gatepost.config.ConfigError,
    gatescan.config.ConfigError,
    gatesettings.ConfigError,
)
"""One class, and a copy of it in each program."""
SERVER = '"server": "logs.test", "name": "logs.test", "authorities": "/ca.pem"'
WRONG = [
    ("gatekeeper", '{"patience": "long"}', "patience: a number is needed here, not string"),
    ("gatekeeper", '{"patience": 0}', "patience: must be above 0"),
    ("gatekeeper", '{"home": "qmail"}', "home: must be a whole path, from / on"),
    ("gatekeeper", '{"guesses": 1000000001}', "guesses: must not be above 1000000000"),
    ("gatekeeper", '{"clients": ["root"]}', "clients[0]: a whole number is needed here, not string"),
    ("gatekeeper", '{"confined": 1}', "confined: a truth value (true or false) is needed here, not whole number"),
    ("gatekeeper-ldap", '{"a.test": {"ldap": {}, "file": "/x"}}', "a.test.ldap: needs servers, base"),
    ("gatekeeper-ldap", '{"a.test": {"file": "/x"}}', "a.test: needs ldap"),
    ("gatepost", '{"domains": {"a.test": 5}}', "domains.a.test: a string is needed here"),
    ("gatepost", '{"reuse_seconds": -1}', "reuse_seconds: must not be negative"),
    ("gatepost", '{"head_start": NaN}', "head_start: must not be negative"),
    ("gatepost", '{"socket": "s"}', "socket: must be a whole path, from / on"),
    ("gatescan", '{"daemon": {"workers": true}}', "daemon.workers: a whole number is needed here, not truth value"),
    ("gatescan", '{"daemon": {"socket_mode": "9"}}', "daemon.socket_mode: not an octal mode: 9"),
    ("gatescan", '{"next_queue": "x"}', "next_queue: a list is needed here, not string"),
    (
        "log shipping",
        "{" + SERVER + ', "port": "20514", "logs": []}',
        "port: a whole number is needed here, not string",
    ),
    ("log shipping", "{" + SERVER + ', "port": 1, "logs": [{"name": "x"}]}', "logs[0]: needs path"),
]


def said(program: str, path: Path) -> str:
    """What a program says of its configuration."""
    with pytest.raises(ERRORS) as caught:
        LOADS[program](path)
    return str(caught.value)


@pytest.fixture(params=LOADS)
def program(request: pytest.FixtureRequest) -> str:
    """Each program that has a configuration file."""
    return str(request.param)


@pytest.mark.parametrize(("program", "text", "words"), WRONG)
def test_a_wrong_entry_is_named_with_its_file_and_what_it_takes(
    program: str, text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    assert said(program, path).startswith(f"{path}: {words}")


def test_a_misspelt_key_is_no_default(program: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a.test": {"folder": "/x"}}')
    key = "a.test.folder" if program == "gatekeeper-ldap" else "a.test"
    assert said(program, path).startswith(f"{path}: {key}: no such key; one of ")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"{\n,}", "is no JSON: line 2, column 1: "), (b"\xff", "is no JSON: "), (b"[]", "an object is")],
)
def test_what_is_no_configuration_at_all_is_named(program: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert said(program, path).startswith(f"{path}: {words}")


def test_a_file_that_is_not_there_is_named_and_no_default(program: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert said(program, path) == f"{path}: cannot be read: No such file or directory"
