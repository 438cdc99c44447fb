#!/usr/bin/python
"""What a gateway alone has, into an encrypted archive and back: the gateway's side of the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_archive
short_description: Take what a gateway alone has into an encrypted archive, or bring it back
description:
  - The action of the same name runs it, and moves the archive between controller and gateway. Nothing leaves the
    gateway but what age has encrypted.
  - An archive is read to its end before anything is changed; then services are stopped, and started whatever happens.
options:
  step:
    description: >-
      C(pack) writes C(file) on the gateway; C(key) makes C(identity) for one transport; C(unpack) brings C(file) back.
    type: str
    choices: [pack, key, unpack]
    required: true
  state:
    description: "What roles declare: mappings of path, form (tree, held, database, queue), services and settle."
    type: list
    elements: dict
    default: []
  release:
    description: The release of Gatewright that runs this.
    type: str
    default: ""
  recipients:
    description: Public keys of age, of those who can open the archive.
    type: list
    elements: str
    default: []
  queue:
    description: Whether qmail's queue goes in or comes back. Empty or C(auto), that of a gateway where all mail stays.
    type: str
    choices: ["", auto, take, leave]
    default: ""
  over:
    description: Whether to bring an archive back to a gateway that has mail in its queue.
    type: bool
    default: false
  file:
    description: The archive on the gateway.
    type: path
    default: ""
  identity:
    description: The key on the gateway that opens it.
    type: path
    default: ""
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
- name: Take what this gateway alone has
  gateway_archive:
    step: pack
    directory: /srv/backups
    recipients: [age1...]
    state: "{{ lookup('site', 'backup_state') }}"
"""

RETURN = r"""
bytes: {description: "Of C(pack): each path and the bytes of it.", type: dict, returned: success}
queued: {description: "Of C(pack): messages of the queue.", type: int, returned: success}
bodiless: {description: "Of C(pack): messages without body, which were left out.", type: int, returned: success}
files: {description: "Of C(unpack): each path and the files of it.", type: dict, returned: success}
left_out: {description: "Of C(unpack): what is in the archive and was not brought back.", type: list, returned: success}
made: {description: "Of C(unpack): when the archive was made, in seconds since 1970.", type: int, returned: success}
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.on_gateway.archive import age
from ansible.module_utils.on_gateway.archive.pack import pack
from ansible.module_utils.on_gateway.archive.state import parse_entries
from ansible.module_utils.on_gateway.archive.unpack import Wish, unpack
from ansible.module_utils.on_gateway.frame import Refusal


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def give_to_caller(path: Path) -> None:
    """Let whoever logged in, who may be another user than root, read what is encrypted."""
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def take(params: dict[str, Any], root: Path) -> dict[str, Any]:
    """Write the archive."""
    target = Path(params["file"])
    entries, queue = parse_entries(params["state"]), params["queue"] or "auto"
    said: dict[str, Any] = pack(root, entries, target, params["recipients"], params["release"], queue)
    give_to_caller(target)
    return said | {"changed": True, "sha256": digest(target), "size": target.stat().st_size}


def bring_back(params: dict[str, Any], root: Path, only_look: bool) -> dict[str, Any]:
    """Bring an archive back, or look whether it could be."""
    wish = Wish(Path(params["file"]), Path(params["identity"]), params["release"], params["queue"], params["over"])
    said: dict[str, Any] = unpack(root, parse_entries(params["state"]), wish, only_look)
    return said | {"changed": True}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "choices": ["pack", "key", "unpack"], "required": True},
            "state": {"type": "list", "elements": "dict", "default": []},
            "release": {"type": "str", "default": ""},
            "recipients": {"type": "list", "elements": "str", "default": []},
            "queue": {"type": "str", "choices": ["", "auto", "take", "leave"], "default": ""},
            "over": {"type": "bool", "default": False},
            "file": {"type": "path", "default": ""},
            "identity": {"type": "path", "default": "", "no_log": False},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    params, root = module.params, Path(module.params["root"])
    try:
        if params["step"] == "key":
            module.exit_json(changed=False, recipient=age.make_identity(Path(params["identity"])))
        if params["step"] == "pack":
            module.exit_json(**take(params, root))
        module.exit_json(**bring_back(params, root, module.check_mode))
    except Refusal as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError, TypeError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
