#!/usr/bin/python
"""What became of messages on one gateway, out of its own logs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_trace
short_description: Read a gateway's logs, and tell what became of messages
description:
  - Reads the scanner's messages.jsonl, the logs of qmail-send and qmail-smtpd, gatepost's deliveries.jsonl and
    gatekeeper's log, rotated and compressed files too, and joins their lines to one record a message.
  - Messages are joined by the process that queued them (qp), time, and qmail's number. Changes nothing.
  - Logs are read as streams; a line that is cut, or is no line of its log, is passed over.
  - With C(spans) it counts instead what was judged and delivered, in an answer that does not grow with the logs.
options:
  request:
    description: The filters (C(Request) in the module) as JSON in base64, so that nothing is taken for a template.
    type: str
    required: true
  root:
    description: Folder that stands for C(/), such as a copy of a gateway's logs.
    type: path
    default: /
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: What became of mail to ann
  mail_trace:
    request: "{{ {'to': 'ann@example.org', 'since': 1764201600} | to_json | b64encode }}"
"""

RETURN = r"""
answer:
  description: >-
    JSON, compressed by zlib, in base64: C(records), newest last, C(is_cut) (whether there were more than C(most)) and
    C(remarks) (files that could not be read). With C(spans): C(figures) and C(remarks).
  type: str
  returned: always
"""

from ansible.module_utils.on_gateway.frame import serve
from ansible.module_utils.on_gateway.trace.search import carry_out, parse

if __name__ == "__main__":
    serve(parse, carry_out)
