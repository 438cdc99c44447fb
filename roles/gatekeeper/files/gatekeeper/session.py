"""A mail server's connection: its questions, one after the other.

What is known is answered in the callback that hears the question: a task, its timeouts and a turn of the loop for each
would cost more than the answer does. Only where somebody must be asked (a DNS list, a route's server) a task waits.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from gatekeeper.protocol import QUESTION, Garbage, Order, Question, Wire

log = logging.getLogger("gatekeeper")

IDLE = 600.0
"""Seconds between two questions; qmail-smtpd connects anew after that."""
HURRY = 10.0
"""Seconds from a question's first byte to its last."""
SLOW_READER = 10.0
"""Seconds for a client to take its answer."""
Reply = bytes | Coroutine[Any, Any, bytes]
"""What is answered, at once where it is known."""


@dataclass(slots=True, eq=False)
class Session:
    """One connection, which does not block. answer: what is replied; it may raise Garbage. forget: called at the end.

    is_last: it ends with its next answer. ends: when it does if nothing comes. answering: while it waits for somebody.
    """

    connection: socket.socket
    answer: Callable[[Question | Order], Reply]
    forget: Callable[[Session], None]
    is_last: bool = False
    ends: float = 0.0
    answering: asyncio.Task[None] | None = None
    _wire: Wire = field(default_factory=Wire)

    def begin(self) -> None:
        """Hear questions from now on; as a rule the first one is there."""
        self.ends = _now() + IDLE
        self._listen()
        self._hear()

    def end(self) -> None:
        """Hang up."""
        if self._is_open:
            self._listen_no_more()
            self.connection.close()
            self.forget(self)

    def end_if_idle(self) -> None:
        """Hang up on who has asked nothing for too long, or does not end a question."""
        if not self.answering and self.ends < _now():
            self.end()

    @property
    def _is_open(self) -> bool:
        return self.connection.fileno() >= 0

    def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self.connection.fileno(), self._hear)

    def _listen_no_more(self) -> None:
        asyncio.get_running_loop().remove_reader(self.connection.fileno())

    def _hear(self) -> None:
        """Take what has come, and answer it."""
        try:
            piece = self.connection.recv(QUESTION)
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            self.end()
            return
        if not self._wire.rest:
            self.ends = _now() + HURRY
        self._wire.rest += piece
        self._go_on(is_over=not piece)

    def _go_on(self, is_over: bool = False) -> None:
        """Answer what has been asked; what is no question ends the session. is_over: nothing more will come."""
        try:
            while self._is_open and not self.answering and (question := self._wire.question()):
                self._reply(self.answer(question))
            if is_over and self._wire.rest:
                raise Garbage("a question without an end")
        except Garbage as error:
            log.warning("a session is ended: %s", error)
            self.end()
        except OSError:
            self.end()
        if is_over:
            self.end()

    def _reply(self, said: Reply) -> None:
        """Send an answer, in a task if that cannot be done now. Raises OSError."""
        rest = said[self._sent(said) :] if isinstance(said, bytes) else said
        if rest:
            self._listen_no_more()
            self.answering = asyncio.create_task(self._reply_later(rest))
        else:
            self._end_answer()

    def _sent(self, data: bytes) -> int:
        try:
            return self.connection.send(data)
        except BlockingIOError:
            return 0

    async def _reply_later(self, said: Reply) -> None:
        is_told = False
        try:
            data = said if isinstance(said, bytes) else await said
            async with asyncio.timeout(SLOW_READER):
                await asyncio.get_running_loop().sock_sendall(self.connection, data)
            is_told = True
        except (OSError, TimeoutError):
            pass  # the client is gone, or does not listen
        finally:
            self.answering = None
            if not is_told:
                self.end()
        self._end_answer()
        if self._is_open:
            self._listen()
            self._go_on()

    def _end_answer(self) -> None:
        self.ends = _now() + (HURRY if self._wire.rest else IDLE)
        if self.is_last:
            self.end()


def _now() -> float:
    return asyncio.get_running_loop().time()
