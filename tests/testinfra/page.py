"""`gw console` as a browser without scripts sees it: pages are read, and their own forms are filled in and sent."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin

from lab.machine import environment
from lab.topology import PROJECT

SECONDS = 120
Field = tuple[str, str]


@dataclass
class Form:
    """A form: where it is sent, what is sent in any case, what may be ticked, and its buttons."""

    action: str
    fields: list[Field] = field(default_factory=list)
    ticks: list[Field] = field(default_factory=list)
    buttons: list[Field] = field(default_factory=list)


class Page(HTMLParser):
    """A page's words and forms."""

    def __init__(self, url: str, html: str) -> None:
        super().__init__()
        self.url, self.html = url, html
        self.forms: list[Form] = []
        self._words: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        """What a person reads, on one line."""
        return " ".join(" ".join(self._words).split())

    def form(self, action: str) -> Form:
        """The form that does something."""
        return next(form for form in self.forms if urljoin(self.url, form.action).endswith(action))

    def handle_data(self, data: str) -> None:
        """Keep words."""
        self._words.append(data)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Keep forms with what a browser sends of them."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        elif self.forms and "name" in given and tag in ("input", "button"):
            self._keep(self.forms[-1], given["name"], given, tag)

    def _keep(self, form: Form, name: str, given: dict[str, str], tag: str) -> None:
        one = (name, given.get("value", ""))
        if tag == "button":
            form.buttons.append(one)
        elif given.get("type") in ("checkbox", "radio"):
            form.ticks.append(one)
        else:
            form.fields.append(one)


class Browser:
    """Who was given the address, and looks at pages."""

    def __init__(self, address: str) -> None:
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.page = self._ask(address)
        self.start = self.page.url

    def open(self, path: str) -> Page:
        """Go to a page, by its path below the first one."""
        self.page = self._ask(urljoin(self.start, path.lstrip("/")))
        return self.page

    def send(self, action: str, *chosen: Field, **typed: str) -> Page:
        """Fill in a form of this page and send it; chosen: ticks and the button, which must be there."""
        form = self.page.form(action)
        missing = [one for one in chosen if one not in (*form.ticks, *form.buttons)]
        assert not missing, (missing, form)
        fields = [(name, value) for name, value in form.fields if name not in typed]
        data = urlencode([*fields, *typed.items(), *chosen]).encode()
        self.page = self._ask(urljoin(self.page.url, form.action), data)
        return self.page

    def _ask(self, url: str, data: bytes | None = None) -> Page:
        with self._opener.open(url, data, SECONDS) as answer:
            return Page(answer.url, answer.read().decode())


@contextmanager
def console(*options: str) -> Iterator[Browser]:
    """The program itself, until the block ends, and a browser that has opened the address it printed."""
    with served(*options) as address:
        yield Browser(address)


@contextmanager
def served(*options: str) -> Iterator[str]:
    """The program itself, until the block ends: the address that it printed, whose token is good once."""
    command = [sys.executable, "-m", "gatewright.fleet", "console", *options]
    with subprocess.Popen(command, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
