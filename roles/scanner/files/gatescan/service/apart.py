"""Judging a message in a process of its own, for messages that a worker has died of.

The first death is answered with 4xx: it may have been anything. The sender tries again, and should the message kill
the process once more, the worker outlives it and holds the message as a `limit`.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import logging
import os
import resource
import select
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from gatescan.context import Context
    from gatescan.model import Buffer
    from gatescan.service.worker import Handler, Ids, Outcome

log = logging.getLogger("gatescan.apart")

MERCY = 5.0
"""Seconds of CPU time beyond the message's own bound after which the kernel ends the process."""
OOM_SCORE = 900
"""It goes before its worker does when memory is short."""
TRY_AGAIN = 71
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds that a message may take: of CPU time for looking into it, and by the clock in all."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome that came out of another process."""

    code: int
    text: str = ""
    headers_to_add: bytes = b""
    replaced: int = 0


def judged(handler: Handler, message: Buffer, context: Context, ids: Ids, bounds: Bounds) -> Outcome:
    """The handler's outcome; if its process dies or hangs, what the handler does with such messages, else 4xx.

    The calling process must end soon afterwards: with it ends a process that hangs.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(handler, message, context, ids, bounds.cpu, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if not select.select([pipe], [], [], bounds.wall)[0]:
            return _given_up(handler, message, context, ids, f"it took longer than {bounds.wall:g} seconds")
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0 and said:
        fields = json.loads(said)
        return Answer(fields["code"], fields["text"], base64.b64decode(fields["headers"]), fields["replaced"])
    cause = f"signal {-status}" if status < 0 else f"status {status}"
    return _given_up(handler, message, context, ids, f"the scanner died of it again, by {cause}")


def _given_up(handler: Handler, message: Buffer, context: Context, ids: Ids, why: str) -> Outcome:
    log.warning("message of process %d cannot be judged: %s", ids.pid, why)
    doomed = getattr(handler, "doomed", None)
    if doomed is None:
        return Answer(TRY_AGAIN)
    outcome: Outcome = doomed(message, context, ids, why)
    return outcome


def _be_child(handler: Handler, message: Buffer, context: Context, ids: Ids, seconds: float, writing: int) -> NoReturn:
    status = 1
    try:
        _confine(seconds)
        aside = getattr(handler, "apart", None)
        if aside is not None:
            aside()
        outcome = handler(message, context, ids)
        headers = base64.b64encode(outcome.headers_to_add).decode("ascii")
        fields = {"code": outcome.code, "text": outcome.text, "headers": headers, "replaced": outcome.replaced}
        said = json.dumps(fields)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(said.encode("ascii"))
        status = 0
    except BaseException:
        log.exception("message of process %d was not judged", ids.pid)
    finally:
        os._exit(status)


def _confine(seconds: float) -> None:
    """End with the worker, go first when memory is short, and not use more CPU time than one message may."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    used = resource.getrusage(resource.RUSAGE_SELF)
    bound = int(used.ru_utime + used.ru_stime + seconds + MERCY) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or bound < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (bound, hard))
