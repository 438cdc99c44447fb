"""qmail-smtpd of each release and the stand-in, built once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from smtpd_rig import RELEASES, PolicyDaemon, Smtpd, build, build_standin


@pytest.fixture(scope="session", params=[*RELEASES, "standin"])
def smtpd_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an installed qmail-smtpd."""
    place = tmp_path_factory.mktemp(request.param)
    if request.param == "standin":
        return build_standin(place)
    if not shutil.which("gcc") or not shutil.which("patch"):
        pytest.skip("gcc and patch are needed to build qmail-smtpd")
    return build(request.param, place)


@pytest.fixture
def smtpd(smtpd_home: Path) -> Smtpd:
    """The same, its control files made anew."""
    return Smtpd(smtpd_home)


@pytest.fixture
def policy(tmp_path: Path) -> Iterator[PolicyDaemon]:
    """A policy daemon that has nothing against anything."""
    daemon = PolicyDaemon(tmp_path / "policy")
    yield daemon
    if daemon.server.fileno() >= 0:
        daemon.close()
