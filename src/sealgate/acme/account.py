"""The account at an authority: its key, made, found again, kept up to date, given up.

::

    <state>/authorities/acme/<authority id>/key.pem        ECDSA P-256, 0600
    <state>/authorities/acme/<authority id>/account.json   its address, what was said there

The key is written before it is registered: killed in between, the next run finds the account by its key, or
registers the same one. Without its key an account is lost to us; a new one is made, and that is said.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from acme import messages

from sealgate._system.files import Step, no_step, private_directory, translated, write_atomic
from sealgate.acme.answers import Account
from sealgate.acme.authority import Authority
from sealgate.acme.client import Client, Signer
from sealgate.acme.problems import quoted
from sealgate.errors import AcmeError, CertificateError, Fault
from sealgate.pki.keys import PrivateKey, generate, load_private, spki, to_pem
from sealgate.pki.state import State

__all__ = ["AccountFiles", "deactivate", "ensure", "forget", "known", "refused"]

_REFUSED = frozenset({"unauthorized", "malformed", "externalAccountRequired"})


@dataclass(frozen=True, slots=True)
class _Note:
    """What is known of an account.

    Attributes:
        url: its address.
        contact: mail addresses that were told.
        terms: address of the terms that were said and agreed to.
        kid: of the external account; empty: none.
        key: SHA-256 of the key's SubjectPublicKeyInfo: of another key, this note says nothing.
    """

    url: str
    key: str
    contact: tuple[str, ...] = ()
    terms: str = ""
    kid: str = ""


class AccountFiles:
    """Where the account's key is kept."""

    def __init__(self, state: State, authority: Authority) -> None:
        self.path = state.authorities / "acme" / authority.id
        self.key, self.note = self.path / "key.pem", self.path / "account.json"

    def read_note(self) -> _Note | None:
        """What was noted; None: nothing, or nothing that can be read."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            table: dict[str, Any] = json.loads(self.note.read_bytes())
            contact = tuple(map(str, table["contact"]))
            texts = (str(table["url"]), str(table["key"]), contact, str(table["terms"]), str(table["kid"]))
            return _Note(*texts)
        return None

    def write_note(self, note: _Note) -> None:
        """Note it."""
        write_atomic(self.note, json.dumps(asdict(note), indent=1).encode())

    def read_key(self, say: Callable[[str], None]) -> PrivateKey | None:
        """The key; None where there is none, or none that can be read (which is said, and put aside).

        Raises:
            StateInsecure: ``key-readable-by-others``.
        """
        if not self.key.is_symlink() and not self.key.exists():
            return None
        try:
            return load_private(self.key)
        except CertificateError as error:
            aside = self.key.with_suffix(".damaged")
            with translated(self.key):
                self.key.replace(aside)
            say(f"the ACME account's key cannot be used ({error.fact}); it is put aside as {aside}")
            return None

    def make_key(self, *, step: Step = no_step) -> PrivateKey:
        """A fresh key, on the disk before anybody hears of it; what was noted of the old one is gone."""
        for part in (self.path.parent, self.path):
            private_directory(part)
        with translated(self.path):
            self.note.unlink(missing_ok=True)
        key = generate("ecdsa-p256")
        step("account-key")
        write_atomic(self.key, to_pem(key))
        return key


def ensure(
    client: Client,
    authority: Authority,
    state: State,
    *,
    say: Callable[[str], None],
    fresh: bool = False,
    step: Step = no_step,
) -> Signer:
    """The account, ready to sign: the one noted, the one of our key, or a new one.

    Args:
        client: the authority's.
        authority: whose contact and external account count.
        state: its lock is held by the caller.
        say: told once of terms agreed to, and of an account lost.
        fresh: what is noted is gone, says the authority.
        step: see :data:`~sealgate._system.files.Step`.

    Raises:
        AcmeError: ``acme-account-refused``, ``acme-external-account-required``,
            ``acme-external-account-refused``, ``acme-external-account-key``, ``acme-contact-refused``, and as
            ``Client.post``.
        PolicyError: the external account's secret cannot be read.
        StateError, StateInsecure: the files cannot be used.
    """
    files = AccountFiles(state, authority)
    kid = authority.binding.kid if authority.binding else ""
    note, key = files.read_note(), files.read_key(say)
    if note is not None and key is None:
        say(f"the key of the account at {client.host} is lost; a new account is made")
    if note is not None and note.kid != kid:
        say(f"certificate.acme.external_account is another one now; a new account is made at {client.host}")
        note = key = None
    if note is not None and key is not None and note.key == _print_of(key) and not fresh:
        return _updated(client, authority, files, note, Signer(key, note.url), say)
    account, key = _found_or_made(client, authority, files, key, step=step)
    _say_terms(client, "", say)
    signer = Signer(key, account.url)
    step("account-note")
    note = _Note(account.url, _print_of(key), _mail(account), client.directory.terms, kid)
    files.write_note(note)
    return _updated(client, authority, files, note, signer, say)


def _print_of(key: PrivateKey) -> str:
    return hashlib.sha256(spki(key)).hexdigest()


def _mail(account: Account) -> tuple[str, ...]:
    return tuple(contact.removeprefix("mailto:") for contact in account.contact)


def _found_or_made(
    client: Client, authority: Authority, files: AccountFiles, key: PrivateKey | None, *, step: Step
) -> tuple[Account, PrivateKey]:
    if key is not None:
        with _refusal(client, files):
            try:
                return client.account(Signer(key), only_existing=True), key
            except AcmeError as error:
                if error.details.get("problem") != "accountDoesNotExist":
                    raise
    if authority.binding is None and client.directory.external_account_required:
        raise _external_required(client.host)
    key = key or files.make_key(step=step)
    binding = _binding(client, authority, key)
    step("account-new")
    try:
        return client.account(Signer(key), contact=authority.contact, binding=binding), key
    except AcmeError as error:
        if authority.binding is None or error.details.get("problem") not in _REFUSED:
            raise
        raise _external_refused(client.host, authority.binding.kid, error) from error


def _updated(
    client: Client,
    authority: Authority,
    files: AccountFiles,
    note: _Note,
    signer: Signer,
    say: Callable[[str], None],
) -> Signer:
    """Contacts as the policy has them; terms that are new are said."""
    terms = client.directory.terms
    if terms and terms != note.terms:
        _say_terms(client, note.terms, say)
    contact = note.contact
    if sorted(contact) != sorted(authority.contact):
        with _refusal(client, files):
            client.update_contact(signer, authority.contact)
        contact = authority.contact
    if (contact, terms) != (note.contact, note.terms):
        files.write_note(replace(note, contact=contact, terms=terms))
    return signer


def _say_terms(client: Client, before: str, say: Callable[[str], None]) -> None:
    if client.directory.terms:
        new = "has new terms of service" if before else "has terms of service, agreed to by using it"
        say(f"{client.host} {new}: {quoted(client.directory.terms)}")


def _binding(client: Client, authority: Authority, key: PrivateKey) -> dict[str, Any] | None:
    """The external account's word that this key is its (RFC 8555 §7.3.4, HS256)."""
    if authority.binding is None:
        return None
    # Shops show it with or without padding, in either alphabet.
    text = authority.binding.read().reveal().strip().translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"=")
    if not re.fullmatch(rb"[A-Za-z0-9_-]+", text) or len(text) % 4 == 1:
        raise AcmeError(
            "acme-external-account-key",
            "the HMAC key of certificate.acme.external_account is not base64url",
            "put the key there exactly as the authority gave it out",
            authority=client.host,
        )
    directory = messages.Directory({"newAccount": client.directory.new_account})
    public = Signer(key).public.public_key()
    return messages.ExternalAccountBinding.from_data(public, authority.binding.kid, text.decode(), directory)


