"""How a module of `gw` is asked and answers: both as JSON in base64, which nothing takes for a template or a secret."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Asked = TypeVar("Asked")


class Refusal(Exception):
    """It cannot be done; the message says why."""


def serve(
    parse: Callable[[dict[str, Any]], Asked],
    carry_out: Callable[[Asked, Path], dict[str, Any]],
    changes: Callable[[Asked], bool] | None = None,
) -> None:
    """Run as an Ansible module.

    parse: makes a request; ValueError or TypeError if it is none. carry_out: gets it, and the folder that stands for
    `/`; Refusal if that is impossible. changes: whether a request changes the host; without it none does.
    """
    from ansible.module_utils.basic import AnsibleModule  # a gateway that looks at itself, for its report, has none

    options = {"request": {"type": "str", "required": True}, "root": {"type": "path", "default": "/"}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=changes is None)
    try:
        asked = parse(json.loads(base64.b64decode(module.params["request"])))
    except (ValueError, TypeError) as error:
        module.fail_json(msg=f"this is no request: {error}")
    try:
        answer = carry_out(asked, Path(module.params["root"]))
    except Refusal as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changes is not None and changes(asked), answer=pack(answer))


def pack(answer: dict[str, Any]) -> str:
    """An answer as it goes over the wire."""
    return base64.b64encode(zlib.compress(json.dumps(answer).encode("ascii"), 1)).decode("ascii")
