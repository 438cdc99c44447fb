#!/usr/bin/python
"""Host keys and moduli that are strong enough, without changing a key that already is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sshd_host_keys
short_description: See to strong host keys and moduli for sshd
description:
  - Keeps the host's ed25519 key, and makes one if there is none. Keeps an RSA key of at least C(rsa_bits); if
    it is shorter, a longer one is made beside it under a name of its own, so that nothing changes until
    sshd's configuration names it.
  - Drops groups shorter than C(moduli_bits) from the moduli file.
  - Refuses to go on if the user who is logged in has no authorized key, as the role ends logins by password.
options:
  directory:
    description: Where host keys and moduli are.
    type: path
    default: /etc/ssh
  rsa_bits:
    description: The least length of the RSA key.
    type: int
    default: 4096
  moduli_bits:
    description: The least length of a Diffie-Hellman group.
    type: int
    default: 3072
  login:
    description: The user who is logged in. By default the one who became root, else who runs the module.
    type: str
    default: ""
  require_key:
    description: Whether that user must have an authorized key.
    type: bool
    default: true
  authorized_keys_files:
    description: Files with authorized keys, as in sshd_config (C(%h), C(%u) and C(%%) are known).
    type: list
    elements: str
    default: [.ssh/authorized_keys]
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
- name: See to the host keys
  sshd_host_keys:
    rsa_bits: 4096
  register: keys
"""

RETURN = r"""
host_keys:
  description: Paths of the private keys that sshd shall use, the preferred first.
  type: list
  elements: str
  returned: success
login:
  description: The user who is logged in, as above.
  type: str
  returned: success
login_group:
  description: That user's own group, empty if the host does not know the user.
  type: str
  returned: success
openssh_major:
  description: Major version of OpenSSH on the host, 0 if it is not installed yet (check mode).
  type: int
  returned: success
"""

import contextlib
import grp
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.on_gateway import stat_cache
from ansible.module_utils.on_gateway.logins import has_key, key_files, login_name

KEYGEN_SECONDS = 120


class HostKeyError(Exception):
    """Something that stops the role; the message is for the administrator."""


def key_bits(path: Path) -> int:
    """Return the length of a key pair's key, 0 if there is none that can be read."""
    if not path.exists():
        return 0
    done = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, text=True, check=False)
    first = done.stdout.split(" ", 1)[0]
    return int(first) if done.returncode == 0 and first.isdigit() else 0


def make_key(path: Path, options: Sequence[str]) -> None:
    """Make a key pair without a passphrase."""
    command = ["ssh-keygen", "-q", "-N", "", "-C", f"root@{os.uname().nodename}", "-f", str(path), *options]
    done = subprocess.run(command, input="y\n", capture_output=True, text=True, timeout=KEYGEN_SECONDS, check=False)
    if done.returncode:
        raise HostKeyError(f"{path}: ssh-keygen ended with {done.returncode}: {done.stderr.strip()}")


def wanted_keys(directory: Path, rsa_bits: int) -> list[tuple[Path, list[str], int]]:
    """Return (path, key type and length) of the keys that shall be there, the preferred first."""
    stock = directory / "ssh_host_rsa_key"
    rsa = stock if key_bits(stock) >= rsa_bits else directory / f"ssh_host_rsa{rsa_bits}_key"
    return [
        (directory / "ssh_host_ed25519_key", ["-t", "ed25519"], 256),
        (rsa, ["-t", "rsa", "-b", str(rsa_bits)], rsa_bits),
    ]


def strong_groups(text: str, least: int) -> str:
    """Return the moduli file's lines without short groups. Its sizes are the length less one."""
    kept = []
    for line in text.splitlines(keepends=True):
        fields = line.split()
        if line.startswith("#") or len(fields) < 7 or int(fields[4]) >= least - 1:
            kept.append(line)
    return "".join(kept)


