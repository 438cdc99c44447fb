#!/usr/bin/python
"""The compiled list of the domains that do not fit into rcpthosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: morercpthosts
short_description: Keep morercpthosts.cdb in step with morercpthosts
description:
  - qmail-smtpd reads C(morercpthosts.cdb), whatever C(morercpthosts) says. This module looks into the compiled file,
    runs C(qmail-newmrh) when it does not hold exactly the domains, and removes it when there are none.
options:
  control:
    description: qmail's control directory.
    type: path
    default: /var/qmail/control
  domains:
    description: The domains that C(morercpthosts) holds.
    type: list
    elements: str
    required: true
  qmail_newmrh:
    description: The program that compiles.
    type: path
    default: /var/qmail/bin/qmail-newmrh
  noted:
    description: What the action plugin has noted once all is in order; see M(file_set). For the plugin only.
    type: dict
    default: {}
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Accept mail for one more domain
  morercpthosts:
    domains: [example.org]
"""

RETURN = ""

import os
import struct
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.on_gateway import stat_cache

HEADER_BYTES = 2048
PROGRAM_SECONDS = 60


def keys_of(data: bytes) -> set[str] | None:
    """Return the keys of a cdb file (its records follow the header), or None when it is damaged."""
    try:
        end = struct.unpack_from("<I", data, 0)[0]
        keys, position = set(), HEADER_BYTES
        while position < end:
            key_bytes, data_bytes = struct.unpack_from("<II", data, position)
            position += 8
            if position + key_bytes + data_bytes > len(data):
                return None
            keys.add(data[position : position + key_bytes].decode())
            position += key_bytes + data_bytes
    except (struct.error, UnicodeDecodeError):
        return None
    # The first of the 256 tables begins where the records end.
    return keys if position == end else None


def read(path: str) -> bytes | None:
    """Return a file's bytes, or None when there is none."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "control": {"type": "path", "default": "/var/qmail/control"},
            "domains": {"type": "list", "elements": "str", "required": True},
            "qmail_newmrh": {"type": "path", "default": "/var/qmail/bin/qmail-newmrh"},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    compiled = os.path.join(module.params["control"], "morercpthosts.cdb")
    wanted = {domain.lower() for domain in module.params["domains"]}
    data = read(compiled)
    held = None if data is None else keys_of(data)

    def is_right() -> bool:
        now = read(compiled)
        return not wanted if now is None else keys_of(now) == wanted

    def note() -> None:
        stat_cache.keep(module.params["noted"], [("file", compiled)], {}, is_right)

    if held == wanted or (data is None and not wanted):
        if not module.check_mode:
            note()
        module.exit_json(changed=False)
    diff = {
        "before_header": compiled,
        "after_header": compiled,
        "before": "".join(f"{domain}\n" for domain in sorted(held or ())),
        "after": "".join(f"{domain}\n" for domain in sorted(wanted)),
    }
    if module.check_mode:
        module.exit_json(changed=True, diff=diff)
    if not wanted:
        os.unlink(compiled)
        note()
        module.exit_json(changed=True, diff=diff)
    try:
        run = subprocess.run([module.params["qmail_newmrh"]], capture_output=True, timeout=PROGRAM_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=f"qmail-newmrh: {error}")
    if run.returncode:
        module.fail_json(msg=f"qmail-newmrh failed: {run.stderr.decode(errors='replace').strip()}")
    if keys_of(read(compiled) or b"") != wanted:
        module.fail_json(msg=f"{compiled} does not hold the domains of morercpthosts after qmail-newmrh")
    note()
    module.exit_json(changed=True, diff=diff)


if __name__ == "__main__":
    main()
