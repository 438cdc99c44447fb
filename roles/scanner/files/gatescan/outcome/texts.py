"""Texts of notices: templates, and the words beside them, in the language of who reads them.

NAME.LANGUAGE.txt and NAME.txt are looked for in the site's folder, then among those that are shipped; English has no
language in its name, and is there for what a language does not say.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

from gatescan.config import Config
from gatescan.context import covers, domain_of, in_ascii

SHARE = Path(__file__).parent.parent / "share"


def language_of(config: Config, address: str) -> str:
    """The language of a recipient: that of the longest name that covers its domain, else the general one."""
    notices, domain = config.notices, in_ascii(domain_of(address))
    fitting = [name for name in notices.languages if covers(name, domain)]
    return notices.languages[max(fitting, key=len)] if fitting else notices.language


class Texts:
    """What is said in one language."""

    def __init__(self, config: Config, language: str) -> None:
        self._folder = config.notices.templates
        self._language = language
        self._words: dict[str, str] = {}
        for path in reversed(list(self._places("words"))):
            self._words |= _words_in(path)

    def template(self, name: str) -> string.Template:
        """A template, such as `notice-recipient`; FileNotFoundError if nobody has one of the name."""
        for path in self._places(name):
            return string.Template(path.read_text(encoding="utf-8"))
        raise FileNotFoundError(name)

    def word(self, name: str, **values: object) -> str:
        """A word or phrase, with its values filled in; the name itself if there is none."""
        return string.Template(self._words.get(name, name)).safe_substitute({k: str(v) for k, v in values.items()})

    def messages(self, count: int) -> str:
        """So many messages, in words."""
        return self.word("one") if count == 1 else self.word("many", count=count)

    def fields(self, values: dict[str, str]) -> list[str]:
        """Lines of named values, one below the other."""
        labels = {name: self.word(name) for name in values}
        width = max(map(len, labels.values()))
        return [f"    {labels[name]:<{width}} {value}" for name, value in values.items()]

    def _places(self, name: str) -> Iterator[Path]:
        """The files of a name that are there, the one that counts first."""
        for folder in (self._folder, SHARE):
            for file in (f"{name}.{self._language}.txt", f"{name}.txt"):
                if (folder / file).is_file():
                    yield folder / file


def _words_in(path: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {name.strip(): text.strip().replace("|", "\n") for name, equals, text in lines if equals}
