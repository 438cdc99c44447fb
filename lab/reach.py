"""How a program is run inside a host of the lab: by podman in a container, by ssh in a virtual machine."""

from __future__ import annotations

import shlex

from lab.topology import KEY, Host

# One connection carries all: the firewall counts new ones, and under emulation each handshake takes seconds.
SSH_ARGUMENTS = (
    "-i", str(KEY),
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
    "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15", "-o", "IdentitiesOnly=yes",
    "-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", "ControlPath=/run/gatewright-lab-%C",
)  # an option beside its value # fmt: skip


def ssh(host: Host, *options: str) -> list[str]:
    """The command line that logs in to a virtual machine as root."""
    return ["ssh", *SSH_ARGUMENTS, *options, f"root@{host.ipv4}"]


def inside(host: Host, *command: str, is_interactive: bool = False) -> list[str]:
    """The command line that runs a program inside a host; is_interactive hands it this program's standard input."""
    if host.is_virtual:
        return [*ssh(host, *([] if is_interactive else ["-n"])), shlex.join(command)]
    return ["podman", "exec", *(["--interactive"] if is_interactive else []), host.container, *command]
