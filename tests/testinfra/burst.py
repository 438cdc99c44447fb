"""Runs on a peer: SMTP orders as JSON on standard input, sent in several sessions, told as JSON. Standard library only.

An order: server, sender, recipients, message (latin-1 text with LF), and if wanted source, timeout (seconds), at and
until (seconds since 1970): it is not sent before the first, and if it is not taken it is tried again until the second.
"""

from __future__ import annotations

import json
import random
import smtplib
import sys
import threading
import time
from typing import Any

Order = dict[str, Any]
Reply = tuple[str, int, str]


def converse(order: Order) -> Reply:
    """Hold one conversation; return its last reply as (stage, code, text), code 0 for a connection that broke."""
    source = (order["source"], 0) if order.get("source") else None
    stage, code = "connect", 0
    text: bytes | str = b""
    try:
        with smtplib.SMTP(timeout=order.get("timeout", 60), source_address=source) as client:
            code, text = client.connect(order["server"], 25)
            if code == 220:
                client.ehlo("probe.test")
                steps: list[tuple[str, Any, Any]] = [("mail", client.mail, order["sender"])]
                steps += [("rcpt", client.rcpt, address) for address in order["recipients"]]
                steps.append(("data", client.data, order["message"].encode("latin-1").replace(b"\n", b"\r\n")))
                for name, step, value in steps:
                    stage = name
                    code, text = step(value)
                    if code >= 400:
                        break
    except smtplib.SMTPResponseException as error:
        code, text = error.smtp_code, error.smtp_error
    except (OSError, smtplib.SMTPException) as error:
        # The message may be taken or not if this came after DATA; 250 was not said.
        return stage, 0, f"{type(error).__name__}: {error}"
    return stage, code, text.decode("latin-1") if isinstance(text, bytes) else text


def carry_out(order: Order) -> list[Reply]:
    """Send, again and again if the order says so; return the reply of each try."""
    tries: list[Reply] = []
    time.sleep(max(0, order.get("at", 0) - time.time()))
    while True:
        tries.append(converse(order))
        if tries[-1][1] == 250 or tries[-1][1] >= 500 or time.time() > order.get("until", 0):
            return tries
        time.sleep(random.uniform(0.2, 1.0))


def work(waiting: list[tuple[int, Order]], results: dict[int, list[Reply]]) -> None:
    """One session after another, until no order is left."""
    while True:
        try:
            number, order = waiting.pop(0)
        except IndexError:
            return
        results[number] = carry_out(order)


def main() -> None:
    """Carry out all orders, `sessions` at a time."""
    plan = json.load(sys.stdin)
    waiting = list(enumerate(plan["orders"]))
    results: dict[int, list[Reply]] = {}
    threads = [threading.Thread(target=work, args=(waiting, results)) for _ in range(plan["sessions"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([results[number] for number in range(len(plan["orders"]))]))


main()
