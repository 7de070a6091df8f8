"""What is wrong about clients, as users meet it: one sentence with a code, the fact and what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.calls import Result, sealgate
from tests.pki.making import openssl, write

WHEN = r"revoked on 20\d\d-\d\d-\d\d \d\d:\d\d UTC"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clients alice (good) and rex (revoked), another state directory, requests, somebody else's files."""
    folder = tmp_path_factory.mktemp("made")
    for state, names in (("state", ("alice", "rex")), ("other", ("alice",))):
        for name in names:
            words = ("--state", state, "--out", f"{state}-{name}")
            assert sealgate("client", "add", name, *words, cwd=folder).status == 0
        done = sealgate("client", "revoke", names[-1], "--reason", "superseded", "--state", state, cwd=folder)
        assert done.status == 0, done.err
    (folder / "theirs.crl").write_bytes((folder / "other/live/clients/crl.pem").read_bytes())
    new = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(*new, "-subj", "/CN=x", "-keyout", folder / "k", "-out", folder / "good.csr")
    asked = "basicConstraints=critical,CA:TRUE"
    openssl(*new, "-subj", "/CN=x", "-keyout", folder / "k", "-addext", asked, "-out", folder / "ca.csr")
    der = bytearray(x509.load_pem_x509_csr((folder / "good.csr").read_bytes()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    write(folder / "bad.csr", bytes(der))
    root, leaf = (folder / "state/authorities/root/root.pem"), folder / "state-alice/alice.pem"
    authority = (folder / "state/authorities/current/clients/authority.pem").read_bytes()
    write(folder / "root.pem", root.read_bytes())
    write(
        folder / "leaf.pem",
        authority
        + leaf.read_bytes().partition(b"-----END CERTIFICATE-----\n")[0]
        + b"-----END CERTIFICATE-----\n",
    )
    write(folder / "authority.pem", authority)
    write(folder / "short", b"short\n")
    openssl(
        "pkcs12",
        "-export",
        "-in",
        leaf,
        "-inkey",
        folder / "state-alice/alice.key",
        "-passout",
        "pass:secret",
        "-out",
        folder / "a.p12",
    )
    return folder


def refused(done: Result, code: str, fact: str, remedy: str, *, status: int = 2) -> None:
    assert done.status == status, done.err
    (line,) = done.err.splitlines()
    assert re.fullmatch(rf"sealgate: {code}: .*{fact}.*; .*{remedy}.*\.", line), line
    assert line.isprintable()
    assert done.out == ""


@pytest.mark.parametrize(
    ("words", "code", "fact", "remedy"),
    [
        (
            ("add", "bob", "--csr", "bad.csr"),
            "csr-signature",
            "bad.csr was not signed with its own key",
            "another one",
        ),
        (
            ("add", "bob", "--csr", "ca.csr"),
            "csr-refused",
            r"ca.csr asks for an authority \(CA\)",
            "a client's certificate",
        ),
        (("add", "Alice"), "client-exists", '"alice" .*the same name as "Alice".*until 20', "client renew"),
        (("revoke", "alcie"), "client-unknown", 'no client "alcie"', 'did you mean "alice"'),
        (("show", "alcie"), "client-unknown", 'no client "alcie"', 'did you mean "alice"'),
        (("renew", "alcie"), "client-unknown", 'no client "alcie"', 'did you mean "alice"'),
        (("release", "alcie"), "client-unknown", 'no client "alcie"', 'did you mean "alice"'),
        (
            ("revoke", "rex"),
            "client-revoked",
            r"revoked on 20\d\d-\d\d-\d\d \d\d:\d\d UTC \(superseded\)",
            "client add",
        ),
        (("renew", "rex"), "client-revoked", WHEN, "client add"),
        (("release", "rex"), "client-not-held", "is on hold", "client add"),
    ],
)
def test_clients(made: Path, words: tuple[str, ...], code: str, fact: str, remedy: str) -> None:
    before = sorted(made.iterdir())
    out = ("--out", "new/below") if words[0] in {"add", "renew"} else ()
    done = sealgate("client", words[0], "--state", "state", *words[1:], *out, cwd=made)
    refused(done, code, fact, remedy, status=3 if code.startswith("csr") else 2)
    assert sorted(made.iterdir()) == before, "no directory is left behind"


def policy(folder: Path, **authority: str) -> str:
    keys = "".join(f"{key} = {json.dumps(value)}\n" for key, value in authority.items())
    text = '[clients]\nmode = "required"\n[[clients.authorities]]\nname = "partners"\n'
    (folder / "theirs.toml").write_text(text + keys)
    return "theirs.toml"


@pytest.mark.parametrize(
    ("authority", "code", "fact", "remedy"),
    [
        ({"file": "leaf.pem"}, "trust-not-authority", "leaf.pem is not an authority", "signs the clients"),
        ({"file": "good.csr"}, "trust-unreadable", "good.csr", "the PEM file of the authority"),
        ({"file": "authority.pem", "crl": "theirs.crl"}, "crl-not-ours", "theirs.crl", "give the lists"),
        ({"file": "a.p12"}, "trust-unreadable", "no PEM certificate in .*a.p12", "the PEM file"),
    ],
)
def test_authorities_of_others(
    made: Path, authority: dict[str, str], code: str, fact: str, remedy: str
) -> None:
    """A PKCS#12 has no password to be wrong here: it is read nowhere, and what is wanted instead is said."""
    done = sealgate("check", "-c", policy(made, **authority), "--state", "none", cwd=made)
    refused(Result(done.status, "", done.err), code, fact, remedy)


def test_a_pkcs12_is_no_request_and_no_key(made: Path) -> None:
    done = sealgate("client", "add", "bob", "--csr", "a.p12", "--state", "state", "--out", "new", cwd=made)
    refused(done, "csr-unreadable", "a.p12", "PEM or DER", status=3)
    assert not (made / "new").exists()


@pytest.mark.parametrize(
    ("file", "code", "fact", "remedy", "status"),
    [
        (
            "theirs.crl",
            "crl-not-ours",
            "not signed by the private clients authority",
            "published clients.crl",
            3,
        ),
        ("a.p12", "crl-unreadable", "no revocation list in", "give one list, PEM or DER", 3),
        ("nothing", "crl-unreadable", "cannot be read", "name a file", 2),
    ],
)
def test_lists_to_take_over(made: Path, file: str, code: str, fact: str, remedy: str, status: int) -> None:
    done = sealgate("crl", "take-over", file, "--state", "state", cwd=made)
    refused(done, code, fact, remedy, status=status)


def test_a_state_directory_without_an_authority_takes_nothing_over(made: Path) -> None:
    done = sealgate("crl", "take-over", "theirs.crl", "--state", "nowhere", cwd=made)
    refused(done, "state-missing", "nowhere", "--state", status=3)
    assert not (made / "nowhere").exists()


def test_a_list_by_standard_input(made: Path, tmp_path: Path) -> None:
    pem = (made / "state/live/clients/crl.pem").read_text()
    done = sealgate("crl", "take-over", "-", "--state", "state", cwd=made, stdin=pem)
    assert done.status == 0, done.err
    assert "names 1, of whom 0 were not revoked here" in done.err
    assert "no keeper runs here" in done.err


def test_a_refusal_leaves_directories_that_were_there(made: Path) -> None:
    (made / "mine").mkdir(mode=0o700)
    done = sealgate("client", "add", "alice", "--state", "state", "--out", "mine/new", cwd=made)
    refused(done, "client-exists", "alice", "renew")
    assert list((made / "mine").iterdir()) == []
    assert sealgate("client", "add", "alice", "--state", "state", "--out", "mine", cwd=made).status == 2
    assert (made / "mine").is_dir()
