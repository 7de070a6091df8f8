"""tls-alpn-01 (RFC 8737): a certificate that carries the answer, for who offers ``acme-tls/1`` alone.

::

    live/challenges/alpn/<name, hashed>/{chain,key}.pem     0600; the same folder for a name in every run

An address is asked for by its reverse name (RFC 8738 §6): that is what the handshake's SNI says.
"""

from __future__ import annotations

import hashlib
import ipaddress
import shutil
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sealgate._system.clock import Clock
from sealgate._system.files import private_directory, translated, write_atomic
from sealgate.acme.order import Answer
from sealgate.acme.problems import quoted
from sealgate.acme.solvers.looking import Sight, reach, until_right
from sealgate.errors import AcmeError, Fault
from sealgate.pki.inspect import pem_of
from sealgate.pki.issue import alternative_names
from sealgate.pki.keys import PrivateKey, generate, signature_hash, to_pem
from sealgate.policy.values import Endpoint

__all__ = ["ALPN", "AlpnFiles", "AlpnSolver", "answer_certificate", "server_name"]

ALPN = "acme-tls/1"
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_LIFE = timedelta(days=7)
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class AlpnFiles:
    """The certificate that proves one name.

    Attributes:
        name: what the handshake's SNI says.
        chain, key: PEM files.
    """

    name: str
    chain: Path
    key: Path


def server_name(name: str) -> str:
    """The SNI of a handshake that asks about a name (RFC 8737 §3, RFC 8738 §6)."""
    try:
        return ipaddress.ip_address(name).reverse_pointer
    except ValueError:
        return name


def answer_certificate(answer: Answer, key: PrivateKey, clock: Clock) -> x509.Certificate:
    """The self-signed certificate of RFC 8737 §3: the name alone, and critical, the digest of the answer."""
    digest = hashlib.sha256(answer.key_authorization.encode("ascii")).digest()
    now, subject = clock(), x509.Name([])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(alternative_names([answer.name]), critical=True)
        # An OCTET STRING of 32 bytes, in DER.
        .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + digest), critical=True)
        .sign(key, signature_hash(key))
    )


class AlpnSolver:
    """Makes the certificates, tells the engine, and makes the handshake itself.

    Args:
        directory: of the certificates.
        tell: told of all that are shown now; returns once they are.
        listeners: the site's HTTPS listeners; none: nothing is looked at.
        clock: the present.
        seconds: how long a listener may take to show one.
    """

    def __init__(
        self,
        directory: Path,
        tell: Callable[[Sequence[AlpnFiles]], None],
        listeners: Sequence[Endpoint],
        *,
        clock: Clock,
        seconds: float = 10.0,
    ) -> None:
        self._directory, self._tell, self._listeners = directory, tell, listeners
        self._clock, self._seconds = clock, seconds
        self._shown: dict[str, AlpnFiles] = {}

    def _folder(self, name: str) -> Path:
        return self._directory / hashlib.sha256(server_name(name).encode()).hexdigest()[:16]

    def present(self, answers: Sequence[Answer]) -> None:
        """Show these answers too.

        Raises:
            AcmeError: ``acme-alpn-not-answered``.
            StateError: the files cannot be written.
        """
        ours = [answer for answer in answers if answer.kind == "tls-alpn-01"]
        private_directory(self._directory.parent, 0o711)
        private_directory(self._directory)
        leaves = [self._make(answer) for answer in ours]
        self._tell_all()
        for answer, leaf in zip(ours, leaves, strict=True):
            self._look(answer, leaf)

    def _make(self, answer: Answer) -> bytes:
        """Write the certificate; its DER."""
        folder, key = private_directory(self._folder(answer.name)), generate("ecdsa-p256")
        certificate = answer_certificate(answer, key, self._clock)
        files = AlpnFiles(server_name(answer.name), folder / "chain.pem", folder / "key.pem")
        write_atomic(files.key, to_pem(key))
        write_atomic(files.chain, pem_of(certificate))
        self._shown[files.name] = files
        return certificate.public_bytes(serialization.Encoding.DER)

    def _tell_all(self) -> None:
        self._tell(tuple(sorted(self._shown.values(), key=lambda files: files.name)))

    def _look(self, answer: Answer, leaf: bytes) -> None:
        for listener in self._listeners:
            seen = until_right(partial(_handshake, listener, server_name(answer.name), leaf), self._seconds)
            if seen.verdict != "right":
                error = AcmeError(
                    "acme-alpn-not-answered",
                    f"the answer for {answer.name} cannot be seen in a handshake: {seen.how}",
                    "tls-alpn-01 needs Envoy, and nobody before it who ends TLS; else take http-01 or dns-01",
                    names=(answer.name,),
                    seen=seen.verdict,
                )
                error.fault = Fault.ENVIRONMENT
                raise error

    def withdraw(self, answers: Sequence[Answer]) -> None:
        """Show these no more; also those of a run that was killed.

        Raises:
            StateError: a file cannot be removed.
            StateInsecure: the directory is a link, or others may write it.
        """
        ours = [answer for answer in answers if answer.kind == "tls-alpn-01"]
        if not ours:
            return
        private_directory(self._directory.parent, 0o711)  # never through a link: as of http-01
        private_directory(self._directory)
        for answer in ours:
            self._shown.pop(server_name(answer.name), None)
        # The engine first: it must not be told of files that are gone.
        self._tell_all()
        for answer in ours:
            folder = self._folder(answer.name)
            with translated(folder):
                if folder.is_dir() and not folder.is_symlink():
                    shutil.rmtree(folder)


def _handshake(listener: Endpoint, name: str, leaf: bytes) -> Sight:
    """A handshake as the authority makes it (RFC 8737 §3): is the certificate ours?"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is compared, byte for byte
    context.set_alpn_protocols([ALPN])
    try:
        with (
            socket.create_connection(reach(listener), timeout=_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=name) as tls,
        ):
            shown, chosen = tls.getpeercert(binary_form=True), tls.selected_alpn_protocol()
    except ConnectionRefusedError:
        return Sight("closed", f"connecting to {listener} was refused")
    except TimeoutError:
        return Sight("silent", f"{listener} did not answer in time")
    except (OSError, ValueError) as error:
        return Sight("broken", f"{listener}: {quoted(str(error), 120)}")
    if chosen != ALPN:
        return Sight("other", f"{listener} does not speak {ALPN}")
    return Sight("right") if shown == leaf else Sight("other", f"{listener} shows another certificate")
