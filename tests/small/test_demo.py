"""The small demonstration, as a newcomer starts it on a machine with neither make nor git nor a right to containers."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]
LAUNCHER_NEEDS = ("sh", "readlink", "dirname", "sed", "grep", "cat", "id", "dpkg-query")


def test_the_small_demonstration_shows_every_message_and_leaves_nothing(tmp_path: Path) -> None:
    for name in (*LAUNCHER_NEEDS, "python3"):
        found = f"/usr/bin/{name}"
        (tmp_path / name).symlink_to(found if Path(found).exists() else shutil.which(name) or "")
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:  # a short path: sockets are made below it
        Path(temporary).chmod(0o755)
        done = subprocess.run(
            [PROJECT / "gw", "demo", "--small"],
            env={"PATH": str(tmp_path), "TMPDIR": temporary, "GATEWRIGHT_LAB_STANDIN": "1"},
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        left = list(Path(temporary).iterdir())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 of 15 as expected" in done.stdout
    assert "Not shown, for want of containers: firewall" in done.stdout
    assert "stand-in" in done.stdout
    assert not left
