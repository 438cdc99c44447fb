#!/usr/bin/python
"""Take permissions away: from files by pattern, and the set-id bit from programs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: strict_modes
short_description: Keep file modes within limits, strip set-id bits, and name set-id programs that nobody declared
description:
  - Only takes permission bits away, never grants any, so that a file that is stricter already stays so.
  - A set-id program is stripped with dpkg-statoverride, so that an upgrade does not bring the bit back.
  - Other file systems than that of C(search) are not searched for set-id programs, nor container layers below /var/lib.
options:
  limits:
    description: Pattern of paths (as in the shell; C(**) goes down) to the most permissions, in octal, of a match.
    type: dict
    default: {}
  strip:
    description: Programs that lose their set-id bits.
    type: list
    elements: path
    default: []
  allowed:
    description: Set-id programs that are meant to be there.
    type: list
    elements: path
    default: []
  search:
    description: The directory below which set-id programs are searched.
    type: path
    default: /
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
- name: Keep logs from others
  strict_modes:
    limits: {"/var/log/*.log": "0640"}
    strip: [/usr/bin/chfn]
    allowed: [/usr/bin/passwd]
"""

RETURN = r"""
changed_paths:
  description: Paths whose mode was (or, in check mode, would be) lowered.
  type: list
  elements: str
  returned: always
setid:
  description: All set-id programs that are left.
  type: list
  elements: str
  returned: always
unknown:
  description: Those among them that are not allowed.
  type: list
  elements: str
  returned: always
"""

import os
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.on_gateway import stat_cache
from ansible.module_utils.on_gateway.modes import mode_of, set_id_programs, too_open


def name_for_dpkg(module: AnsibleModule, path: str) -> str:
    """Return the path by which dpkg knows a file: Debian 12 still has packages with /bin and /sbin."""
    names = (path, path.removeprefix("/usr"))
    return next((name for name in names if module.run_command(["dpkg-query", "--search", name])[0] == 0), path)


def override(module: AnsibleModule, path: str) -> None:
    """Tell dpkg that this program has no set-id bit, and take it away."""
    path = name_for_dpkg(module, path)
    if module.run_command(["dpkg-statoverride", "--list", path])[0] == 0:
        module.run_command(["dpkg-statoverride", "--remove", path], check_rc=True)
    module.run_command(["dpkg-statoverride", "--update", "--add", "root", "root", "0755", path], check_rc=True)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Take away what is too much."""
    limits, search, strip = module.params["limits"], module.params["search"], set(module.params["strip"])
    before = {path: (mode, limited) for path, mode, limited in too_open(limits)}
    found = set_id_programs(search)
    before |= {path: (mode_of(path) or 0, 0o755) for path in found if path in strip}
    if not module.check_mode:
        for path, (_, limited) in before.items():
            if path in strip:
                override(module, path)
            else:
                with suppress(FileNotFoundError):  # a log that was rotated away meanwhile
                    os.chmod(path, limited)
    left = [path for path in found if path not in strip]
    unknown = [path for path in left if path not in module.params["allowed"]]
    lasting = {"changed_paths": [], "setid": left, "unknown": unknown}
    if not module.check_mode:
        look = ("modes", stat_cache.told([search, limits]))
        stat_cache.keep(module.params["noted"], [look], lasting, lambda: stat_cache.look(*look) == [[], left])
    return {
        **lasting,
        "changed": bool(before),
        "changed_paths": sorted(before),
        "diff": {
            "before": "".join(f"{path} {mode:04o}\n" for path, (mode, _) in sorted(before.items())),
            "after": "".join(f"{path} {limited:04o}\n" for path, (_, limited) in sorted(before.items())),
        },
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "limits": {"type": "dict", "default": {}},
            "strip": {"type": "list", "elements": "path", "default": []},
            "allowed": {"type": "list", "elements": "path", "default": []},
            "search": {"type": "path", "default": "/"},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except OSError as error:
        module.fail_json(msg=to_native(error))


if __name__ == "__main__":
    main()
