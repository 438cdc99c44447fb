"""The environments that the lists give to clients, for chapters whose programs read one of their variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gatewright.chapters.tcp_smtp.policy import CLIENTS, DEFAULT_ENV, NETWORKS
from gatewright.inventory import Site


def environments(site: Site) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each environment with the inventory's variable that it stands in; what is none is refused by this chapter."""
    for name in (DEFAULT_ENV, NETWORKS, CLIENTS):
        value = site.value(name)
        entries = [{"env": value}] if name == DEFAULT_ENV else value if isinstance(value, list | tuple) else []
        for entry in entries:
            env = entry.get("env") if isinstance(entry, Mapping) else None
            if isinstance(env, Mapping):
                yield name, env
