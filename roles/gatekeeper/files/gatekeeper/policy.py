"""What is answered to a question."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from gatekeeper.addresses import is_odd, split
from gatekeeper.callout import Callouts, Down, Known
from gatekeeper.config import Config
from gatekeeper.dnslists import DnsLists
from gatekeeper.limits import Guesses, Limits
from gatekeeper.protocol import GO_ON, LATER, Question, plain
from gatekeeper.recipients import Recipients
from gatekeeper.resolve import Resolver
from gatekeeper.speakers import HalfWritten, OwnDomains, Speakers

log = logging.getLogger("gatekeeper")

POSTMASTER = "postmaster"
Answer = str | Coroutine[Any, Any, str]
"""An action, at once where nobody need be asked for it."""
WAY_AROUND = "553 5.1.3 such a recipient might be a way around: no %, !, quotes and the like"
CLOSED = "421 4.7.1 too many unknown recipients from your address, please try again later"


@dataclass(frozen=True, slots=True)
class Policy:
    """All that has a say, for one configuration."""

    config: Config
    resolver: Resolver
    recipients: Recipients
    callouts: Callouts
    guesses: Guesses
    limits: Limits
    lists: DnsLists
    speakers: Speakers
    own: OwnDomains

    def answer(self, question: Question) -> Answer:
        """The action for a question; what fails is asked again later."""
        try:
            said = self._answer(question)
        except Exception:
            log.exception("a question of client=%s", question.client)
            return LATER
        return said if isinstance(said, str) else self._in_time(said, question)

    async def _in_time(self, said: Awaitable[str], question: Question) -> str:
        """The action, within the time that is allowed."""
        try:
            async with asyncio.timeout(self.config.patience):
                return await said
        except TimeoutError:
            log.error("no answer within %d s for client=%s", self.config.patience, question.client)
        except Exception:
            log.exception("a question of client=%s", question.client)
        return LATER

    def _answer(self, question: Question) -> Answer:
        if question.is_relay and not self.speakers.may(question.client, question.sender):
            if refusal := self._refusal_of_sender(question):
                return refusal
            question = replace(question, is_relay=False)
        if question.is_relay:
            return self._relay(question)
        return self._stranger(question) if question.state == "RCPT" else GO_ON

    def _relay(self, question: Question) -> str:
        """Relay clients have limits, and learn at once of a mailbox that is not there."""
        over = self.limits.exceeded(question) if question.state in ("RCPT", "DATA") else ""
        if over:
            named = (question.client, plain(question.recipient), plain(question.sender))
            log.info("put off limit client=%s recipient=%s sender=%s %s", *named, over)
            return over
        if question.state == "DATA":
            self.limits.spend(question)
        if question.state == "RCPT" and self._is_listed(*split(question.recipient)) is False:
            return self._unknown(question)
        return GO_ON

    def _refusal_of_sender(self, question: Question) -> str:
        """The action for a relay client with somebody else's sender; empty if its mail is for us, as a stranger's."""
        try:
            if question.state != "RCPT":
                return ""
            if self.own.has(split(question.recipient)[1]):  # qmail-smtpd took it for a relay client's
                return WAY_AROUND if is_odd(question.recipient) else ""
        except HalfWritten as error:
            log.error("%s", error)
            return LATER
        log.info("refused sender client=%s sender=%s", question.client, plain(question.sender))
        return f"553 5.7.1 <{question.sender[:200]}>: your address may not send mail for this sender"

    def _stranger(self, question: Question) -> Answer:
        if self.guesses.is_closed(question.key):
            return CLOSED
        local, domain = split(question.recipient)
        if local == POSTMASTER:  # who is refused must be able to ask why
            return GO_ON
        lists = self.lists.known(question.client)
        if lists is None:
            return self._once_lists_say(question, local, domain)
        return self._by_lists(lists, question, local, domain)

    async def _once_lists_say(self, question: Question, local: str, domain: str) -> str:
        said = self._by_lists(await self.lists.refusing(question.client), question, local, domain)
        return said if isinstance(said, str) else await said

    def _by_lists(self, lists: str, question: Question, local: str, domain: str) -> Answer:
        if lists:
            log.info("refused listed client=%s lists=%s", question.client, plain(lists))
            return f"550 5.7.1 your address {question.client} is listed by {lists}"
        return self._recipient(question, local, domain)

    def _recipient(self, question: Question, local: str, domain: str) -> Answer:
        found = self.recipients.rule(domain)
        if found is None or found[1].kind == "any":
            return GO_ON
        if found[1].kind == "callout":
            return self._callout(question, domain)
        listed = self._is_listed(local, domain)
        if listed is None:
            return "451 4.3.5 the list of recipients is not to be had now, please try again later"
        return GO_ON if listed else self._unknown(question)

    def _callout(self, question: Question, domain: str) -> Answer:
        local, _, _ = question.recipient.rpartition("@")
        known = self.callouts.known(f"{local}@{domain}")
        if known is None:
            return self._once_server_says(question, f"{local}@{domain}", domain)
        return GO_ON if known is Known.YES else self._unknown(question)

    async def _once_server_says(self, question: Question, address: str, domain: str) -> str:
        try:
            known = await self.callouts.knows(address, domain)
        except Down as error:
            log.warning("recipient=%s is put off: %s", plain(question.recipient), error)
            return "451 4.4.3 the server of this mailbox cannot be asked now, please try again later"
        return GO_ON if known is Known.YES else self._unknown(question)

    def _is_listed(self, local: str, domain: str) -> bool | None:
        """Whether a list has a recipient; None if there is no list for its domain, or none to be had now."""
        found = self.recipients.rule(domain)
        table = self.recipients.table(*found) if found and found[1].kind in ("list", "file") else None
        if table is None or local == POSTMASTER:
            return True if local == POSTMASTER else None
        return table.knows(local, domain, self.config.delimiter)

    def _unknown(self, question: Question) -> str:
        named = (question.client, plain(question.recipient), plain(question.sender))
        log.info("refused unknown client=%s recipient=%s sender=%s", *named)
        if not question.is_relay:
            self.guesses.note(question.key)
        return f"550 5.1.1 <{question.recipient[:200]}>: there is no such mailbox here"
