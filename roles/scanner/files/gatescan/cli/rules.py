"""`gatescan rules`: from the text that people edit to the rules in force."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from gatescan.cli import EXIT_FOUND, EXIT_OK
from gatescan.cli.common import (
    SHIPPED_RULES,
    add_config,
    add_json,
    config_or_defaults,
    parser,
    print_json,
    say,
    table,
)
from gatescan.judging import rules
from gatescan.judging.rules import Rule, RuleSet

DESCRIPTION = """\
The rules are lines of quarantine-attachments.txt. Editing it changes nothing until `rules build` (the old
`qmail-scanner-queue -g`) has read it without an error; then the daemon takes the new rules by itself.
outbreak.txt beside it, in the same format, is read after it."""

EPILOG = """\
examples:
  gatescan rules test mail.eml     does the text, as it is now, stop this message, and by which line
  gatescan rules build             put the text in force; on a mistake the old rules stay
  gatescan rules list              the rules in force"""


def run(words: list[str]) -> int:
    """Build, test or list; exit status 1 for a mistake in the rules, or, for `test`, when a rule hits."""
    made = parser("rules", DESCRIPTION, EPILOG)
    verbs = made.add_subparsers(dest="verb", required=True, metavar="build|test|list")
    build = verbs.add_parser("build", help="compile the text and put it in force")
    build.add_argument("--output", type=Path, metavar="FILE", help="compiled file (default: configuration)")
    test = verbs.add_parser("test", help="say which rules a message hits, and why")
    test.add_argument("--from", dest="sender", default="", metavar="ADDRESS", help="envelope sender")
    test.add_argument("--to", action="append", default=[], metavar="ADDRESS", help="envelope recipient")
    test.add_argument("--ip", default="", metavar="ADDRESS", help="address that it came from")
    test.add_argument("--outbound", action="store_true", help="as if from a relay client")
    test.add_argument("messages", nargs="+", metavar="MESSAGE")
    listing = verbs.add_parser("list", help="print the rules in force")
    for verb in (build, test):
        verb.add_argument("--rules", type=Path, dest="source", metavar="FILE", help="the text (default: configuration)")
    for verb in (test, listing):
        add_json(verb)
    for verb in (build, test, listing):
        add_config(verb)
    options = made.parse_args(words)
    return {"build": _build, "test": _test, "list": _list}[options.verb](options)


def _build(options: argparse.Namespace) -> int:
    config = config_or_defaults(options.config)
    source = options.source or config.rules.source
    compiled = options.output or config.rules.compiled
    try:
        built = rules.build(source, compiled)
    except rules.RulesError as error:
        for problem in error.problems:
            say(problem)
        say(f"nothing was changed: {_in_force(compiled)}")
        return EXIT_FOUND
    print(f"{len(built.rules)} rules from {source} are in force ({compiled})")
    return EXIT_OK


def _in_force(compiled: Path) -> str:
    try:
        old = rules.load(compiled)
    except rules.RulesError:
        return "there are no rules in force"
    return f"the {len(old.rules)} rules built {_date(old.built)} stay in force"


def _test(options: argparse.Namespace) -> int:
    from gatescan.cli.check import read_message
    from gatescan.context import Context
    from gatescan.judging.judge import judge
    from gatescan.outcome.journal import finding_json
    from gatescan.text import printable

    config = config_or_defaults(options.config)
    source = options.source or (config.rules.source if config.rules.source.exists() else None)
    loaded = rules.read(source or SHIPPED_RULES)
    _warn_if_not_in_force(loaded, config.rules.compiled)
    context = Context(options.sender, tuple(options.to), options.ip, options.outbound)
    by_place = {loaded.where(rule): rule for rule in loaded.rules}
    status = EXIT_OK
    for name in options.messages:
        report = judge(read_message(name), context, loaded, config)
        hits = [finding for finding in report.findings if finding.source in by_place]
        status = max(status, EXIT_FOUND if hits else EXIT_OK)
        if options.json:
            shown = [{**finding_json(hit), "rule": rule_json(by_place[hit.source])} for hit in hits]
            print_json({"file": name, "hits": shown})
            continue
        if not hits:
            print(f"{name}: no rule hits; the verdict is {report.verdict.value}")
        for hit in hits:
            where = f" in {printable(hit.part)}" if hit.part else ""
            print(f"{name}: {hit.source}: {describe(by_place[hit.source])}{where}: {hit.detail}")
    return status


def _warn_if_not_in_force(loaded: RuleSet, compiled: Path) -> None:
    try:
        same = rules.load(compiled).sha256 == loaded.sha256
    except rules.RulesError:
        same = False
    if not same:
        say("these rules are not in force until `gatescan rules build`")


def _list(options: argparse.Namespace) -> int:
    config = config_or_defaults(options.config)
    loaded = rules.load(config.rules.compiled)
    if options.json:
        for rule in loaded.rules:
            print_json(rule_json(rule))
        return EXIT_OK
    rows = [
        (loaded.where(rule) if rule.file else str(rule.line), describe(rule), scope(rule), rule.description)
        for rule in loaded.rules
    ]
    print(table(rows, ("LINE", "RULE", "FOR", "DESCRIPTION")))
    say(f"{len(rows)} rules, built {_date(loaded.built)} from {loaded.source}")
    if rules.is_stale(loaded):
        say("the text was edited since; `gatescan rules build` puts it in force")
    return EXIT_OK


def describe(rule: Rule) -> str:
    """What a rule looks for, in words."""
    if rule.kind == "extension":
        return f"extension .{rule.pattern}"
    if rule.kind == "name":
        return f"name {rule.pattern}" + ("" if rule.size < 0 else f" of {rule.size} bytes")
    return f"header {rule.header} matches {rule.pattern}"


def scope(rule: Rule) -> str:
    """The mail that a rule is for, as its fourth column says."""
    return " ".join((*filter(None, (rule.direction,)), *(f"@{domain}" for domain in rule.domains))) or "all"


def rule_json(rule: Rule) -> dict[str, object]:
    """A rule as --json prints it."""
    return asdict(rule)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
