"""gatekeeper with an attacker's code in its worker: a recipient says what is tried, the answer tells the errno."""

from __future__ import annotations

import sys

from gatekeeper import cli
from gatekeeper.policy import Policy
from gatekeeper.protocol import Question
from hostile import ACTS


async def attempt(self: Policy, question: Question) -> str:
    """Do one of the acts, 0 if it succeeds."""
    act, *words = question.recipient.split("|")
    try:
        ACTS[act](*words)
    except OSError as error:
        return str(error.errno or -1)
    return "0"


Policy.answer = attempt  # type: ignore[method-assign]  # taken over, as an intruder would

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
