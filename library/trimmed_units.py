#!/usr/bin/python
"""Stop, disable and mask services together with their sockets, timers and paths."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trimmed_units
short_description: Stop, disable and mask services with their sockets, timers and paths
description:
  - For every name, the service and the units of that name that could start it again are stopped, disabled and masked.
  - A name that this host has no unit of is masked too, so that a package installed later does not start it.
  - What had failed before it was masked is forgotten, as a host with failed units is one that nobody looks at any more.
  - A unit that systemd itself makes an alias of another one is left to that one.
  - Where a mask cannot be made, as a file of the host's has its place, it fails before anything is stopped.
  - What it masks is noted in the file C(masked) of C(ledger_dir), a unit a line, so that C(remove.yml) unmasks that and
    no more. Where a release that kept no note has masked others before, a line that begins with C(#) says so.
options:
  names:
    description: Names of units without their suffix.
    type: list
    elements: str
    required: true
  masks:
    description: The directory with the host's own units, where masks are made.
    type: path
    default: /etc/systemd/system
  ledger_dir:
    description: Where Gatewright notes what is its own.
    type: path
    default: /var/lib/gatewright
  built:
    description: A file that a host has on which Gatewright was at work before.
    type: path
    default: /usr/local/sbin/gatewright-cutoff
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Stop what a mail gateway does not need
  trimmed_units:
    names: [rpcbind, atd, cups]
"""

RETURN = r"""
trimmed:
  description: Units that were (or, in check mode, would be) stopped, disabled and masked.
  type: list
  elements: str
  returned: always
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.on_gateway.trimming import RUNNING, SUFFIXES, in_the_way, plan, question, read, units_of

_ENDINGS = tuple(f".{suffix}" for suffix in SUFFIXES)

EARLIER = "# and what an earlier release masked without a note"


def present(module: AnsibleModule, units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what systemd knows of units."""
    _code, output, _errors = module.run_command(question(units), check_rc=True)
    found: dict[str, dict[str, str]] = read(output, units)
    return found


def trim(module: AnsibleModule, pending: Sequence[str], found: Mapping[str, Mapping[str, str]]) -> None:
    """Stop sockets, timers and paths before their services, then disable and mask."""
    running = [unit for unit in pending if found[unit]["ActiveState"] in RUNNING]
    for services in (False, True):
        stop = [unit for unit in running if unit.endswith(".service") is services]
        if stop and services:
            # an init script may not find its own daemon (in a container without the right to trace it)
            module.run_command(["systemctl", "kill", "--", *stop])
        if stop:
            _code, _output, errors = module.run_command(["systemctl", "stop", "--", *stop])
            # a unit without a file is gone as soon as it is killed, and to stop it is an error then
            states = present(module, stop)
            if still := [unit for unit in stop if states.get(unit, {}).get("ActiveState") in RUNNING]:
                module.fail_json(msg=f"systemctl does not stop {', '.join(still)}: {errors.strip()}")
    known = [unit for unit in pending if found[unit]["LoadState"] not in ("not-found", "masked")]
    if known:
        # An init script without a unit file cannot be disabled by every systemd; the mask below holds it all the same,
        # and has systemd read its units again for both.
        module.run_command(["systemctl", "disable", "--quiet", "--no-reload", "--", *known])
    module.run_command(["systemctl", "mask", "--quiet", "--", *pending], check_rc=True)
    # of a unit that had failed or was killed just now; it is an error for one that is not loaded
    module.run_command(["systemctl", "reset-failed", "--", *pending])


def note(folder: str, built: str, units: Sequence[str]) -> None:
    """Add what is about to be masked to the note; what is masked already is somebody else's, or stands in it."""
    path = os.path.join(folder, "masked")
    try:
        with open(path) as handle:
            known = handle.read().splitlines()
    except FileNotFoundError:
        known = [EARLIER] if os.path.exists(built) else []
    noted = sorted({*known, *units})  # the remark sorts first
    if not units or noted == known:
        return
    os.makedirs(folder, mode=0o755, exist_ok=True)
    with open(f"{path}.new", "w") as handle:
        handle.write("".join(f"{line}\n" for line in noted))
        os.fchmod(handle.fileno(), 0o644)
    os.rename(f"{path}.new", path)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "masks": {"type": "path", "default": "/etc/systemd/system"},
            "ledger_dir": {"type": "path", "default": "/var/lib/gatewright"},
            "built": {"type": "path", "default": "/usr/local/sbin/gatewright-cutoff"},
        },
        supports_check_mode=True,
    )
    names = module.params["names"]
    wrong = [name for name in names if name.endswith(_ENDINGS) or "/" in name or not name.strip()]
    if wrong:
        module.fail_json(msg=f"{wrong[0]!r} is not the name of a unit without its suffix")
    found = present(module, units_of(names))
    pending = plan(names, found)
    if taken := in_the_way(pending, Path(module.params["masks"])):
        places = ", ".join(map(str, taken))
        module.fail_json(
            msg=f"{taken[0].name} cannot be masked, and nothing was stopped: {places} would have to make room;"
            f" remove it, or leave {taken[0].stem} out of the units to trim"
        )
    if pending and not module.check_mode:
        ours = [unit for unit in pending if found[unit]["LoadState"] != "masked"]
        note(module.params["ledger_dir"], module.params["built"], ours)
        trim(module, pending, found)
    before = "".join(f"{unit} {found[unit]['LoadState']} {found[unit]['ActiveState']}\n" for unit in pending)
    after = "".join(f"{unit} masked inactive\n" for unit in pending)
    diff = {"before": before, "after": after}
    module.exit_json(changed=bool(pending), trimmed=pending, diff=diff)


if __name__ == "__main__":
    main()
