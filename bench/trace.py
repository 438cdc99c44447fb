"""How long `gw trace` takes on a gateway with the logs that qmail keeps (20 of 10 MB): `python -m bench.trace`.

The logs are made in a temporary folder: qmail-send's, and of the same messages the scanner's and gatepost's.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from on_gateway.trace.asked import Request
from on_gateway.trace.logs import TAI
from on_gateway.trace.search import Places, trace

FILES, SIZE = 20, 10_000_000
BETWEEN = 0.7
"""Seconds between two messages."""
ASKED: dict[str, dict[str, object]] = {
    "one recipient": {"to": "user31@corp.test"},
    "one recipient, last day": {"to": "user31@corp.test", "since": -86_400},
    "a domain (most of all)": {"to": "@corp.test"},
    "one subject": {"subject": "*number 250000*"},
    "one client": {"ip": "192.0.2.77"},
    "everything": {},
}


def lines(begin: float) -> Iterator[tuple[float, str, str, str]]:
    """Per message: its time, its lines in qmail-send's log, and the scanner's and gatepost's."""
    number = 0
    while True:
        number += 1
        now = begin + number * BETWEEN
        stamp, msg, qp = f"@{TAI + int(now):016x}{number % 10**9:08x}", 1_000_000 + number % 5000, number % 4_000_000
        to, sender = f"user{number % 997}@corp.test", f"sender{number % 9973}@example.net"
        said = "198.51.100.9_accepted_message./Remote_host_said:_250_2.0.0_Ok:_queued_as_4XyZ1234/"
        send = (
            f"{stamp} new msg {msg}\n{stamp} info msg {msg}: bytes 5210 from <{sender}> qp {qp} uid 64011\n"
            f"{stamp} starting delivery {number}: msg {msg} to remote {to}\n{stamp} status: local 0/10 remote 1/60\n"
            f"{stamp} delivery {number}: success: {said}\n{stamp} status: local 0/10 remote 0/60\n"
            f"{stamp} end msg {msg}\n"
        )
        scan = {"time": round(now, 3), "verdict": "clean", "action": "accept", "code": 0, "direction": "inbound"}
        scan |= {"ip": f"192.0.2.{number % 250}", "tls": "TLSv1.3: TLS_AES_256_GCM_SHA384", "from": sender, "to": [to]}
        scan |= {"recipients": 1, "subject": f"message number {number}", "message_id": f"<{number}@example.net>"}
        scan |= {"size": 5000, "parts": 2, "seconds": 0.00321, "qp": qp}
        post = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)), "msg": msg, "qp": qp, "sender": sender}
        post |= {"recipients": [to], "result": "success", "host": "mail.corp.test", "tls": "TLSv1.3", "reply": "250 Ok"}
        yield now, send, json.dumps(scan, separators=(",", ":")) + "\n", json.dumps(post) + "\n"


def write(places: Places) -> int:
    """Write the logs, up to now; returns how many messages they have."""
    for path in (places.send, places.scanner.parent, places.gatepost.parent):
        path.mkdir(parents=True)
    count = FILES * SIZE // 500  # about; what comes after the last file is left out
    made = lines(time.time() - count * BETWEEN)
    messages = 0
    with places.scanner.open("w") as scanner, places.gatepost.open("w") as gatepost:
        for number in range(FILES):
            path, written, now = places.send / "part", 0, 0.0
            with path.open("w") as file:
                while written < SIZE:
                    now, send, scan, post = next(made)
                    written += file.write(send)
                    scanner.write(scan)
                    gatepost.write(post)
                    messages += 1
            is_last = number == FILES - 1
            path.rename(places.send / ("current" if is_last else f"@{TAI + int(now):016x}{0:08x}.s"))
    return messages


def main() -> None:
    """Make logs, ask, and print a line for each question."""
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder))
        messages = write(places)
        total = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        print(f"{messages} messages, {total / 1e6:.0f} MB of logs, {FILES * SIZE / 1e6:.0f} MB of them qmail-send's")
        for name, filters in ASKED.items():
            since = filters.get("since")
            asked: dict[str, Any] = filters | {"since": time.time() + since if isinstance(since, int) else 0.0}
            began, spent = time.perf_counter(), time.process_time()
            found = trace(Request(**asked), places)["records"]
            took, worked = time.perf_counter() - began, time.process_time() - spent
            print(f"{name:<26} {len(found):>5} found  {took:5.2f} s, {worked:5.2f} s of them a processor's", flush=True)


if __name__ == "__main__":
    main()
