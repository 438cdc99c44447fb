#!/usr/bin/python
"""Rules for tcpserver: compiled, proved with tcprulescheck, and only then moved into place."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tcp_rules
short_description: Compile, prove and install rules for tcpserver
description:
  - Compiles the rules with C(tcprules) beside their target, asks C(tcprulescheck) about every proof, and then renames
    the compiled file and the text into place. When anything fails nothing changes.
  - Idempotent by content. The text is compared, and the compiled file with what the text compiles to, so a
    compiled file that is stale, damaged or missing is put right.
options:
  path:
    description: The text of the rules. The compiled file stands beside it, with C(.cdb) at its end.
    type: path
    default: /etc/tcp.smtp
  content:
    description: The rules, as tcprules reads them.
    type: str
    required: true
  proofs:
    description:
      - What C(tcprulescheck) must answer. C(address) as tcpserver writes it, C(deny), C(env) (the whole
        environment that the rule sets), and C(entry), the name that a message gives.
    type: list
    elements: dict
    default: []
    options:
      address: {description: The client's address., type: str, required: true}
      entry: {description: For whose sake it is asked., type: str, required: true}
      deny: {description: Whether the connection must be refused., type: bool, required: true}
      env: {description: The environment that the rule must set., type: dict, default: {}}
  needed:
    description: >-
      Files without which the rules would mean something else, each with what to do where it is missing; the rules are
      not installed then. A check does not look, as what would make them has not run.
    type: dict
    default: {}
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
- name: Install the rules for SMTP clients
  tcp_rules:
    content: "{{ rules.text }}"
    proofs: "{{ rules.proofs }}"
"""

RETURN = r"""
proved:
  description: How many addresses tcprulescheck was asked about; 0 when nothing had to change.
  type: int
  returned: always
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.on_gateway import stat_cache

# Where Debian's package and the original's install put the programs; sudo's PATH may lack the second.
PROGRAM_DIRECTORIES = ["/usr/bin", "/usr/local/bin", "/command"]
COMPILE_SECONDS = 30
CHECK_SECONDS = 10
MODE = 0o644

# tcprules loops forever over a line in which it finds no instructions.
RULE = re.compile(r"(#.*|[^#\n][^\n]*:(allow|deny).*|:(allow|deny).*|)")


class RulesError(Exception):
    """Rules that cannot be installed; the message says why, and names the line or entry."""


def find_program(module: AnsibleModule, name: str) -> str | None:
    """Return the path of a program, or None in check mode on a host that does not have it yet."""
    found: str | None = module.get_bin_path(name, opt_dirs=PROGRAM_DIRECTORIES)
    if not found and not module.check_mode:
        raise RulesError(f"{name} is not installed on this host (role ucspi_tcp)")
    return found


def read(path: str) -> bytes | None:
    """Return a file's bytes, or None when there is none."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def check_lines(content: str) -> None:
    """Refuse what tcprules could not read."""
    for number, line in enumerate(content.split("\n"), start=1):
        if not RULE.fullmatch(line):
            raise RulesError(f"line {number} is not a rule: {line!r}")
    if not content.endswith("\n"):
        raise RulesError("the rules must end in a newline")


