"""gatewright-certificate: what it says when the site's certificate has expired, which only the site can mend."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[3] / "roles/starttls/files/usr/local/sbin/gatewright-certificate"
LOADER = importlib.machinery.SourceFileLoader("gatewright_certificate", str(TOOL))
SPEC = importlib.util.spec_from_loader("gatewright_certificate", LOADER)
assert SPEC
tool: Any = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(tool)


@pytest.fixture
def pem(tmp_path: Path) -> bytes:
    """A certificate that is good for a day."""
    path = tmp_path / "site.pem"
    order = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    subprocess.run(
        [*order, "-subj", "/CN=mx", "-keyout", tmp_path / "key", "-out", path], check=True, capture_output=True
    )
    return path.read_bytes()


def test_a_look_tells_what_is_to_be_done_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"name": "mx.example.org", "key": "", "certificate": "", "days": 30, "renew_days": 7}
    (tmp_path / "starttls.json").write_text(json.dumps(settings))
    monkeypatch.setattr(tool, "SETTINGS", tmp_path / "starttls.json")
    monkeypatch.setattr(tool, "PEM", tmp_path / "starttls.pem")
    tool.renew(looks=True)
    assert capsys.readouterr().out and not (tmp_path / "starttls.pem").exists()
    tool.renew(looks=False)
    assert capsys.readouterr().out
    tool.renew(looks=True)
    assert capsys.readouterr().out == ""
    made = (tmp_path / "starttls.pem").read_bytes()
    for name in ("key", "certificate"):
        (tmp_path / name).write_bytes(made)
    own = {"key": str(tmp_path / "key"), "certificate": str(tmp_path / "certificate")}
    (tmp_path / "starttls.json").write_text(json.dumps({**settings, **own}))
    tool.renew(looks=True)
    assert own["certificate"] in capsys.readouterr().out and (tmp_path / "starttls.pem").read_bytes() == made


@pytest.mark.parametrize("has_expired", [True, False])
def test_an_expired_certificate_of_the_sites_is_named_with_its_place(
    pem: bytes, has_expired: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "lasts", lambda _pem, _seconds: not has_expired)
    tool.warn_of_its_end({"certificate": "/etc/site/mx.pem", "key": "/etc/site/mx.key"}, pem)
    said = capsys.readouterr().err
    assert ("/etc/site/mx.pem has expired" in said and "/etc/site/mx.key" in said) == has_expired
    tool.warn_of_its_end({"certificate": "", "key": ""}, pem)
    assert capsys.readouterr().err == "", "one that was made here is renewed here"
