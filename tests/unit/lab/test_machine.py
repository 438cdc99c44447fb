"""What the lab does about the machine it runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import machine

OVERLAY = "'overlay' is not supported over overlayfs, a mount_program is required"


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A podman that works by the storage whose name its file `works` holds; `own` is the machine's configuration."""
    program = tmp_path / "podman"
    program.write_text(
        "#!/bin/sh\n"
        f"works=$(cat {tmp_path}/works)\n"
        '[ -z "$CONTAINERS_STORAGE_CONF" ] && [ "$works" = own ] && exit 0\n'
        # as podman 5 does: what has no storage yet makes one, and fails on it from then on
        f'[ -z "$CONTAINERS_STORAGE_CONF" ] && [ ! -e {tmp_path}/made ] && touch {tmp_path}/made && exit 0\n'
        f'grep -qs "driver = .$works." "$CONTAINERS_STORAGE_CONF" && exit 0\necho "{OVERLAY}" >&2\nexit 125\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CONTAINERS_STORAGE_CONF", raising=False)
    monkeypatch.setattr(machine, "CACHE", tmp_path)
    return tmp_path


def test_a_machine_whose_storage_works_keeps_it(podman: Path) -> None:
    (podman / "works").write_text("own")
    machine.choose_storage()
    assert "CONTAINERS_STORAGE_CONF" not in machine.environment()


def test_where_overlay_may_not_stand_on_overlay_images_are_copied(
    podman: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (podman / "works").write_text("vfs")
    machine.choose_storage()
    assert machine.environment()["CONTAINERS_STORAGE_CONF"] == str(podman / "storage.conf")
    assert "vfs" in capsys.readouterr().out
    machine.choose_storage()  # the second time it is known
    assert not capsys.readouterr().out


def test_a_machine_that_can_keep_no_image_is_told_podmans_reason(podman: Path) -> None:
    (podman / "works").write_text("nothing")
    with pytest.raises(machine.LabError, match="not supported over overlayfs"):
        machine.choose_storage()
    assert not (podman / "storage.conf").exists()
