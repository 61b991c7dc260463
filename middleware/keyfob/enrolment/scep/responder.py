"""The responder: a request in, an answer out, and one certificate for each challenge."""

import logging
from typing import NamedTuple

from cryptography import x509

from keyfob.certificate import format_serial
from keyfob.enrolment.floods import Restraint, find_kind
from keyfob.enrolment.issuing import find_chain, find_repeated, issue_invited
from keyfob.enrolment.requests import SCEP, SCEP_RENEWAL, Refused
from keyfob.enrolment.scep.answers import compose_authorities, compose_failure, compose_success
from keyfob.enrolment.scep.messages import Message, open_message, read_message
from keyfob.errors import PKIError
from keyfob.inventory.invitations import UsedBefore
from keyfob.pki.authority import Issued
from keyfob.pki.keys import PublicKey
from keyfob.pki.ra import ends_soon, open_ra
from keyfob.pki.registry import Registry

_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A message for the one who has asked; None where not even its signature fitted."""

    body: bytes | None
    succeeded: bool


class Responder:
    """Answers for one registry. Shared by threads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._ra: Issued | None = None
        self._restraint = Restraint(_log)

    def list_authorities(self) -> bytes:
        """The registration authority, and the chain above it. Raises PKIError."""
        return compose_authorities(self._open_ra().certificate, find_chain(self._registry))

    def answer(self, body: bytes, address: str, at: float) -> Answer:
        """The answer to a message from `address`. Why one was refused stands in the log. Raises PKIError."""
        ra = self._open_ra()
        try:
            message = read_message(body)
        except Refused as error:
            self._restraint.warn("message", "SCEP: refused a message from %s: %s", address, error.message)
            return Answer(None, succeeded=False)
        try:
            certificate = self._issue(message, ra, address, at)
        except PKIError as error:
            words = "SCEP: refused %s from %s: %s"
            self._restraint.warn(find_kind(error), words, message.transaction_id, address, error.message)
            return Answer(compose_failure(message, ra), succeeded=False)
        return Answer(compose_success(message, ra, certificate), succeeded=True)

    def _open_ra(self) -> Issued:
        if self._ra is None or ends_soon(self._ra):
            self._ra = open_ra(self._registry)
        return self._ra

    def _issue(self, message: Message, ra: Issued, address: str, at: float) -> x509.Certificate:
        opened = open_message(message, ra)
        try:
            # Used up first: of any number of requests at once, one goes on.
            found = self._registry.inventory.invitations.redeem(opened.challenge, message.transaction_id, at)
        except UsedBefore as error:
            return self._repeat(error, message, opened.key, at)
        if found.kind not in {SCEP, SCEP_RENEWAL}:
            raise Refused(f"the invitation of {found.name!r} is of another kind, {found.kind}")
        certificate = issue_invited(self._registry, found, opened.key, at)
        serial = format_serial(certificate.serial_number)
        _log.info("SCEP: signed %s for %r, whose key is at %s", serial, found.name, address)
        return certificate

    def _repeat(self, used: UsedBefore, message: Message, key: PublicKey, at: float) -> x509.Certificate:
        """Phones ask again when they did not hear the answer: the same transaction with the same key gets it again."""
        repeated = None
        if used.invitation.transaction_id == message.transaction_id:
            repeated = find_repeated(self._registry, used.invitation, key, at)
        if repeated is None:
            raise used
        _log.info("SCEP: answered %s again", message.transaction_id)
        return repeated
