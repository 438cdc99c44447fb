"""What is answered to a question."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from gatekeeper.addresses import split
from gatekeeper.callout import Callouts, Down, Known
from gatekeeper.config import Config
from gatekeeper.dnslists import DnsLists
from gatekeeper.limits import Guesses, Limits
from gatekeeper.protocol import GO_ON, LATER, Question, plain
from gatekeeper.recipients import Recipients
from gatekeeper.speakers import HalfWritten, OwnDomains, Speakers

log = logging.getLogger("gatekeeper")

POSTMASTER = "postmaster"
CLOSED = "421 4.7.1 too many unknown recipients from your address, please try again later"


@dataclass(frozen=True, slots=True)
class Policy:
    """All that has a say, for one configuration."""

    config: Config
    recipients: Recipients
    callouts: Callouts
    guesses: Guesses
    limits: Limits
    lists: DnsLists
    speakers: Speakers
    own: OwnDomains

    async def answer(self, question: Question) -> str:
        """The action for a question, within the time that is allowed; what fails is asked again later."""
        try:
            async with asyncio.timeout(self.config.patience):
                return await self._answer(question)
        except TimeoutError:
            log.error("no answer within %d s for client=%s", self.config.patience, question.client)
        except Exception:
            log.exception("a question of client=%s", question.client)
        return LATER

    async def _answer(self, question: Question) -> str:
        if question.is_relay and not self.speakers.may(question.client, question.sender):
            if refusal := self._refusal_of_sender(question):
                return refusal
            question = replace(question, is_relay=False)
        if question.is_relay:
            return self._relay(question)
        return await self._stranger(question) if question.state == "RCPT" else GO_ON

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
            if question.state != "RCPT" or self.own.has(split(question.recipient)[1]):
                return ""
        except HalfWritten as error:
            log.error("%s", error)
            return LATER
        log.info("refused sender client=%s sender=%s", question.client, plain(question.sender))
        return f"553 5.7.1 <{question.sender[:200]}>: your address may not send mail for this sender"

    async def _stranger(self, question: Question) -> str:
        if self.guesses.is_closed(question.key):
            return CLOSED
        local, domain = split(question.recipient)
        if local == POSTMASTER:  # who is refused must be able to ask why
            return GO_ON
        lists = await self.lists.refusing(question.client)
        if lists:
            log.info("refused listed client=%s lists=%s", question.client, plain(lists))
            return f"550 5.7.1 your address {question.client} is listed by {lists}"
        return await self._recipient(question, local, domain)

    async def _recipient(self, question: Question, local: str, domain: str) -> str:
        found = self.recipients.rule(domain)
        if found is None or found[1].kind == "any":
            return GO_ON
        if found[1].kind == "callout":
            return await self._callout(question, domain)
        listed = self._is_listed(local, domain)
        if listed is None:
            return "451 4.3.5 the list of recipients is not to be had now, please try again later"
        return GO_ON if listed else self._unknown(question)

    async def _callout(self, question: Question, domain: str) -> str:
        local, _, _ = question.recipient.rpartition("@")
        try:
            known = await self.callouts.knows(f"{local}@{domain}", domain)
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
