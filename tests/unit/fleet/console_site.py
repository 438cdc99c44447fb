"""A page over two gateways whose files are below a folder, with mail of all kinds, some of it hostile.

`python tests/unit/fleet/console_site.py FOLDER` serves it for a look by hand.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import outbreak_rules
from gatescan.cli import quarantine as quarantine_command
from gatescan.config import PATH_VARIABLE, QuarantineConfig
from gatescan.outcome.quarantine import Entry, Quarantine
from gateway_logs import Gateway
from on_gateway import quarantine
from test_commands import run_here, waiting
from test_trace import ANN, delivered

from gatewright.console import serve
from gatewright.console.access import Access
from gatewright.fleet import ask, measures
from gatewright.fleet.ask import Answers, Fleet

ESCAPES = (
    "</title><script>document.title='owned'</script>",
    "\"'><img src=x onerror=document.title='owned'>",
    "<svg/onload=document.title='owned'>",
    "' autofocus onfocus=document.title='owned' x='",
    "{{ 7 * 7 }}{% raw %}\x1b]0;gone\x07\u202egpj.exe",
    "</textarea></pre><style>*{background:url(//evil.test/x)}</style>",
)
"""Words that would run, fetch or hide something if a page took them as they are."""
PAGE = """<html><head><script>document.title='owned'</script><meta http-equiv=refresh content="0;url=CANARY">
<style>body{background:url(CANARY)}</style><base href=CANARY></head><body onload="document.title='owned'">
<img src=CANARY><iframe src=CANARY></iframe><p>Dear <b>Ann</b>,</p><p>pay <a href="javascript:alert(1)">here</a></p>
<svg onload="document.title='owned'"><script>1</script></svg></body></html>"""
SVG = "<svg xmlns='http://www.w3.org/2000/svg' onload=\"document.title='owned'\"><script>1</script></svg>"


def status(host: str) -> dict[str, Any]:
    """What the module gateway_status says."""
    engines = [{"name": "clamav", "days": 0.4, "is_stale": False, "error": ""}]
    found = {"queue": {"count": 3, "oldest": 7_300}, "held": 8, "cutoff": [], "outbreak": 0, "engines": engines}
    found |= {"certificate": 61.2, "changed": time.time() - 86_400, "version": "0.2.0", "doctor": []}
    if host == "gw2":
        found |= {
            "doctor": [{"state": "broken", "what": "clamav does not answer" + ESCAPES[0]}],
            "cutoff": ["outbound"],
        }
    return found


def mail(subject: str, sender: str, html: str = "", text: str = "Dear Ann,\n\nsee the file.\n") -> EmailMessage:
    """A message."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, ANN, "x"
    made["Message-ID"], made["X-Note"] = "<1@example.net>", ESCAPES[1]
    made.replace_header(
        "Subject", subject.encode("ascii", "backslashreplace").decode().replace("\r", "").replace("\n", "")
    )
    made.set_content(html or text, subtype="html" if html else "plain")
    return made


