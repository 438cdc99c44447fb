"""Runs on a peer, orders as JSON on standard input: SMTP conversations, told as JSON. Standard library only."""

import json
import smtplib
import ssl
import sys
from typing import Any


def converse(order: dict[str, Any]) -> dict[str, Any]:
    """Send one message as `order` says; return the server's last reply and the stage that it was given at."""
    source = (order["source"], 0) if order.get("source") else None
    stage = "connect"
    try:
        with smtplib.SMTP(timeout=order.get("timeout", 60), source_address=source) as client:
            code, text = client.connect(order["server"], order.get("port", 25))
            if code != 220:
                return {"stage": stage, "code": code, "text": text.decode(errors="replace")}
            stage = "helo"
            client.ehlo(order.get("helo", "probe.test"))
            if order.get("starttls"):
                stage = "starttls"
                client._host = order["server"]  # type: ignore[attr-defined]  # which connect() does not note
                client.starttls(context=ssl._create_unverified_context())  # as mail servers do: most sign themselves
                client.ehlo(order.get("helo", "probe.test"))
            steps: list[tuple[str, Any]] = [("mail", order["sender"])]
            steps += [("rcpt", recipient) for recipient in order["recipients"]]
            if order.get("message") is not None:
                steps.append(("data", order["message"].encode("utf-8", "surrogateescape")))
            for stage, what in steps:
                code, text = getattr(client, stage)(what)
                if code >= 400:
                    return {"stage": stage, "code": code, "text": text.decode(errors="replace")}
            return {"stage": stage, "code": code, "text": text.decode(errors="replace")}
    except smtplib.SMTPResponseException as error:
        return {"stage": stage, "code": error.smtp_code, "text": str(error.smtp_error)}
    except (OSError, smtplib.SMTPException) as error:
        return {"stage": stage, "code": 0, "text": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    print(json.dumps([converse(order) for order in json.load(sys.stdin)]))
