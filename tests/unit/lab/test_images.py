"""The lab's images: each is made once, two at the same time."""

from __future__ import annotations

from threading import Barrier

import pytest

from lab import images
from lab.topology import HOSTS, Host


def test_each_image_is_made_once_and_one_beside_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []
    meet = Barrier(2)

    def ensure(host: Host) -> bool:
        made.append(images.reference(host))
        if len(made) <= 2:
            meet.wait(timeout=20)
        return host.image == "peer"

    monkeypatch.setattr(images, "reference", lambda host: f"{host.image}-{host.suite}")
    monkeypatch.setattr(images, "ensure", ensure)
    images.ensure_all(HOSTS)
    assert sorted(made) == ["gateway-bookworm", "gateway-trixie", "peer-trixie"]
    assert capsys.readouterr().out.endswith(": peer-trixie\n")
