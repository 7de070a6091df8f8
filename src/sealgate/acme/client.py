"""What is said to an authority: signed requests (RFC 8555 §6.2), nonces, and nothing decided.

Messages and JWS are certbot's ``acme`` and ``josepy``; answers are read by ``answers.py``. Each call is one
request, or few: a refused nonce is tried again with the next one (RFC 8555 §6.5), and so is, once, a request
whose connection broke.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Self, TypeVar

from acme import challenges, jws, messages
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import errors as jose_errors
from josepy import json_util, jwa, jwk
from josepy.interfaces import JSONDeSerializable

from sealgate._system.clock import Clock
from sealgate.acme import answers
from sealgate.acme.answers import Account, Directory, https_address, odd
from sealgate.acme.authority import Authority
from sealgate.acme.network import Network, Reply
from sealgate.acme.order import Authorization, Identifier, Order
from sealgate.acme.problems import error_of, quoted
from sealgate.errors import AcmeError
from sealgate.pki.keys import PrivateKey

__all__ = ["Client", "Seen", "Signer"]

_NONCES = 24
"""How often a request may be sent with nonces that are refused: every second one refused makes 6e-8."""
_REDIRECTS = 3
_ATTEMPT = 1800.0
"""Seconds for all that is asked by one client: twice what is waited for an order (``flow.LIMIT``)."""

T = TypeVar("T")


class _NewOrder(messages.NewOrder):
    """With the certificate that is to be replaced (RFC 9773 §5)."""

    replaces: str | None = json_util.field("replaces", omitempty=True)


class _Status(json_util.JSONObjectWithFields):
    """A change of an authorization's or account's status (RFC 8555 §7.5.2, §7.3.6)."""

    status: str = json_util.field("status")


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: an account, or, where ``kid`` is empty, a key alone."""

    key: PrivateKey
    kid: str = ""

    @property
    def public(self) -> jwk.JWK:
        """The key as JOSE has it."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return jwk.JWKEC(key=self.key)
        return jwk.JWKRSA(key=self.key)

    @property
    def algorithm(self) -> Any:  # noqa: ANN401 - josepy's own are of no type that it names
        """What its key signs with (RFC 7518 §3.1)."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return jwa.ES384 if self.key.curve.key_size > 256 else jwa.ES256
        return jwa.RS256


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """What an authority showed, and when it wants to be asked again."""

    what: T
    again: datetime | None = None