def replace(path: Path, content: str) -> None:
    """Rewrite a file in one step, with the mode and owner it has."""
    status = path.stat()
    descriptor, temporary = tempfile.mkstemp(prefix=".moduli.", dir=path.parent)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(content)
        os.fchmod(handle.fileno(), status.st_mode & 0o7777)
        os.fchown(handle.fileno(), status.st_uid, status.st_gid)
        os.fsync(handle.fileno())
    os.rename(temporary, path)


def own_group(name: str) -> str:
    """Return the name of a user's own group, empty if there is none."""
    try:
        return grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name
    except KeyError:
        return ""


def check_login(name: str, params: Mapping[str, Any]) -> None:
    """Refuse to go on if the administrator could not log in again."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise HostKeyError(f"the user {name}, who is logged in, is not known on the host") from None
    if not has_key(user, params["authorized_keys_files"]):
        files = ", ".join(params["authorized_keys_files"])
        raise HostKeyError(
            f"{name} has no authorized key ({files} below {user.pw_dir}): logins by password end with this "
            "role, so nobody could log in again. Nothing was changed."
        )


def openssh_major() -> int:
    """Return the major version of OpenSSH, 0 if it is not installed."""
    try:
        done = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 0
    found = re.search(r"OpenSSH_(\d+)", done.stderr + done.stdout)
    return int(found[1]) if found else 0


def note(module: AnsibleModule, result: Mapping[str, Any], wanted: Sequence[Any], user: str) -> None:
    """Note for the next run that keys, moduli and the login are as they must be."""
    params, directory = module.params, Path(module.params["directory"])
    moduli = directory / "moduli"
    files = [path for key, _, _ in wanted for path in (key, key.with_name(f"{key.name}.pub"))]
    files += [directory / "ssh_host_rsa_key", moduli, Path("/etc/passwd"), Path("/etc/group")]
    files += [Path(program) for program in (shutil.which("ssh"),) if program]
    with contextlib.suppress(KeyError):
        files += key_files(pwd.getpwnam(user), params["authorized_keys_files"])

    def is_right() -> bool:
        if any(key_bits(path) < bits for path, _, bits in wanted):
            return False
        text = moduli.read_text() if moduli.exists() else ""
        return strong_groups(text, params["moduli_bits"]) == text

    looks = [("login", params["login"]), *(("file", str(path)) for path in dict.fromkeys(files))]
    stat_cache.keep(params["noted"], looks, result, is_right)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look, refuse, then change what is too weak."""
    os.umask(0o022)  # public keys are for everybody to read, whatever root's umask is
    params = module.params
    directory = Path(params["directory"])
    login = login_name(params["login"])
    if params["require_key"]:
        check_login(login, params)
    wanted = wanted_keys(directory, params["rsa_bits"])
    missing = [(path, options) for path, options, bits in wanted if key_bits(path) < bits]
    moduli = directory / "moduli"
    before = moduli.read_text() if moduli.exists() else ""
    after = strong_groups(before, params["moduli_bits"])
    if not module.check_mode:
        for path, options in missing:
            make_key(path, options)
        if after != before:
            replace(moduli, after)
    diff = [{"before": "", "after": f"a new {' '.join(options)} key at {path}\n"} for path, options in missing]
    if after != before:
        counts = [f"{len(text.splitlines())} lines in {moduli}\n" for text in (before, after)]
        diff.append({"before": counts[0], "after": counts[1]})
    lasting = {
        "host_keys": [str(path) for path, _, _ in wanted],
        "login": login,
        "login_group": own_group(login),
        "openssh_major": openssh_major(),
    }
    if not module.check_mode:
        note(module, lasting, wanted, login)
    return {**lasting, "changed": bool(missing) or after != before, "diff": diff}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/ssh"},
            "rsa_bits": {"type": "int", "default": 4096},
            "moduli_bits": {"type": "int", "default": 3072},
            "login": {"type": "str", "default": ""},
            "require_key": {"type": "bool", "default": True, "no_log": False},
            "authorized_keys_files": {"type": "list", "elements": "str", "default": [".ssh/authorized_keys"]},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (HostKeyError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=to_native(error))


if __name__ == "__main__":
    main()