def compile_rules(tcprules: str, content: str, directory: str) -> str:
    """Compile the rules in a directory and return the path of the result."""
    compiled = os.path.join(directory, "rules.cdb")
    try:
        run = subprocess.run(
            [tcprules, compiled, os.path.join(directory, "rules.tmp")],
            input=content.encode(),
            capture_output=True,
            timeout=COMPILE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RulesError(f"tcprules did not end within {COMPILE_SECONDS} s") from error
    if run.returncode:
        raise RulesError(f"tcprules refused the rules: {run.stderr.decode(errors='replace').strip()}")
    return compiled


def ask(tcprulescheck: str, compiled: str, address: str) -> tuple[bool, dict[str, str], str]:
    """Return what tcpserver would do with a client: whether it is denied, its environment, the rule's address."""
    run = subprocess.run(
        [tcprulescheck, compiled],
        env={"TCPREMOTEIP": address},
        capture_output=True,
        timeout=CHECK_SECONDS,
        check=False,
    )
    if run.returncode:
        raise RulesError(f"tcprulescheck failed for {address}: {run.stderr.decode(errors='replace').strip()}")
    deny, env, rule = False, {}, "default"
    for line in run.stdout.decode(errors="replace").splitlines():
        if line.startswith("set environment variable "):
            name, _sign, value = line.removeprefix("set environment variable ").partition("=")
            env[name] = value
        elif line.startswith("rule "):
            rule = line.removeprefix("rule ").removesuffix(":") or "(everyone)"
        elif line == "deny connection":
            deny = True
    return deny, env, rule


def words(deny: bool, env: Mapping[str, str]) -> str:
    """Say an answer in words."""
    if deny:
        return "denied"
    return "allowed with " + (", ".join(f"{name}={value!r}" for name, value in sorted(env.items())) or "no environment")


def prove(tcprulescheck: str, compiled: str, proofs: Iterable[Mapping[str, Any]]) -> None:
    """Ask about every proof and refuse the rules when one fails, naming each entry that is not as it must be."""
    failed = []
    for proof in proofs:
        deny, env, rule = ask(tcprulescheck, compiled, proof["address"])
        wanted = {name: str(value) for name, value in (proof["env"] or {}).items()}
        if deny != proof["deny"] or (not deny and env != wanted):
            failed.append(
                f"{proof['entry']}: {proof['address']} must be {words(proof['deny'], wanted)}, "
                f"but rule {rule} says {words(deny, env)}"
            )
    if failed:
        raise RulesError(
            "nothing was changed, since the compiled rules are not what they must be: " + "; ".join(failed)
        )


def put(directory: str, name: str, data: bytes, target: str) -> None:
    """Write data in a directory on the same file system, sync it and rename it to its target."""
    path = os.path.join(directory, name)
    with open(path, "wb") as handle:
        handle.write(data)
        os.fchmod(handle.fileno(), MODE)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(path, target)


def wrong_mode(path: str) -> bool:
    """Whether an existing file's mode or owner is not ours: tcpserver reads the rules as an unprivileged user."""
    status = os.stat(path)
    return status.st_mode & 0o7777 != MODE or (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid())


def check_needed(needed: Mapping[str, str]) -> None:
    """Refuse rules that would mean something else on a host as it is."""
    missing = [f"{path} is missing: {advice}" for path, advice in needed.items() if not os.path.exists(path)]
    if missing:
        raise RulesError(f"nothing was changed: {'; '.join(missing)}")


def apply(module: AnsibleModule) -> dict[str, Any]:
    """Bring text and compiled file about; return the module's result."""
    path, content, proofs = module.params["path"], module.params["content"], module.params["proofs"]
    target = path + ".cdb"
    check_lines(content)
    if not module.check_mode:
        check_needed(module.params["needed"])
    old_text, old_compiled = read(path), read(target)
    diff = {"before_header": path, "after_header": path}
    diff |= {"before": (old_text or b"").decode(errors="replace"), "after": content}
    result: dict[str, Any] = {"changed": False, "proved": 0, "diff": diff}
    tcprules, tcprulescheck = find_program(module, "tcprules"), find_program(module, "tcprulescheck")
    if not (tcprules and tcprulescheck):
        return result | {"changed": True, "msg": "ucspi-tcp is not installed yet: nothing to prove the rules with"}
    # A check run must not touch the directory of the rules; a real one must be able to rename within it.
    directory = tempfile.mkdtemp(prefix=".tcp_rules.", dir=None if module.check_mode else os.path.dirname(path))
    try:
        compiled = compile_rules(tcprules, content, directory)
        new_compiled = read(compiled) or b""

        def is_right() -> bool:
            same = read(path) == content.encode() and read(target) == new_compiled
            return same and not wrong_mode(path) and not wrong_mode(target)

        looks = [("file", path), ("file", target), *(("exists", name) for name in module.params["needed"])]
        if is_right():
            if not module.check_mode:
                stat_cache.keep(module.params["noted"], looks, {"proved": 0}, is_right)
            return result
        prove(tcprulescheck, compiled, proofs)
        if old_compiled != new_compiled:
            diff["after_header"] = f"{path} and {target}"
        if not module.check_mode:
            put(directory, "compiled", new_compiled, target)
            put(directory, "text", content.encode(), path)
            stat_cache.keep(module.params["noted"], looks, {"proved": 0}, is_right)
        return result | {"changed": True, "proved": len(proofs)}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """Run the module."""
    proof = {
        "address": {"type": "str", "required": True},
        "entry": {"type": "str", "required": True},
        "deny": {"type": "bool", "required": True},
        "env": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/tcp.smtp"},
            "content": {"type": "str", "required": True},
            "proofs": {"type": "list", "elements": "dict", "default": [], "options": proof},
            "needed": {"type": "dict", "default": {}},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    try:
        result = apply(module)
    except (RulesError, OSError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
