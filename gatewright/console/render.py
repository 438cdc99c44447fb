"""Templates: everything that is put into one is escaped, and strangers' words can neither move nor hide anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gatescan.text import printable
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gatewright.fleet.show import people, span, when

HERE = Path(__file__).parent
STYLE = HERE / "static/style.css"


def plain(value: object, limit: int = 200) -> str:
    """One line of somebody's words."""
    return printable(str(value), limit)


def lines(text: str, limit: int = 400) -> str:
    """Somebody's text with its lines, each of which is harmless."""
    return "\n".join(printable(line.rstrip().replace("\t", "    "), limit) for line in text.split("\n"))


def address(value: object) -> str:
    """A sender; nobody is a bounce's."""
    return plain(value, 100) or "<>"


def recipients(addresses: Sequence[str]) -> str:
    """The first of some addresses, and how many more there are."""
    return people([str(one) for one in addresses])


def environment() -> Environment:
    """Jinja's, for all pages and the report."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "plain": plain, "lines": lines, "address": address, "recipients": recipients, "when": when, "span": span,
    }  # short pairs, many a line # fmt: skip
    return made


ENVIRONMENT = environment()


def page(name: str, **values: object) -> str:
    """A page of one of the templates."""
    return ENVIRONMENT.get_template(name).render(**values)
