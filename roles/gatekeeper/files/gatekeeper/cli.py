"""The gatekeeper command."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gatekeeper import doctor
from gatekeeper.alerts import mail_all
from gatekeeper.config import Config, ConfigError, load

CONFIG = Path("/etc/gatekeeper/config.json")
SENT = Path("/var/lib/gatekeeper/dmarc/sent")
WAITS = 75
"""The exit status when something must be tried again later."""
LOG_FORMAT = "gatekeeper[%(process)d]: %(levelname)s %(message)s"
"""On standard error, for multilog; the time is multilog's."""
_MARKS = {"ok": "ok     ", "warning": "WARNING", "broken": "BROKEN "}


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    try:
        return int(_VERBS[options.verb](options))
    except (ConfigError, OSError, doctor.NoAnswer) as error:
        print(f"gatekeeper: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="gatekeeper", description="Answers qmail-smtpd's questions of policy.")
    top.add_argument("--config", type=Path, default=CONFIG, help=f"the configuration (default: {CONFIG})")
    verbs = top.add_subparsers(dest="verb", required=True)
    daemon = verbs.add_parser("daemon", help="serve until SIGTERM")
    daemon.add_argument("--check", action="store_true", help="only say whether the configuration can be used")
    daemon.add_argument("--client", type=int, action="append", default=[], help="a user, by number, who may ask")
    daemon.add_argument("--allow-root", action="store_true", help="run as root, for tests")
    look = verbs.add_parser(
        "doctor", help="is everything in order, and what to do if not; exits 1 if something is broken"
    )
    look.add_argument("--json", action="store_true", help="a JSON object a line")
    verbs.add_parser("alerts", help="mail the alerts that wait to the postmaster")
    accept = verbs.add_parser("accept", help="take a file of recipients although it has lost many addresses")
    accept.add_argument("path", help="the file, as the inventory names it")
    reports = verbs.add_parser("dmarc-reports", help="send the DMARC reports (RFC 7489) of the days that are over")
    reports.add_argument("--sent", type=Path, default=SENT, help=f"the folder of what was sent (default: {SENT})")
    _add_auth(verbs)
    return top


def _add_auth(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    top = verbs.add_parser("auth", help="who a message is from").add_subparsers(dest="what", required=True)
    check = top.add_parser(
        "check", help="what SPF, DKIM, ARC and DMARC say of a message on standard input; exits 1 if it is not good"
    )
    check.add_argument("--ip", required=True, help="the address that it came from")
    check.add_argument("--helo", default="", help="the name that the client gave")
    check.add_argument("--mail", default="", help="the envelope sender; empty for a bounce")
    check.add_argument("--own", action="append", default=[], metavar="DOMAIN", help="a domain of ours")
    check.add_argument("--forwarder", action="append", default=[], metavar="DOMAIN", help="a believed forwarder")


def _daemon(options: argparse.Namespace) -> int:
    if options.check:
        load(options.config)
        return 0
    if os.geteuid() == 0 and not options.allow_root:
        raise ConfigError("", "gatekeeper does not run as root; start it as its own user")
    from gatekeeper.daemon import Daemon  # and dnspython, which other commands do not need
    from gatekeeper.master import Listeners, Master

    def work(config: Config, listeners: Listeners) -> bool:
        return asyncio.run(Daemon(options.config, tuple(options.client), config, listeners).run())

    Master(options.config, work).run()
    return 0


def _doctor(options: argparse.Namespace) -> int:
    is_broken = False
    for check in doctor.examine(options.config):
        is_broken |= check.state == "broken"
        if options.json:
            print(json.dumps({"state": check.state, "what": check.what, "advice": check.advice}))
            continue
        print(f"{_MARKS[check.state]}  {check.what}")
        if check.advice:
            print(f"         -> {check.advice}")
    return int(is_broken)


def _accept(options: argparse.Namespace) -> int:
    error = doctor.order(load(options.config).socket, "accept", path=options.path)["error"]
    if error:
        print(f"gatekeeper: {options.path} is not taken: {error}", file=sys.stderr)
    return int(bool(error))


def _alerts(options: argparse.Namespace) -> int:
    mail_all(load(options.config))
    return 0


def _auth(options: argparse.Namespace) -> int:
    from gatekeeper.auth import command  # and cryptography, which nothing else needs

    return command.run(options, load(options.config))


def _dmarc_reports(options: argparse.Namespace) -> int:
    from gatekeeper.auth.reports import send

    return WAITS if send(load(options.config), options.sent) else 0


_VERBS = {
    "daemon": _daemon,
    "alerts": _alerts,
    "doctor": _doctor,
    "accept": _accept,
    "auth": _auth,
    "dmarc-reports": _dmarc_reports,
}
