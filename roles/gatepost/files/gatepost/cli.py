"""The gatepost command."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gatepost.config import Config, ConfigError, load
from gatepost.daemon import Daemon, addresses_of_host
from gatepost.delivery import Deliverer

CONFIG = Path("/etc/gatepost/config.json")
LOG_FORMAT = "gatepost[%(process)d]: %(levelname)s %(message)s"
"""On standard error, for multilog; the time is multilog's."""


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit status."""
    top = argparse.ArgumentParser(prog="gatepost", description="Delivers qmail's mail to other servers.")
    top.add_argument("--config", type=Path, default=CONFIG, help=f"the configuration (default: {CONFIG})")
    verbs = top.add_subparsers(dest="verb", required=True)
    daemon = verbs.add_parser("daemon", help="serve qmail-remote until SIGTERM")
    daemon.add_argument("--check", action="store_true", help="only say whether the configuration can be used")
    daemon.add_argument("--allow-root", action="store_true", help="run as root, for tests")
    options = top.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    try:
        load(options.config)
        if options.check:
            return 0
        if os.geteuid() == 0 and not options.allow_root:
            raise ConfigError("gatepost does not run as root; start it as its own user")
        asyncio.run(_daemon(options.config).run())
    except (ConfigError, OSError) as error:
        print(f"gatepost: {error}", file=sys.stderr)
        return 1
    return 0


def _daemon(path: Path) -> Daemon:
    def make() -> tuple[Config, Deliverer]:
        config = load(path)
        return config, Deliverer(config, addresses_of_host() | set(config.own_addresses))

    return Daemon(*make(), make)
