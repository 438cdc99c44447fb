"""`gatekeeper auth check`: what SPF, DKIM, ARC and DMARC say of a message, and why."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace

from gatekeeper.addresses import in_ascii, parse_client
from gatekeeper.auth.desk import site_of
from gatekeeper.auth.judge import Origin, Report, judge
from gatekeeper.auth.mail import of_bytes
from gatekeeper.auth.names import AskedNames
from gatekeeper.config import Config, ConfigError
from gatekeeper.resolve import Resolver


def run(options: argparse.Namespace, config: Config) -> int:
    """Check a message; returns the exit status: 1 if something speaks against it. Raises ConfigError."""
    client = parse_client(options.ip)
    if client is None:
        raise ConfigError(f"--ip {options.ip}", "is no address")
    told = site_of(config)
    site = replace(told, own=told.own | _domains(options.own), forwarders=told.forwarders | _domains(options.forwarder))
    message = of_bytes(sys.stdin.buffer.read().replace(b"\r\n", b"\n"))
    names = AskedNames(Resolver(config))
    report = asyncio.run(judge(message, Origin(client, options.helo, options.mail), names, site, lambda: 0.0))
    sys.stdout.write(report.header())
    for line in _reasons(report):
        print("".join(letter if " " <= letter <= "~" else "?" for letter in line))
    return int(bool(report.verdict))


def _domains(given: list[str]) -> frozenset[str]:
    return frozenset(map(in_ascii, given))


def _reasons(report: Report) -> Iterator[str]:
    """What is not plain from the results."""
    if report.spf and report.spf.why:
        yield f"spf: {report.spf.why}"
    for item in report.signatures:
        if item.why:
            yield f"dkim of {item.domain or 'no domain'}: {item.why}"
    if report.chain.why:
        yield f"arc: {report.chain.why}"
    if report.forwarder:
        yield f"arc: {report.forwarder} saw it pass"
    if report.dmarc.why:
        yield f"dmarc: {report.dmarc.why}"
    if report.verdict:
        yield f"verdict: {report.verdict}: {report.why}"
    if report.borrows_name:
        yield "own name: it bears a name of one of your people, and an address that is not yours"
