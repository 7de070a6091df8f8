from __future__ import annotations

import os
import shutil
import ssl
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from sealgate.errors import CertificateError, CertificateMismatch
from sealgate.pki.inspect import fingerprint
from sealgate.pki.live import LiveDirectory
from tests.pki.killing import KILLED, Step, die_at, steps_of
from tests.pki.making import Made, make

CA = make("ca", ca=True)
ONE, TWO, THREE, FOUR = (make(f"{number}.test", CA, names=[f"{number}.test"]) for number in range(4))


def publish(directory: LiveDirectory, made: Made, **options):
    return directory.publish(made.pem + CA.pem, made.key_pem, **options)


def whole(directory: LiveDirectory) -> str:
    """The fingerprint of what is live; fails where it is no pair that OpenSSL takes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory.chain_path, directory.key_path)
    live = directory.current()
    assert live is not None
    return live.fingerprint


@pytest.fixture
def directory(tmp_path: Path) -> LiveDirectory:
    return LiveDirectory(tmp_path / "server" / "localhost")


def test_nothing_is_live_at_first(directory: LiveDirectory) -> None:
    assert directory.current() is None
    assert directory.pair() is None
    assert directory.fingerprint() == ""


def test_the_layout_engines_rely_on(directory: LiveDirectory) -> None:
    live = publish(directory, ONE)
    assert str((directory.path / "chain.pem").readlink()) == "current/chain.pem"
    assert str((directory.path / "key.pem").readlink()) == "current/key.pem"
    assert str((directory.path / "current").readlink()) == "versions/000001"
    assert (live.chain_path, live.key_path) == (directory.path / "chain.pem", directory.path / "key.pem")
    assert live.chain_path.read_bytes() == ONE.pem + CA.pem
    assert live.key_path.read_bytes() == ONE.key_pem
    assert (live.version, live.names, live.fingerprint) == (1, ("0.test",), fingerprint(ONE.certificate))
    assert len(live.chain) == 2
    assert (live.not_before, live.not_after) == (
        ONE.certificate.not_valid_before_utc,
        ONE.certificate.not_valid_after_utc,
    )


def test_keys_and_directories_are_private(directory: LiveDirectory) -> None:
    old = os.umask(0)
    try:
        publish(directory, ONE)
    finally:
        os.umask(old)
    for path in [directory.path, *directory.path.rglob("*")]:
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_two_versions_before_the_live_one_are_kept(directory: LiveDirectory) -> None:
    for made in (ONE, TWO, THREE, FOUR):
        publish(directory, made)
    assert sorted(path.name for path in (directory.path / "versions").iterdir()) == [
        "000002",
        "000003",
        "000004",
    ]
    assert sorted(path.name for path in directory.path.iterdir()) == [
        "chain.pem",
        "current",
        "key.pem",
        "versions",
    ]


def test_rollback_is_byte_for_byte_and_a_number_is_never_taken_twice(directory: LiveDirectory) -> None:
    publish(directory, ONE)
    publish(directory, TWO)
    assert directory.rollback().fingerprint == fingerprint(ONE.certificate)
    assert directory.pair() == (ONE.pem + CA.pem, ONE.key_pem)
    assert publish(directory, THREE).version == 3
    assert directory.rollback().version == 1
    with pytest.raises(CertificateError) as caught:
        directory.rollback()
    assert caught.value.code == "nothing-to-roll-back"
    assert whole(directory) == fingerprint(ONE.certificate)


def test_rollback_of_nothing(directory: LiveDirectory) -> None:
    with pytest.raises(CertificateError):
        directory.rollback()


@pytest.mark.parametrize(
    ("chain", "key", "code"),
    [
        (TWO.pem + CA.pem, ONE.key_pem, "key-mismatch"),
        (CA.pem + ONE.pem, ONE.key_pem, "key-mismatch"),
        (ONE.pem + TWO.pem, ONE.key_pem, "chain-broken"),
        (b"", ONE.key_pem, "certificate-unreadable"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ONE.key_pem,
            "certificate-unreadable",
        ),
        (ONE.pem, b"", "key-unreadable"),
        (ONE.pem[:-40], ONE.key_pem, "certificate-unreadable"),
    ],
    ids=["other key", "issuer first", "stranger", "empty", "garbage", "no key", "cut"],
)
def test_what_does_not_fit_never_becomes_live(
    directory: LiveDirectory, chain: bytes, key: bytes, code: str
) -> None:
    publish(directory, FOUR)
    before = sorted(str(path) for path in directory.path.rglob("*"))
    with pytest.raises(CertificateError) as caught:
        directory.publish(chain, key)
    assert caught.value.code == code
    assert isinstance(caught.value, CertificateMismatch) == (code in ("key-mismatch", "chain-broken"))
    assert sorted(str(path) for path in directory.path.rglob("*")) == before
    assert whole(directory) == fingerprint(FOUR.certificate)


@pytest.mark.parametrize("first", [False, True], ids=["renewal", "first"])
def test_killed_at_every_step_a_whole_pair_is_live(tmp_path: Path, first: bool) -> None:
    def fresh(name: str) -> LiveDirectory:
        made = LiveDirectory(tmp_path / name / "server" / "site")
        if not first:
            publish(made, ONE)
        return made

    def attempt(at: LiveDirectory, step: Step) -> None:
        publish(at, TWO, step=step)

    old, new, seen = fingerprint(ONE.certificate), fingerprint(TWO.certificate), set()
    steps = steps_of(lambda step: publish(fresh("count"), TWO, step=step))
    assert len(steps) > 12
    for number in range(len(steps)):
        directory = fresh(f"step-{number}")
        assert die_at(number, partial(attempt, directory)) == KILLED
        if first and directory.current() is None:
            seen.add("nothing")
        else:
            live = whole(directory)
            assert live in ({new} if first else {old, new}), steps[number]
            seen.add("old" if live == old else "new")
        after = publish(directory, THREE)
        assert whole(directory) == after.fingerprint == fingerprint(THREE.certificate)
        left = [path for path in directory.path.rglob("*") if path.name.endswith(".tmp")]
        assert left == [], f"the next run sweeps what {steps[number]} left"
        shutil.rmtree(directory.path.parent.parent)
    assert seen == ({"nothing", "new"} if first else {"old", "new"})


def test_a_reader_of_one_version_never_has_a_mixture(directory: LiveDirectory) -> None:
    """What file SDS does: resolve `current` once, then read both."""
    publish(directory, ONE)
    pairs = {made.pem + CA.pem: made.key_pem for made in (ONE, TWO, THREE, FOUR)}
    stop, wrong, read = threading.Event(), [], 0

    def reader() -> None:
        nonlocal read
        while not stop.is_set():
            pair = directory.pair()
            if pair is not None:
                read += 1
                if pairs.get(pair[0]) != pair[1]:
                    wrong.append(pair)

    thread = threading.Thread(target=reader)
    thread.start()
    for number in range(24):
        publish(directory, (ONE, TWO, THREE, FOUR)[number % 4])
    stop.set()
    thread.join(20)
    assert not wrong
    assert read


def test_a_damaged_version_says_what_to_type(directory: LiveDirectory) -> None:
    publish(directory, ONE)
    (directory.path / "current" / "chain.pem").write_text("garbage")
    with pytest.raises(CertificateError) as caught:
        directory.current()
    assert caught.value.code == "live-damaged"
    assert "sealgate cert renew" in caught.value.remedy
    assert directory.fingerprint() == ""
