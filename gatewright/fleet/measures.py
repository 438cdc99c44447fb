"""What is done on all gateways at once in an emergency: blocks of an outbreak, and mail that is cut off.

The modules and the program are those of playbooks/outbreak.yml and playbooks/cutoff.yml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatewright.chapters.scanner.rules import scanner_rules
from gatewright.fleet.ask import Answers, Fleet, as_data, run_module, who

BELOW = "{{ fleet_root | default('') }}"
WAYS = ("inbound", "outbound", "both")
DESCRIPTION = "Blocked in an outbreak"


def rule_of(keys: Mapping[str, Any]) -> str:
    """The line of an outbreak's rule, as the inventory's rules have their keys; InventoryError says what is wrong."""
    rule = {"description": DESCRIPTION, **keys}
    return scanner_rules([rule], "outbreak").splitlines()[1]


def blocked(fleet: Fleet) -> Answers:
    """The rules of outbreaks that are in force."""
    return _rules(fleet, "show", [])


def block(fleet: Fleet, rule: str) -> Answers:
    """Put a rule in force."""
    return _rules(fleet, "block", [rule])


def lift(fleet: Fleet, rules: list[str]) -> Answers:
    """Take rules back."""
    return _rules(fleet, "lifted", rules)


def _rules(fleet: Fleet, state: str, rules: list[str]) -> Answers:
    places = {"path": f"{BELOW}/etc/gatescan/outbreak.txt", "gatescan": f"{BELOW}/usr/bin/gatescan"}
    asked = {"state": state, "rules": as_data(rules), "by": as_data(who())}
    return run_module(fleet, "outbreak_rules", asked | places)


def cutoff(fleet: Fleet, verb: str, way: str) -> Answers:
    """Cut mail off (`cut`) or give it back (`open`), one of WAYS."""
    if verb not in ("cut", "open") or way not in WAYS:
        raise ValueError(f"{verb} {way}")
    program = f"{BELOW}/usr/local/sbin/gatewright-cutoff"
    return run_module(fleet, "ansible.builtin.command", {"argv": [program, verb, way, as_data(who())]})
