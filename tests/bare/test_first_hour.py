"""A newcomer's first minutes: a bare Debian container without any privilege, and a copy of the project without git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gatewright.cli import tracked
from lab.__main__ import prepare
from lab.machine import environment, run
from lab.topology import PROJECT


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian with what is essential and apt, made once and kept."""
    prepare()
    name = f"localhost/gatewright-bare-{request.param}:latest"
    if name not in run("podman", "images", "--format", "{{.Repository}}:{{.Tag}}").split():
        archive = tmp_path_factory.mktemp("bare") / "image.tar"
        run("mmdebstrap", "--variant=minbase", request.param, str(archive))
        run("podman", "import", str(archive), name)
    return name


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demonstration_runs_from_nothing_in_a_bare_container(image: str, tmp_path: Path) -> None:
    for name in tracked():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name, follow_symlinks=False)
    command = [
        "podman",
        "run",
        "--rm",
        "--volume",
        f"{tmp_path}:/root/gatewright:ro",
        image,
        "/root/gatewright/gw",
        "demo",
    ]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=1000, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the small demonstration" in done.stdout
    assert "15 of 15 as expected" in done.stdout
    assert "Not shown, for want of containers" in done.stdout
