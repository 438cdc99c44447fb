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
  description: JSON, compressed by zlib, in base64; C(entries), C(said) (of each id), C(message) (in base64).
  type: str
  returned: always
"""

import base64
import json
import os
import subprocess
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

SECONDS = 100
LONGEST = 8_000_000
"""Bytes of a message that are shown."""
PATH = "/command:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Request:
    """What to do. verb: list, show, message, release or delete. filters: of `gatescan quarantine list`, by name.

    ids: of messages; release and delete take nothing else. by: who asks. again: one more copy of what was released.
    """

    verb: str
    filters: dict[str, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    by: str = ""
    again: bool = False


class Quarantine:
    """A gateway's quarantine."""

    def __init__(self, command: Path, by: str) -> None:
        self.command = command
        # the command takes who asks from there
        self.environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "SUDO_USER": by or "root"} | (
            {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        )

    def answer(self, request: Request) -> dict[str, Any]:
        """Carry it out."""
        if request.verb == "list":
            filters = [f"--{name}={value}" for name, value in request.filters.items()]
            return {"entries": self._entries("list", "--json", *filters), "said": {}}
        if request.verb == "show":
            return {"entries": [entry for one in request.ids for entry in self._entries("show", "--json", "--", one)]}
        if request.verb == "message":
            return self._message(request.ids[0])
        again = ["--again"] if request.verb == "release" and request.again else []
        return {"said": {one: self._one(request.verb, *again, "--", one) for one in request.ids}}

    def _entries(self, *words: str) -> list[dict[str, Any]]:
        done = self._run(*words)
        if done.returncode not in (0, 1):
            raise OSError(0, done.stderr.decode("utf-8", "replace").strip()[-300:] or f"exit status {done.returncode}")
        return [
            json.loads(line) for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith("{")
        ]

    def _message(self, one: str) -> dict[str, Any]:
        done = self._run("show", "--message", "--", one)
        return {"message": base64.b64encode(done.stdout[:LONGEST]).decode("ascii"), "found": done.returncode == 0}

    def _one(self, *words: str) -> dict[str, Any]:
        done = self._run(*words)
        said = (done.stdout if done.returncode == 0 else done.stderr).decode("utf-8", "replace").strip()
        return {"done": done.returncode == 0, "text": said[:500]}

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self.command), "quarantine", *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False
        )


def pack(answer: dict[str, Any]) -> str:
    """An answer as it goes over the wire: nothing in it can be taken for a template or a secret."""
    return base64.b64encode(zlib.compress(json.dumps(answer).encode("ascii"), 1)).decode("ascii")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "request": {"type": "str", "required": True},
            "root": {"type": "path", "default": "/"},
        },
    )
    command = Path(module.params["root"]) / "usr/bin/gatescan"
    try:
        told = json.loads(base64.b64decode(module.params["request"]))
        request = Request(**told | {"ids": tuple(told.get("ids", ()))})
        answer = Quarantine(command, request.by).answer(request)
    except (ValueError, TypeError) as error:
        module.fail_json(msg=f"this is no request: {error}")
    except FileNotFoundError:
        module.fail_json(msg=f"{command} is not there: this host has no scanner yet; run site.yml first")
    except (OSError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=f"{command} quarantine: {getattr(error, 'strerror', None) or error}")
    module.exit_json(changed=request.verb in ("release", "delete"), answer=pack(answer))


if __name__ == "__main__":
    main()