class Client:
    """An authority that can be talked to. Make one with :meth:`open`; for one thread at a time."""

    def __init__(self, network: Network, directory: Directory, clock: Clock) -> None:
        self.network, self.directory, self.host = network, directory, network.host
        self.clock = clock
        self._nonces: list[bytes] = []
        self._offset: timedelta | None = None

    @classmethod
    def open(cls, authority: Authority, *, clock: Clock, seconds: float = _ATTEMPT) -> Self:
        """Fetch the directory.

        Args:
            authority: whom to ask.
            clock: the present.
            seconds: until nothing is sent any more, by a clock that nobody sets.

        Raises:
            AcmeError: ``acme-unreachable``, ``acme-untrusted``, ``acme-directory-insecure``,
                ``acme-answer-invalid``, ``acme-authority-failed``, ``acme-rate-limited``, ``acme-timeout``.
        """
        network = Network(authority, until=time.monotonic() + seconds)
        client = cls(network, Directory(authority.directory, "", "", ""), clock)
        try:
            client.directory = answers.read_directory(client._directory(authority.directory), network.host)
        except BaseException:
            network.close()
            raise
        return client

    def close(self) -> None:
        """End its connections."""
        self.network.close()

    @contextlib.contextmanager
    def not_counted(self) -> Iterator[None]:
        """What is done meanwhile is our own (records of DNS that spread): it takes nothing of the time."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.network.until += time.monotonic() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _directory(self, url: str) -> Reply:
        for _ in range(_REDIRECTS + 1):
            reply = self.get(url)
            if reply.status not in (301, 302, 303, 307, 308):
                return reply
            url = https_address(
                reply.joined(reply.headers.get("location", "")), self.host, "a redirect whose Location"
            )
        raise odd(self.host, "redirects its directory again and again")

    @property
    def behind(self) -> timedelta | None:
        """How far our clock is behind the authority's (below 0: ahead); None: it told no time."""
        return self._offset

    def get(self, url: str, *, accept: str = "") -> Reply:
        """An unsigned GET (directory, renewal information); a redirect is an answer.

        Raises:
            AcmeError: as :meth:`open`.
        """
        return self._checked(self.network.send("GET", url, accept=accept))

    def _checked(self, reply: Reply, names: tuple[str, ...] = ()) -> Reply:
        self._keep_nonce(reply)
        now = self.clock()
        if reply.date is not None:
            self._offset = reply.date - now
        if reply.status < 400 and not answers.is_problem(reply):
            return reply
        raise error_of(answers.read_problem(reply), self.host, names=names, retry_at=reply.retry_after(now))

    def _keep_nonce(self, reply: Reply) -> None:
        text = reply.headers.get("replay-nonce", "")
        try:
            nonce = json_util.decode_b64jose(text) if text else b""
        except jose_errors.DeserializationError:
            return
        # One that does not come out as it went in would be refused; RFC 8555 §6.5.1 has us pass it over.
        if nonce and json_util.encode_b64jose(nonce) == text:
            self._nonces = [*self._nonces[-3:], nonce]

    def _nonce(self) -> bytes:
        if not self._nonces:
            self._checked(self.network.send("HEAD", self.directory.new_nonce))
        if not self._nonces:
            raise odd(self.host, "gives out no nonce that can be used")
        return self._nonces.pop()

    def post(
        self,
        url: str,
        message: JSONDeSerializable | None,
        signer: Signer,
        *,
        names: tuple[str, ...] = (),
        accept: str = "",
    ) -> Reply:
        """A signed POST; without a message a POST-as-GET (RFC 8555 §6.3).

        Args:
            url: of the authority.
            message: None asks only.
            signer: with its ``kid`` where it has one, else with the key itself.
            names: which the errors are about.
            accept: media type.

        Raises:
            AcmeError: as :meth:`open`, and every problem of the authority (``problems.py``).
        """
        payload = message.json_dumps().encode() if message is not None else b""
        broken = False
        for left in reversed(range(_NONCES)):
            signed = jws.JWS.sign(
                payload, signer.public, signer.algorithm, self._nonce(), url=url, kid=signer.kid or None
            )
            try:
                reply = self.network.send("POST", url, data=signed.json_dumps().encode(), accept=accept)
                return self._direct(self._checked(reply, names))
            except AcmeError as error:
                if error.code == "acme-unreachable" and not broken:
                    broken = True
                elif error.details.get("problem") != "badNonce" or not left:
                    raise
        raise AssertionError("unreachable")

    def _direct(self, reply: Reply) -> Reply:
        """A redirected POST is never followed (RFC 8555 §6.4), and is no success."""
        if not 200 <= reply.status < 300:
            raise odd(self.host, f"answers a signed request with HTTP {reply.status}")
        return reply

    def account(
        self,
        signer: Signer,
        *,
        contact: Sequence[str] = (),
        only_existing: bool = False,
        binding: dict[str, Any] | None = None,
    ) -> Account:
        """Make an account, or find the one of this key (RFC 8555 §7.3, §7.3.1); the terms are agreed to.

        Raises:
            AcmeError: also ``acme-account-missing`` (`only_existing`), ``acme-external-account-required``.
        """
        if only_existing:
            message = messages.NewRegistration(only_return_existing=True)
        else:
            message = messages.NewRegistration.from_data(
                contact=tuple(f"mailto:{address}" for address in contact),
                terms_of_service_agreed=True,
                external_account_binding=binding,
            )
        reply = self.post(self.directory.new_account, message, Signer(signer.key))
        return answers.read_account(reply, self.host)

    def show_account(self, signer: Signer) -> Account:
        """The account as the authority has it (a POST-as-GET)."""
        return answers.read_account(self.post(signer.kid, None, signer), self.host, signer.kid)

    def update_contact(self, signer: Signer, contact: Sequence[str]) -> Account:
        """Set the account's mail addresses (RFC 8555 §7.3.2)."""
        message = messages.UpdateRegistration.from_data(
            contact=tuple(f"mailto:{address}" for address in contact)
        )
        return answers.read_account(self.post(signer.kid, message, signer), self.host, signer.kid)

    def deactivate(self, signer: Signer, url: str) -> None:
        """Give up an authorization, or the account itself (RFC 8555 §7.5.2, §7.3.6).

        Raises:
            AcmeError: also ``acme-answer-invalid``: the answer does not show it as given up.
        """
        status = answers.read_status(self.post(url, _Status(status="deactivated"), signer), self.host)
        if status != "deactivated":
            raise odd(self.host, f"was told to deactivate it, and shows it as {quoted(status, 40)}")

    def new_order(
        self, signer: Signer, names: Sequence[Identifier], *, profile: str = "", replaces: str = ""
    ) -> Seen[Order]:
        """Ask for a certificate (RFC 8555 §7.4; profiles; RFC 9773 §5)."""
        kinds = {"dns": messages.IDENTIFIER_FQDN, "ip": messages.IDENTIFIER_IP}
        message = _NewOrder(
            identifiers=[messages.Identifier(typ=kinds[name.kind], value=name.value) for name in names],
            profile=profile or None,
            replaces=replaces or None,
        )
        asked = tuple(name.value for name in names)
        reply = self.post(self.directory.new_order, message, signer, names=asked)
        return Seen(answers.read_order(reply, self.host), reply.retry_after(self.clock()))

    def order(self, signer: Signer, url: str) -> Seen[Order]:
        """An order as it is now."""
        reply = self.post(url, None, signer)
        return Seen(answers.read_order(reply, self.host, url), reply.retry_after(self.clock()))

    def orders(self, signer: Signer, url: str) -> tuple[str, ...]:
        """The first page of the account's orders."""
        return answers.read_orders(self.post(url, None, signer), self.host)

    def authorization(self, signer: Signer, url: str) -> Seen[Authorization]:
        """An authorization as it is now."""
        reply = self.post(url, None, signer)
        return Seen(answers.read_authorization(reply, self.host), reply.retry_after(self.clock()))

    def respond(self, signer: Signer, url: str, *, name: str) -> None:
        """Have the authority look at a challenge's answer (RFC 8555 §7.5.1)."""
        self.post(url, challenges.HTTP01Response(key_authorization=""), signer, names=(name,))

    def finalize(self, signer: Signer, order: Order, request: x509.CertificateSigningRequest) -> Seen[Order]:
        """Hand in the certificate signing request (RFC 8555 §7.4)."""
        names = tuple(name.value for name in order.identifiers)
        reply = self.post(order.finalize, messages.CertificateRequest(csr=request), signer, names=names)
        return Seen(answers.read_order(reply, self.host, order.url), reply.retry_after(self.clock()))

    def certificate(self, signer: Signer, url: str) -> tuple[bytes, tuple[str, ...]]:
        """A chain as PEM, and where there are others (``Link: rel="alternate"``, RFC 8555 §7.4.2)."""
        reply = self.post(url, None, signer, accept="application/pem-certificate-chain")
        return reply.body, reply.links("alternate")

    def revoke(self, signer: Signer, certificate: x509.Certificate, reason: int) -> None:
        """Revoke a certificate (RFC 8555 §7.6), signed by the account or by the certificate's own key."""
        if not self.directory.revoke_cert:
            raise odd(self.host, "does not revoke certificates by ACME")
        message = messages.Revocation(certificate=certificate, reason=reason)
        reply = self.post(self.directory.revoke_cert, message, signer)
        # RFC 8555 §7.6 knows no other success; a page for people is none of an authority's.
        if reply.status != 200 or reply.body.lstrip().startswith(b"<"):
            raise odd(
                self.host, f"answers a revocation with HTTP {reply.status}, which does not say it is done"
            )