@dataclass
class ConsoleSite:
    """Two gateways and what was done to them. silent: who does not answer. canary: where hostile mail points."""

    folder: Path
    canary: str = "http://evil.test/x"
    silent: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    held: dict[str, list[str]] = field(default_factory=dict)
    wait: Callable[[str], None] = lambda module: None
    cut: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, host in enumerate(("gw1", "gw2")):
            self._fill(host, number)

    def root(self, host: str) -> Path:
        """Where a gateway's files are."""
        return self.folder / host

    # what is there

    def _fill(self, host: str, number: int) -> None:
        root, logs = self.root(host), Gateway(begin=time.time() - 23 * 3600)
        for place in ("new", "cur", "tmp"):
            (root / "held" / place).mkdir(parents=True)
        self._scanner(root)
        self._day(logs, random.Random(number))
        self.held[host] = [self._hold(root, logs, at, escape) for at, escape in enumerate(ESCAPES)]
        logs.write(root)
        journal = root / "var/log/gatescan/messages.jsonl"
        journal.parent.mkdir(parents=True, exist_ok=True)
        (root / "etc/gatescan").mkdir(parents=True)
        (root / "var/qmail/queue/lock").mkdir(parents=True)
        waiting(root, 101 + number, f"{ESCAPES[2]}@corp.test", f"T{ANN} Tben@far.test")
        waiting(root, 201 + number, "app@corp.test", "Tben@far.test", hours=30)

    def _scanner(self, root: Path) -> None:
        config = {
            "quarantine": {"directory": str(root / "held")},
            "journal": {
                "json_log": str(root / "var/log/gatescan/messages.jsonl"),
                "quarantine_log": str(root / "quarantine.log"),
            },
            "next_queue": ["/bin/true"],
        }
        (root / "config.json").write_text(json.dumps(config))

    def _day(self, logs: Gateway, chance: random.Random) -> None:
        """A day of ordinary mail, more of it by day."""
        for hour in range(23):
            for _ in range(chance.randint(2, 5) + (9 if 6 <= hour <= 15 else 0)):
                at = hour * 3600 + chance.random() * 3500
                kind = chance.choices(("clean", "policy", "encrypted", "infected", "ambiguous"), (90, 5, 2, 2, 1))[0]
                sender = f"{chance.choice(('bob', 'eve', 'news', 'shop'))}@{chance.choice(('example.net', 'far.test'))}"
                if kind == "clean":
                    delivered(logs, at, chance.choice((ANN, "ben@corp.test")), **{"from": sender})
                else:
                    suffix = chance.choice(("exe", "js", "iso"))
                    found = {"verdict": kind, "code": "rule-extension" if kind == "policy" else f"{kind}-zip"}
                    found |= {
                        "detail": f"x.{suffix}: Program",
                        "part": "2",
                        "source": f"quarantine-attachments.txt:{len(suffix)}",
                    }
                    logs.judged(at, [ANN], "quarantine", verdict=kind, findings=[found], **{"from": sender})

    def _hold(self, root: Path, logs: Gateway, at: int, escape: str) -> str:
        """Hold a hostile message."""
        made = mail(
            escape.replace("\x1b", "").replace("\x07", ""), f"eve{at}@example.net", PAGE.replace("CANARY", self.canary)
        )
        made.add_attachment(
            b"MZ\x90\0", maintype="application", subtype="zip", filename=f"{at}{escape[:40]}.exe".replace("\x1b", "")
        )
        made.add_attachment(SVG.encode(), maintype="image", subtype="svg+xml", filename="x.svg")
        data = made.as_bytes()
        verdict = ("policy", "infected", "encrypted", "ambiguous", "limit", "policy")[at]
        moment = time.time() - 600 * (at + 1)
        one = f"2026-{at}.{root.name}"
        reason = f"{escape}.exe: Executable program"
        envelope = (f"{escape[:30]}@example.net", (ANN, f"{escape[:20]}@corp.test"), f"eve{at}@example.net", escape)
        why = (verdict, "rule-extension", reason, "quarantine-attachments.txt:21")
        entry = Entry(one, moment, *envelope, "<1@example.net>", *why, len(data), "inbound", "192.0.2.7")
        Quarantine(QuarantineConfig(directory=root / "held", min_free_bytes=0)).store(entry, data)
        found = [
            {
                "verdict": verdict,
                "code": "rule-extension",
                "detail": reason,
                "part": "2",
                "source": "quarantine-attachments.txt:21",
            },
            {"verdict": verdict, "code": "executable", "detail": "a program", "part": f"2/a.zip/{escape}.exe"},
        ]
        logs.judged(
            moment - logs.begin, [ANN], "quarantine", held=one, subject=escape, findings=found, verdict=verdict,
            **{"from": f"{escape[:30]}@example.net"},
        )  # short arguments, many a line # fmt: skip
        return one

    # asking it

    def run(self, fleet: Fleet, module: str, request: str) -> Answers:
        """What `ask.run` does, in this process."""
        self.wait(module)
        if module == "gateway_status":
            answers = Answers({host: status(host) for host in ("gw1", "gw2")})
        else:
            answers = run_here(fleet, module, request)
        for host, why in self.silent.items():
            answers.said.pop(host, None)
            answers.silent[host] = why
        return answers

    def run_module(self, fleet: Fleet, module: str, arguments: Mapping[str, Any]) -> Answers:
        """What `ask.run_module` does: blocks and cut-offs are noted."""
        del fleet
        self.asked.append((module, dict(arguments)))
        answers = Answers()
        for host in ("gw1", "gw2"):
            answers.said[host] = self._measure(host, module, arguments)
        return answers

    def _measure(self, host: str, module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if module == "ansible.builtin.command":
            return {"stdout": f"changed x\n{arguments['argv'][2]}: {arguments['argv'][1]}"}
        path = self.root(host) / "etc/gatescan/outbreak.txt"
        present = outbreak_rules.rules_of(outbreak_rules.read(str(path)))
        rules = outbreak_rules.wanted(present, arguments["state"], data_of(arguments["rules"]), False)
        path.write_text("".join(f"{rule}\n" for rule in rules))
        return {"rules": rules}

    @contextmanager
    def served(self) -> Iterator[Browser]:
        """The page, by a real server."""
        listener = serve.listening(0)
        fleet = Fleet((str(self.folder / "inventory"),), seconds=60)
        access = serve.with_access(fleet, listener.getsockname()[1])
        server = serve.server(access)
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
        with (
            mock.patch.object(ask, "run", self.run),
            mock.patch.object(measures, "run_module", self.run_module),
            mock.patch.object(quarantine.Quarantine, "_run", gatescan_here),
        ):
            thread.start()
            try:
                yield Browser(listener.getsockname()[1], access)
            finally:
                server.should_exit = True
                thread.join(20)
                listener.close()


ONE = threading.Lock()
"""Output and environment are the whole process's."""


def gatescan_here(module: quarantine.Quarantine, *words: str) -> subprocess.CompletedProcess[bytes]:
    """`gatescan quarantine` in this process, which saves the start of a Python for each call."""
    root = module.command.parents[2]
    out, errors = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
    environment = {PATH_VARIABLE: str(root / "config.json"), "SUDO_USER": module.environment["SUDO_USER"]}
    with ONE, mock.patch.dict(os.environ, environment), redirect_stdout(out), redirect_stderr(errors):
        code = quarantine_command.run(list(words))
    return subprocess.CompletedProcess(words, code, out.buffer.getvalue(), errors.getvalue().encode())


def data_of(template: str) -> Any:
    """What `as_data` packed."""
    return json.loads(base64.b64decode(template.split("'")[1]))


@dataclass
class Browser:
    """Who asks the page: keeps its cookie, and sends what a browser sends."""

    port: int
    access: Access
    cookie: str = ""

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of an answer; redirections are not followed. path: below the page's own, but that
        of the address with the token."""
        if not path.startswith(("/?token=", self.access.base)):
            path = self.access.base + path
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = ({"Cookie": self.cookie} if self.cookie else {}) | headers
        if method == "POST":
            sent = {"Content-Type": "application/x-www-form-urlencoded"} | sent
        connection.request(method, path, body or None, sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def enter(self) -> Browser:
        """Exchange the token for a cookie."""
        status, headers, _ = self.ask(f"/?token={self.access.token}")
        assert status == 303, status
        self.cookie = headers["set-cookie"].partition(";")[0]
        return self

    def page(self, path: str, status: int = 200) -> str:
        """A page's text."""
        found, _, text = self.ask(path)
        assert found == status, text
        return text

    def send(self, path: str, *fields: tuple[str, str]) -> tuple[int, str]:
        """Send a form of ours; status and text, of the page behind a redirection if there is one."""
        status, headers, text = self.ask(path, "POST", urlencode([("csrf", self.access.csrf), *fields]))
        return (status, self.page(headers["location"])) if status == 303 else (status, text)


if __name__ == "__main__":
    site = ConsoleSite(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
    with site.served() as browser:
        print(serve.address(browser.access), flush=True)
        threading.Event().wait()
