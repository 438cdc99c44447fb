#!/usr/bin/python
"""The quarantine of one gateway, by its own command."""

from __future__ import annotations

DOCUMENTATION = r"""
module: held_mail
short_description: List, show, release or delete held messages of a gateway
description:
  - Runs C(gatescan quarantine) with its own filters. Who did it is in the gateway's journal, by the name that is given.
options:
  request:
    description: What to do (C(Request) in the module) as JSON in base64, so that nothing is taken for a template.
    type: str
    required: true
  root:
    description: Folder that stands for C(/); only for one whose C(usr/bin/gatescan) is a program.
    type: path
    default: /
author: Gatewright
attributes:
  check_mode: {support: none}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: What is held for ann
  held_mail:
    request: "{{ {'verb': 'list', 'filters': {'to': 'ann@example.org'}} | to_json | b64encode }}"
"""

RETURN = r"""
answer:
  description: >-
    JSON, compressed by zlib, in base64; C(entries), C(said) (of each id), C(left) (how many ids there was no time for),
    C(message) (in base64).
  type: str
  returned: always
"""

from ansible.module_utils.on_gateway.frame import serve
from ansible.module_utils.on_gateway.quarantine import carry_out, changes, parse

if __name__ == "__main__":
    serve(parse, carry_out, changes)
