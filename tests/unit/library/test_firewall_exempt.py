"""The handler that loads the list of sources without limits: into a ruleset that has its sets, and into no other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from gatewright import PROJECT

NFT = """\
#!/bin/sh
echo "$*" >> {folder}/calls
case $1 in
list) exit {listed} ;;
*) exit {loaded} ;;
esac
"""


@pytest.mark.parametrize(
    ("listed", "loaded", "calls", "outcome"),
    [
        (0, 0, ["list", "-f"], "done"),
        (1, 0, ["list"], "owed"),  # of an older release, or taken away: its next one includes the list
        (0, 1, ["list", "-f"], "failed"),
    ],
)
def test_the_list_is_loaded_where_its_sets_are(
    tmp_path: Path, listed: int, loaded: int, calls: list[str], outcome: str
) -> None:
    (handler,) = yaml.safe_load((PROJECT / "roles/firewall/handlers/main.yml").read_text())
    note = tmp_path / "owed"
    note.touch()
    nft = tmp_path / "nft"
    nft.write_text(NFT.format(folder=tmp_path, listed=listed, loaded=loaded))
    nft.chmod(0o755)
    script = handler["ansible.builtin.shell"]["cmd"].replace("/var/lib/gatewright/owed/firewall-exempt", str(note))
    done = subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert (done.returncode != 0) is (outcome == "failed")
    assert [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()] == calls
    assert note.exists() is (outcome != "done"), "what is owed is forgotten only once it is done"
