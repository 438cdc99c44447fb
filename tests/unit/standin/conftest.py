"""The stand-in, built and installed as the qmail role does it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_rig import Qmail, Sink, install


@pytest.fixture
def qmail(tmp_path: Path) -> Iterator[Qmail]:
    """An installed stand-in whose alias user takes everybody's local mail into a Maildir."""
    tmp_path.chmod(0o755)
    installed = install(tmp_path)
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
