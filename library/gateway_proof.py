#!/usr/bin/python
"""The inside of the short proof that ends a run: a name resolves, and a message to postmaster goes into the queue."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_proof
short_description: Prove at the end of a run that mail flows, from inside and from the controller
description:
  - Asks the host's own resolver for a name, and, when files have changed since the last proof, sends a message to the
    gateway's postmaster by its own port 25, through the scanner and the queue.
  - The action plugin of the same name calls port 25 from the controller, and follows the message. It fails with all
    that does not work. Where no packet of the controller arrives, the network between is named, in a warning.
  - Skipped in check mode.
options:
  me:
    description: The gateway's own name.
    type: str
    required: true
  name:
    description: A name whose servers (NS) are asked for.
    type: str
    default: in-addr.arpa
  watch:
    description: Address of the controller, whose calls to port 25 are waited for. For the action plugin only.
    type: str
    default: ""
  stamp:
    description: File whose date says when the last proof was.
    type: path
    default: /var/lib/gatewright/proved
  seconds:
    description: Seconds for which the action plugin follows the message.
    type: int
    default: 20
  greeting_wait:
    description: Seconds that strangers wait for port 25's greeting. For the action plugin only.
    type: int
    default: 0
  inside:
    description: >-
      Whether the survey of a run that has changed nothing since saw that names resolve, and that no file has changed
      since the last message; then the host is not asked again. For the action plugin only.
    type: bool
    default: false
  controller:
    description: The controller's address as the survey saw it; empty if it is unknown. For the action plugin only.
    type: str
    default: ""
  note:
    description: File that is touched once all is proved, or empty. For the action plugin only.
    type: path
    default: ""
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Prove that mail flows
  gateway_proof:
    me: gw1.example.org
"""

RETURN = r"""
resolves: {description: "Whether the resolver answered; else C(error) says why.", type: bool, returned: always}
sender: {description: The message's sender; empty if none was sent., type: str, returned: always}
reply: {description: The last reply to the message., type: str, returned: always}
code: {description: Its code; 0 without an answer., type: int, returned: always}
cut: {description: Whether inbound mail is cut off., type: bool, returned: always}
denied: {description: Whether tcp.smtp denies the controller., type: bool, returned: always}
arrived:
  description: With C(watch), whether a packet to port 25 came; null if it cannot be seen.
  type: bool
  returned: with C(watch)
"""

import os
import secrets
import smtplib
import socket
import subprocess
import time
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.on_gateway import proof

SMTP_SECONDS = 60
WATCH_SECONDS = 8.0
CUTOFF = Path("/var/lib/gatewright/cutoff/inbound")


def compose(me: str, sender: str) -> bytes:
    """The message."""
    message = EmailMessage()
    message["From"], message["To"] = f"postmaster@{me}", f"postmaster@{me}"
    message["Subject"] = f"{me} is set up: this message came through it"
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=me)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        "playbooks/site.yml changed this gateway, and ends with a message to its postmaster. Nothing is to be done.\n"
        f"Its sender in the logs is {sender}.\n"
    )
    return message.as_bytes().replace(b"\n", b"\r\n")


def send(me: str, sender: str) -> tuple[int, str]:
    """Send the message by the gateway's own port 25; return the last reply, code 0 without one."""
    recipient = f"postmaster@{me}"
    try:
        with smtplib.SMTP("127.0.0.1", 25, local_hostname=me, timeout=SMTP_SECONDS) as client:
            client.ehlo_or_helo_if_needed()
            for code, text in (client.mail(sender), client.rcpt(recipient)):
                if code >= 400:
                    return code, text.decode(errors="replace")
            code, text = client.data(compose(me, sender))
            return code, text.decode(errors="replace")
    except smtplib.SMTPResponseException as error:
        return error.smtp_code, str(error.smtp_error)
    except (OSError, smtplib.SMTPException) as error:
        return 0, str(error) or type(error).__name__


def is_call(packet: bytes, family: int, caller: bytes) -> bool:
    """Whether an IP packet is a TCP segment of the caller's to port 25."""
    if family == socket.AF_INET:
        size = (packet[0] & 15) * 4
        return packet[9] == 6 and packet[12:16] == caller and packet[size + 2 : size + 4] == b"\x00\x19"
    return packet[6] == 6 and packet[8:24] == caller and packet[42:44] == b"\x00\x19"


def watch(address: str) -> bool | None:
    """Whether a packet from an address to port 25 comes while it is called; None if that cannot be seen here."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    caller = socket.inet_pton(family, address)
    deadline = time.monotonic() + WATCH_SECONDS
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as ear:
            while (left := deadline - time.monotonic()) > 0:
                ear.settimeout(left)
                packet = ear.recv(128)
                if len(packet) > 44 - (4 if family == socket.AF_INET else 0) and is_call(packet, family, caller):
                    return True
    except TimeoutError:
        return False
    except OSError:
        return None
    return False


def is_denied(address: str) -> bool:
    """Whether tcpserver turns an address away by its rules."""
    environment = {"PATH": "/command:/usr/local/bin:/usr/bin:/bin", "TCPREMOTEIP": address}
    try:
        said = subprocess.run(
            ["tcprulescheck", "/etc/tcp.smtp.cdb"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "deny connection" in said.stdout


def prove(me: str, name: str, stamp: Path) -> dict[str, Any]:
    """Resolve a name and, if it is due, send the message."""
    error = proof.resolve(name)
    sender, code, reply = "", 0, ""
    if not CUTOFF.exists() and proof.is_due(stamp):
        sender = f"gatewright-proof-{secrets.token_hex(6)}@{me}"
        code, reply = send(me, sender)
        if code == 250:
            stamp.write_text(f"{sender}\n")
    return {"resolves": not error, "error": error, "sender": sender, "code": code, "reply": reply}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "me": {"type": "str", "required": True},
            "name": {"type": "str", "default": proof.NAME},
            "watch": {"type": "str", "default": ""},
            "stamp": {"type": "path", "default": str(proof.STAMP)},
            "seconds": {"type": "int", "default": 20},
            "greeting_wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, msg="nothing to prove in check mode")
    if given["watch"]:
        denied = is_denied(given["watch"])
        module.exit_json(changed=False, arrived=watch(given["watch"]), denied=denied, cut=CUTOFF.exists())
    os.umask(0o022)
    module.exit_json(changed=False, cut=CUTOFF.exists(), **prove(given["me"], given["name"], Path(given["stamp"])))


if __name__ == "__main__":
    main()
