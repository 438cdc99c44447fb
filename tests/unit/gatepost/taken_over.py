"""gatepost with an attacker's code in its worker: a delivery's host says what is tried, the report tells the errno."""

from __future__ import annotations

import sys

from gatepost import cli, report
from gatepost.delivery import Deliverer
from gatepost.model import Account, Order
from hostile import ACTS


async def attempt(self: Deliverer, order: Order, account: Account) -> bytes:
    """Do one of the acts, 0 if it succeeds."""
    act, *words = order.host.split("|")
    try:
        ACTS[act](*words)
    except OSError as error:
        return report.part("K", str(error.errno or -1))
    return report.part("K", "0")


Deliverer.deliver = attempt  # type: ignore[method-assign]  # taken over, as an intruder would

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
