"""`gw console` in a real browser, clicked through: scripts, pictures and frames of hostile mail would be seen."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console_site import ConsoleSite

from gatewright.console import serve

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(not os.environ.get("GATEWRIGHT_NIGHTLY"), reason="GATEWRIGHT_NIGHTLY is not set"),
    pytest.mark.skipif(not (DRIVER and BROWSER), reason="no chromium with chromium-driver here (Debian packages)"),
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


class Chromium:
    """A browser, by WebDriver."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        options = {"goog:chromeOptions": {"binary": BROWSER, "args": ARGUMENTS}}
        self.root += f"/session/{self.call('/session', capabilities={'alwaysMatch': options})['sessionId']}"

    def call(self, path: str, method: str = "POST", **fields: Any) -> Any:
        """One command; its value."""
        data = json.dumps(fields).encode() if method == "POST" else None
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("/url", url=url)

    @property
    def title(self) -> str:
        """The page's title, which a script of a hostile message would change."""
        return str(self.call("/title", "GET"))

    def find(self, selector: str) -> str:
        """The first element that fits."""
        return str(self.call("/element", using="css selector", value=selector)[ELEMENT])

    def click(self, selector: str) -> None:
        """Click on it."""
        self.call(f"/element/{self.find(selector)}/click")

    def text(self, selector: str = "main") -> str:
        """What a person reads there."""
        return str(self.call(f"/element/{self.find(selector)}/text", "GET"))

    def run(self, script: str) -> Any:
        """What a script of ours says of the page."""
        return self.call("/execute/sync", script=script, args=[])


@pytest.fixture
def chromium() -> Iterator[Chromium]:
    """A browser of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen([str(DRIVER), f"--port={port}", "--silent"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not answers(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        browser = Chromium(port)
        yield browser
        browser.call("", "DELETE")
    finally:
        driver.terminate()
        driver.wait(30)


def answers(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cuts(site: ConsoleSite) -> list[str]:
    """What was asked of cut-offs."""
    return [module for module, _ in site.asked if module == "ansible.builtin.command"]


def test_pages_are_clicked_through_and_hostile_mail_neither_runs_nor_fetches(
    chromium: Chromium, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        site = ConsoleSite(tmp_path, canary=f"http://127.0.0.1:{canary.getsockname()[1]}/x")
        with site.served() as served:
            chromium.open(serve.address(served.access))
            base = f"http://127.0.0.1:{served.port}{served.access.base}"
            assert chromium.title.startswith("Overview") and "messages judged" in chromium.text()
            for name in ("Trace", "Queue", "Outbreak", "Cut-off", "Quarantine"):
                chromium.click(f"nav a[href$='/{name.lower().replace('-', '')}']")
                assert chromium.title.startswith(name)
            for host, held in site.held.items():
                for one in held:
                    chromium.open(f"{base}/message?gateway={host}&id={one}")
                    assert chromium.title.startswith("Held message") and "Dear Ann" in chromium.text()
            chromium.click("button[value=release]")
            assert "released to 2 recipient(s)" in chromium.text()
            chromium.open(f"{base}/cutoff")
            chromium.click("button[value=cut]")
            assert "Cut off all mail on all gateways?" in chromium.text() and cuts(site) == []
            chromium.click("button.danger")
            assert "both: cut" in chromium.text() and len(cuts(site)) == 1
            chromium.call("/window/rect", width=500, height=900)
            for path in ("/", "/quarantine", "/queue", "/cutoff"):
                chromium.open(base + path)
                wide = chromium.run(
                    "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
                )
                assert wide <= 0, path
        canary.settimeout(0.5)
        with pytest.raises(TimeoutError):  # nobody has come to fetch a picture
            canary.accept()
