"""Groups as the guard tells them: by patterns of a certificate's authority, and by single certificates."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from sealgate.errors import StateError
from sealgate.guard.certificate import Certificate, read_certificate
from sealgate.guard.compiled import Authority, Compiled, Group, Pattern
from sealgate.guard.groups import Groups
from sealgate.guard.issuers import Issuers
from sealgate.guard.sources import InsideSource
from sealgate.pki.revocations import Revocations, Revoked
from sealgate.policy.identity import membership_key, revocation_key
from tests.guard.test_certificate import make

KEY = revocation_key(b"k" * 32, 0xC0FFEE)
OPS = Group("ops", (Pattern("private", "cn", "alice"), Pattern("partners", "uri", "spiffe://p.example/*")))
NIGHT = Group("night", ())


def certificate(*, authority: str = "private", key: bytes = KEY, **said: object) -> Certificate:
    read = read_certificate(make("nobody").public_bytes(Encoding.DER))
    assert isinstance(read, Certificate)
    return replace(read, authority=authority, revocation_key=key, **said)  # type: ignore[arg-type]


def test_a_pattern_counts_for_its_own_authority_alone() -> None:
    groups = Groups((OPS, NIGHT))
    assert groups.of(certificate(common_name="alice")) == ("ops",)
    assert groups.of(certificate(common_name="alice", authority="partners")) == ()
    assert groups.of(certificate(common_name="alice", authority="")) == ()
    partner = certificate(uris=("spiffe://p.example/x",), authority="partners")
    assert groups.of(partner) == ("ops",)
    assert groups.of(replace(partner, authority="private")) == ()


def test_a_single_certificate_is_in_what_it_was_given() -> None:
    given_ = {membership_key(KEY, "night"), membership_key(KEY, "gone")}
    groups = Groups((OPS, NIGHT), given_)
    assert groups.of(certificate()) == ("night",)
    assert groups.of(certificate(common_name="alice")) == ("ops", "night")
    assert groups.of(certificate(key=revocation_key(b"k" * 32, 0xC0FFEF))) == ()
    assert groups.of(certificate(key=b"")) == (), "nobody of ours gave it anything"


def test_they_stand_beside_the_revoked_and_are_none() -> None:
    table = Revocations()
    table.add([membership_key(KEY, "night")])
    seen = Revoked(table.fd)
    assert KEY not in seen
    assert Groups((NIGHT,), seen).of(certificate()) == ("night",)
    table.replace([KEY])
    assert KEY in seen
    assert Groups((NIGHT,), seen).of(certificate()) == ()
    table.close()


ISSUER = base64.b64encode(make("a").public_bytes(Encoding.DER)).decode()


def compiled(*groups: Group) -> Compiled:
    return Compiled(
        generation=1,
        names=frozenset({"localhost"}),
        wildcards=frozenset(),
        ports=frozenset({"443"}),
        public_host="localhost",
        public_port=443,
        body_limit=0,
        clients="required",
        authorities=(Authority("private", (ISSUER,), own=False, listed=False),),
        groups=groups,
    )


def test_they_survive_the_way_to_the_workers() -> None:
    made = compiled(OPS, NIGHT)
    assert Compiled.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    "groups",
    (
        [],
        {"": []},
        {"ops": {}},
        {"ops": [["private", "cn"]]},
        {"ops": [["private", "cn", ""]]},
        {"ops": [["private", "name", "alice"]]},
        {"ops": [["private", "cn", "alice", "more"]]},
        {"ops": ["private"]},
        {"ops": [["private", "cn", 1]]},
    ),
)
def test_what_is_damaged_on_that_way_is_refused(groups: object) -> None:
    data = json.loads(compiled().to_json()) | {"groups": groups}
    with pytest.raises(StateError, match="groups has a wrong value"):
        Compiled.from_json(json.dumps(data))


def test_a_reload_counts_for_connections_that_are_open() -> None:
    """The same address and certificate, before and after a policy that names other groups."""
    der = make("alice").public_bytes(Encoding.DER)
    source = InsideSource(clients=True)
    for groups, told in (((), ()), ((OPS,), ("ops",)), ((NIGHT,), ())):
        source.use(compiled(*groups))
        environ = {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "5", "RAW_URI": "/"}
        found = source.from_environ({**environ, "sealgate.peer_certificate": der})
        assert found is not None
        assert found[0].client.groups == told


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16))
def test_no_hostile_name_makes_a_group(text: str) -> None:
    """Whatever a certificate is called, it is in the group only by being called exactly so."""
    read = read_certificate(make(text).public_bytes(Encoding.DER))
    assert isinstance(read, Certificate)
    assert Groups((OPS,)).of(replace(read, authority="private")) == (("ops",) if text == "alice" else ())


def test_a_leaf_whose_authority_cannot_be_told_is_in_no_group() -> None:
    """Of an intermediate that stands in no file: after a change of authorities it may be the former one's."""
    former, now = (base64.b64encode(make(name).public_bytes(Encoding.DER)).decode() for name in ("a", "b"))
    der = make("alice").public_bytes(Encoding.DER)
    counts = (Authority("private", (now,), own=False, listed=False),)
    before = read_certificate(der, Issuers(counts))
    after = read_certificate(der, Issuers(counts, former=(former,)))
    assert isinstance(before, Certificate)
    assert isinstance(after, Certificate)
    assert (before.authority, Groups((OPS,)).of(before)) == ("private", ("ops",))
    assert (after.authority, Groups((OPS,)).of(after)) == ("", ())
