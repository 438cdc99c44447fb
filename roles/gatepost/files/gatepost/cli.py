"""The gatepost command."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gatepost.config import Config, ConfigError, load
from gatepost.daemon import Daemon, addresses_of_host, make_room
from gatepost.delivery import Deliverer
from gatepost.dkim import txt_data
from gatepost.fence import Watch, enclose_worker, needs_of
from gatepost.master import Master
from gatepost.problems import KeyProblem

log = logging.getLogger("gatepost")

CONFIG = Path("/etc/gatepost/config.json")
KEYS = Path("/etc/gatepost/dkim")
SIGNER = Path("/run/gatepost-signer/signer.sock")
SENT = Path("/var/lib/gatepost-reports/sent")
WAITS = 75
"""The exit status when something must be tried again later."""
LOG_FORMAT = "gatepost[%(process)d]: %(levelname)s %(message)s"
"""On standard error, for multilog; the time is multilog's."""


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit status."""
    options = parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    try:
        if options.verb == "tls-reports":
            return _tls_reports(options)
        if options.verb != "daemon":
            return _keys(options)
        load(options.config)
        if options.check:
            return 0
        if os.geteuid() == 0 and not options.allow_root:
            raise ConfigError("", "gatepost does not run as root; start it as its own user")
        Master(options.config, work).run()
    except (ConfigError, KeyProblem, OSError) as error:
        print(f"gatepost: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="gatepost", description="Delivers qmail's mail to other servers.")
    top.add_argument("--config", type=Path, default=CONFIG, help=f"the configuration (default: {CONFIG})")
    verbs = top.add_subparsers(dest="verb", required=True)
    daemon = verbs.add_parser("daemon", help="serve qmail-remote until SIGTERM")
    daemon.add_argument("--check", action="store_true", help="only say whether the configuration can be used")
    daemon.add_argument("--allow-root", action="store_true", help="run as root, for tests")
    signer = verbs.add_parser("signer", help="serve gatepost with DKIM signatures until SIGTERM")
    signer.add_argument("--socket", type=Path, default=SIGNER)
    signer.add_argument("--client", type=int, action="append", default=[], help="a user, by number, who may ask")
    keys = verbs.add_parser("dkim", help="the DKIM keys: show what to publish in DNS, or make one")
    keys.add_argument("--json", action="store_true", help="as JSON")
    keys.add_argument("what", choices=("show", "make"))
    keys.add_argument("domain", nargs="?", type=domain, help="show: of this domain alone; make: the signing domain")
    keys.add_argument("selector", nargs="?")
    keys.add_argument("algorithm", nargs="?", choices=("rsa", "ed25519"))
    reports = verbs.add_parser("tls-reports", help="send the TLS reports (RFC 8460) of the days that are over")
    reports.add_argument("--sent", type=Path, default=SENT, help=f"the folder of what was sent (default: {SENT})")
    reports.add_argument("--name-server-port", type=int, default=53)
    for verb in (signer, keys):
        verb.add_argument("--keys", type=Path, default=KEYS, help=f"the folder of keys (default: {KEYS})")
    return top


def domain(text: str) -> str:
    """A domain as DNS has it: in lower case, an international one in its ASCII form. Raises ValueError."""
    return text.lower().rstrip(".").encode("idna").decode("ascii")


def _tls_reports(options: argparse.Namespace) -> int:
    from gatepost.gatereport.records import Names
    from gatepost.tlsrpt import send

    names = Names(port=options.name_server_port)
    return WAITS if send(load(options.config), options.sent, names) else 0


def _keys(options: argparse.Namespace) -> int:
    """What has to do with keys; the modules are loaded only for that."""
    from gatepost.signer import Signer, load_keys, make_key

    if options.verb == "signer":
        Signer(options.socket, options.keys, tuple(options.client)).run()
        return 0
    if options.what == "make":
        if not (options.domain and options.selector and options.algorithm):
            print("gatepost: make wants DOMAIN SELECTOR rsa|ed25519", file=sys.stderr)
            return 2
        path = options.keys / options.domain / f"{options.selector}.pem"
        print(f"{'made' if make_key(path, options.algorithm) else 'there already'}: {path}")
        return 0
    found = [s for name, secrets in load_keys(options.keys).items() if options.domain in (None, name) for s in secrets]
    records = {f"{secret.selector}._domainkey.{secret.domain}": secret.record() for secret in found}
    if options.json:
        print(json.dumps(records, indent=1))
    for name, value in () if options.json else records.items():
        print(f"{name}. IN TXT {txt_data(value)}")
    return 0


def work(config: Config, listener: socket.socket, serving: Callable[[], None], leaving: Callable[[], None]) -> None:
    """What a worker does, all its life."""
    make_room(config.deliveries)
    deliverer = Deliverer(config, addresses_of_host() | set(config.own_addresses))
    needs = needs_of(config, deliverer.control)
    standing = enclose_worker(config, needs)
    log.log(logging.WARNING if standing.state == "part" else logging.INFO, "fence: %s", standing)
    watch = Watch(config, deliverer.control, needs)
    asyncio.run(Daemon(config, deliverer, listener, watch.is_outgrown).run(serving, leaving))