def _external_required(host: str) -> AcmeError:
    error = AcmeError(
        "acme-external-account-required",
        f"{host} makes accounts only for customers of its shop",
        "get a key identifier and an HMAC key there, and name both in certificate.acme.external_account",
        authority=host,
    )
    error.fault = Fault.CONFIGURATION
    return error


def _external_refused(host: str, kid: str, problem: AcmeError) -> AcmeError:
    # Its kind is said of challenges too, and would be misread here.
    said = problem.details.get("said")
    why = f" (it says {said})" if isinstance(said, str) else ""
    error = AcmeError(
        "acme-external-account-refused",
        f"{host} does not accept the external account {quoted(kid)}{why}",
        "compare kid and hmac in certificate.acme.external_account with what the authority's shop shows",
        authority=host,
    )
    error.fault = Fault.CONFIGURATION
    return error


@contextlib.contextmanager
def _refusal(client: Client, files: AccountFiles) -> Iterator[None]:
    """What "unauthorized" means for the account itself: it was deactivated, or revoked."""
    try:
        yield
    except AcmeError as error:
        if error.details.get("problem") != "unauthorized":
            raise
        raise refused(client.host, files, error) from error


def refused(host: str, files: AccountFiles, problem: AcmeError) -> AcmeError:
    """The authority serves this account no more."""
    return AcmeError(
        "acme-account-refused",
        f"{host} serves our account no more ({problem.fact})",
        f"ask the authority why; to begin with a new account, remove {files.path}",
        authority=host,
        path=str(files.path),
    )


def known(client: Client, authority: Authority, state: State) -> Signer | None:
    """The account that is there already; None: there is none, or the authority does not know it.

    Raises:
        AcmeError: the authority cannot be asked.
        StateInsecure: its key is open to others.
    """
    files = AccountFiles(state, authority)
    key, note = files.read_key(lambda _text: None), files.read_note()
    if key is None:
        return None
    if note is not None and note.key == _print_of(key):
        return Signer(key, note.url)
    try:
        return Signer(key, client.account(Signer(key), only_existing=True).url)
    except AcmeError as error:
        if error.details.get("problem") != "accountDoesNotExist":
            raise
        return None


def deactivate(client: Client, authority: Authority, state: State) -> bool:
    """Give up the account (RFC 8555 §7.3.6) and remove its key; false: there was none.

    Raises:
        AcmeError: the authority did not do it; the key is still there.
    """
    files = AccountFiles(state, authority)
    try:
        signer = known(client, authority, state)
        if signer is not None:
            client.deactivate(signer, signer.kid)
    except AcmeError as error:
        # Not known any more, or deactivated already, perhaps by a run of ours that was killed.
        if error.details.get("problem") not in {"accountDoesNotExist", "unauthorized"}:
            raise
    there = files.key.exists()
    forget(files)
    return there


def forget(files: AccountFiles) -> None:
    """Remove what is kept of an account; the key first."""
    with translated(files.path):
        files.key.unlink(missing_ok=True)
        files.note.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            files.path.rmdir()
