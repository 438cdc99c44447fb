"""The gatekeeper command."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gatekeeper.config import ConfigError, load

CONFIG = Path("/etc/gatekeeper/config.json")
LOG_FORMAT = "gatekeeper[%(process)d]: %(levelname)s %(message)s"
"""On standard error, for multilog; the time is multilog's."""


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit status."""
    top = argparse.ArgumentParser(prog="gatekeeper", description="Answers qmail-smtpd's questions of policy.")
    top.add_argument("--config", type=Path, default=CONFIG, help=f"the configuration (default: {CONFIG})")
    verbs = top.add_subparsers(dest="verb", required=True)
    daemon = verbs.add_parser("daemon", help="serve until SIGTERM")
    daemon.add_argument("--check", action="store_true", help="only say whether the configuration can be used")
    daemon.add_argument("--client", type=int, action="append", default=[], help="a user, by number, who may ask")
    daemon.add_argument("--allow-root", action="store_true", help="run as root, for tests")
    options = top.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    try:
        if options.check:
            load(options.config)
            return 0
        if os.geteuid() == 0 and not options.allow_root:
            raise ConfigError("gatekeeper does not run as root; start it as its own user")
        _serve(options.config, tuple(options.client))
    except (ConfigError, OSError) as error:
        print(f"gatekeeper: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(config: Path, clients: tuple[int, ...]) -> None:
    from gatekeeper.daemon import Daemon  # and dnspython, which a look at the configuration does not need

    asyncio.run(Daemon(config, clients).run())
