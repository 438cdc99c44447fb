#!/usr/bin/python
"""How one gateway is, in figures."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_status
short_description: Queue, quarantine, cutoff, outbreak, engines, certificate and the doctor's word, for C(gw status)
description:
  - Looks, and changes nothing. What cannot be looked at is missing from the answer.
options:
  request:
    description: JSON in base64; an empty object.
    type: str
    required: true
  root:
    description: Folder that stands for C(/).
    type: path
    default: /
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: How is it?
  gateway_status:
    request: "{{ {} | to_json | b64encode }}"
"""

RETURN = r"""
answer:
  description: JSON, compressed by zlib, in base64.
  type: str
  returned: always
"""

from ansible.module_utils.on_gateway.frame import serve
from ansible.module_utils.on_gateway.status import look

if __name__ == "__main__":
    serve(dict, look)
