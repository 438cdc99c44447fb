"""The stand-in, built and installed as the qmail role does it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_rig import Qmail, Sink, install


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Qmail, Path]:
    """The stand-in, built and installed once, and a copy of it as it was then."""
    place = tmp_path_factory.mktemp("standin")
    place.chmod(0o755)
    installed = install(place)
    copy = place / "as-installed"
    subprocess.run(["cp", "-a", installed.home, copy], check=True)
    return installed, copy


@pytest.fixture
def qmail(fresh: tuple[Qmail, Path]) -> Iterator[Qmail]:
    """A freshly installed stand-in whose alias user takes everybody's local mail into a Maildir."""
    built, copy = fresh
    used = built.home.with_name("used")
    shutil.rmtree(used, ignore_errors=True)
    built.home.rename(used)  # a program of the last test that still ends finds its own files
    built.log_path.unlink(missing_ok=True)
    subprocess.run(["cp", "-a", copy, built.home], check=True)
    installed = Qmail(built.home, built.source)
    installed.control(me="gw.test\n", rcpthosts="gw.test\n.corp.test\n", locals="gw.test\n")
    alias = installed.home / "alias"
    alias.chmod(0o755)
    assert installed.run("maildirmake", str(alias / "Maildir")).returncode == 0
    (alias / ".qmail-default").write_text("# everything\n./Maildir/\n")
    yield installed
    if installed.sender is not None:
        installed.stop(signal.SIGKILL)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A mail server to deliver to."""
    server = Sink()
    yield server
    server.server.close()
