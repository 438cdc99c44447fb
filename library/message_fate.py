#!/usr/bin/python
"""What became of a message on a gateway, by qmail-send's log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: message_fate
short_description: Follow one message through qmail's log
description:
  - Waits until qmail-send's log says what became of the message of a sender that no other message has.
options:
  sender:
    description: The message's envelope sender.
    type: str
    required: true
  seconds:
    description: Seconds to wait for an end.
    type: int
    default: 60
  log:
    description: Directory of qmail-send's log.
    type: path
    default: /var/log/qmail
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: See what became of the test message
  message_fate:
    sender: gatewright-verify-1234@gw1.example.org
"""

RETURN = r"""
fate:
  description: >-
    C(delivered), C(failed), C(deferred) (it waits in the queue), C(queued) (no delivery was tried) or C(absent) (the
    queue never had it, as when the scanner held it).
  type: str
  returned: always
words: {description: The log's last words on it., type: str, returned: always}
"""

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DELIVERY = re.compile(r"starting delivery (\d+): msg (\d+) to ")
RESULT = re.compile(r"delivery (\d+): (success|failure|deferral): (.*)")
FATES = {"success": "delivered", "failure": "failed", "deferral": "deferred"}
PAUSE_SECONDS = 0.5


def lines_of(log: str) -> Iterator[str]:
    """The log's latest lines: of the present file and the one before it."""
    rotated = sorted(Path(log).glob("@*"))
    for path in (*rotated[-1:], Path(log) / "current"):
        try:
            yield from path.read_text(errors="replace").splitlines()
        except FileNotFoundError:  # it was rotated just now
            continue


def fate_of(lines: Iterable[str], sender: str) -> tuple[str, str]:
    """Return what became of the sender's message so far, and the log's words."""
    number = ""
    deliveries: set[str] = set()
    fate, words = "absent", ""
    for line in lines:
        if f" from <{sender}> qp " in line:
            number, deliveries, fate, words = line.split("info msg ")[1].split(":")[0], set(), "queued", ""
        elif not number:
            continue
        elif (started := DELIVERY.search(line)) and started[2] == number:
            deliveries.add(started[1])
        elif (ended := RESULT.search(line)) and ended[1] in deliveries:
            fate, words = FATES[ended[2]], ended[3]
        elif line.endswith(f" end msg {number}"):
            break
    return fate, words


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "sender": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 60},
            "log": {"type": "path", "default": "/var/log/qmail"},
        },
        supports_check_mode=True,
    )
    deadline = time.monotonic() + module.params["seconds"]
    while True:
        fate, words = fate_of(lines_of(module.params["log"]), module.params["sender"])
        if fate in ("delivered", "failed") or time.monotonic() > deadline:
            break
        time.sleep(PAUSE_SECONDS)
    module.exit_json(changed=False, fate=fate, words=words)


if __name__ == "__main__":
    main()
