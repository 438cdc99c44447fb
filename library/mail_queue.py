#!/usr/bin/python
"""qmail's queue on one gateway: what waits, and what is to be done with it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_queue
short_description: List, flush, hold, resume or drop messages in a gateway's queue
description:
  - All but C(list) is done in qmail's own words, in files that qmail-send reads, while no qmail-send runs. The time
    of the next try is that of the file of recipients; a recipient that is done is marked so. qmail-send itself then
    removes what nobody is left to get, with all that belongs to it.
  - No qmail-send runs while its lock is held here. It is started again whatever happens, by a process of its own.
options:
  request:
    description: What to do (C(Request) in the module) as JSON in base64, so that nothing is taken for a template.
    type: str
    required: true
  root:
    description: Folder that stands for C(/).
    type: path
    default: /
author: Gatewright
attributes:
  check_mode: {support: none}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: What waits for example.org
  mail_queue:
    request: "{{ {'verb': 'list', 'to': '@example.org'} | to_json | b64encode }}"
"""

RETURN = r"""
answer:
  description: >-
    JSON, compressed by zlib, in base64; C(messages), those that there are or were changed, at most 10000 of C(count);
    C(unsorted), how many qmail-send has not looked at yet; C(left), how many there was no time for.
  type: str
  returned: always
"""

from ansible.module_utils.on_gateway.frame import serve
from ansible.module_utils.on_gateway.queue import carry_out, changes, parse

if __name__ == "__main__":
    serve(parse, carry_out, changes)
