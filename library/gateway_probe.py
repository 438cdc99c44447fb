#!/usr/bin/python
"""What a gateway looks like from another host: which ports answer, whether it relays, whether it takes a message."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_probe
short_description: Try a gateway's doors from where this runs
description:
  - Connects to TCP ports, asks to relay to a domain that does not exist (the conversation ends before any message), and
    sends one test message if it is told an address. Runs on the controller, by C(delegate_to).
options:
  host:
    description: The gateway, a name or an address. Every address of the name is tried.
    type: str
    required: true
  ports:
    description: TCP ports to try.
    type: list
    elements: int
    required: true
  smtp_port:
    description: Where SMTP is spoken.
    type: int
    default: 25
  recipient:
    description: Who gets the test message. Nobody if empty.
    type: str
    default: ""
  sender_domain:
    description: Domain of the test message's sender; its local part is made up, so that the message is found in logs.
    type: str
    required: true
  subject:
    description: The test message's subject.
    type: str
    default: Gatewright verification
  seconds:
    description: Seconds to wait for a port to answer.
    type: int
    default: 4
author: Gatewright
attributes:
  check_mode: {support: partial, details: In check mode no message is sent.}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Look at the gateway from here
  gateway_probe:
    host: gw1.example.org
    ports: [22, 25, 80]
    sender_domain: gw1.example.org
  delegate_to: localhost
"""

RETURN = r"""
ports: {description: "Address to port to C(open), C(refused), C(silent) or what else.", type: dict, returned: always}
sender: {description: The sender of the conversations., type: str, returned: always}
relay: {description: "The reply to a foreign recipient, with C(code) and C(text).", type: dict, returned: always}
message: {description: "The last reply to the test message; none if none was sent.", type: dict, returned: always}
"""

import secrets
import smtplib
import socket
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from ansible.module_utils.basic import AnsibleModule

FOREIGN = "gatewright-verify@relay-test.invalid"
SMTP_SECONDS = 60


def try_port(address: str, port: int, seconds: int) -> str:
    """What a port does when it is called."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except OSError as error:
        return error.strerror or str(error)
    return "open"


def converse(address: str, port: int, sender: str, recipient: str, text: bytes | None = None) -> dict[str, Any]:
    """Hold an SMTP conversation, up to the recipient or to the end of a message; return the last reply."""
    code, words = 0, b""
    try:
        with smtplib.SMTP(timeout=SMTP_SECONDS, local_hostname="gatewright-verify.invalid") as client:
            code, words = client.connect(address, port)
            if code < 400:
                code, words = client.ehlo()
            if code < 400:
                code, words = client.mail(sender)
            if code < 400:
                code, words = client.rcpt(recipient)
            if code < 400 and text is not None:
                code, words = client.data(text)
    except smtplib.SMTPResponseException as error:
        return {"code": error.smtp_code, "text": str(error.smtp_error)}
    except (OSError, smtplib.SMTPException) as error:
        return {"code": 0, "text": str(error) or type(error).__name__}
    return {"code": code, "text": words.decode(errors="replace")}


def compose(sender: str, recipient: str, subject: str) -> bytes:
    """The test message."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        "playbooks/verify.yml sent this to see whether mail passes this gateway. Nothing is to be done.\n"
    )
    return message.as_bytes().replace(b"\n", b"\r\n")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
            "smtp_port": {"type": "int", "default": 25},
            "recipient": {"type": "str", "default": ""},
            "sender_domain": {"type": "str", "required": True},
            "subject": {"type": "str", "default": "Gatewright verification"},
            "seconds": {"type": "int", "default": 4},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        found = socket.getaddrinfo(given["host"], None, type=socket.SOCK_STREAM)
    except OSError as error:
        module.fail_json(msg=f"{given['host']} has no address: {error}")
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    calls = [(address, port) for address in addresses for port in given["ports"]]
    with ThreadPoolExecutor(max_workers=16) as pool:
        states = list(pool.map(lambda call: try_port(call[0], call[1], given["seconds"]), calls))
    ports: dict[str, dict[str, str]] = {address: {} for address in addresses}
    for (address, port), state in zip(calls, states, strict=True):
        ports[address][str(port)] = state
    sender = f"gatewright-verify-{secrets.token_hex(6)}@{given['sender_domain']}"
    message = {}
    if given["recipient"] and not module.check_mode:
        text = compose(sender, given["recipient"], given["subject"])
        message = converse(addresses[0], given["smtp_port"], sender, given["recipient"], text)
    relay = converse(addresses[0], given["smtp_port"], sender, FOREIGN)
    module.exit_json(changed=False, ports=ports, sender=sender, relay=relay, message=message)


if __name__ == "__main__":
    main()
