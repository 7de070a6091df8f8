"""Entries: what the library reads and what we read are the same; a million of them cost little."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate.pki.authority import Issuer
from sealgate.pki.crl import Revoked, sign_list
from sealgate.pki.lists.entries import Damaged, Strange, frame_of, serials_of
from tests.pki.lists.published import published
from tests.pki.making import NOW, make

ROOT = make("root", ca=True, identified=True)
ISSUER = Issuer(ROOT.certificate, ROOT.key)


@settings(max_examples=30)
@given(st.lists(st.integers(1, (1 << 159) - 1), max_size=20))
def test_the_same_as_the_library(serials: list[int]) -> None:
    der = published(ROOT, *serials)
    theirs = [one.serial_number for one in x509.load_der_x509_crl(der)]
    assert list(serials_of(frame_of(der))) == theirs == serials


def test_what_is_signed_is_what_the_library_means() -> None:
    der = published(ROOT, 7)
    crl, frame = x509.load_der_x509_crl(der), frame_of(der)
    assert bytes(frame.to_be_signed) == crl.tbs_certlist_bytes
    assert frame.signature == crl.signature
    assert frame.algorithm == frame.inner


def test_what_is_around_a_list_is_not_passed_over() -> None:
    der = published(ROOT, 7)
    for odd in (der + b"\0", der[:-1], b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x81\x00"):
        with pytest.raises(Damaged):
            frame_of(odd)


def test_numbers_that_are_none() -> None:
    der = published(ROOT, 0x77777777)
    with pytest.raises(Strange) as raised:
        serials_of(frame_of(der.replace(b"\x77" * 4, b"\xf7" * 4, 1)))
    assert raised.value.kind == "serial"
    with pytest.raises(Damaged):
        serials_of(frame_of(der.replace(b"\x02\x04\x77", b"\x04\x04\x77", 1)))


@given(st.integers(0, 400), st.integers(0, 255))
def test_whatever_an_octet_is_it_ends(at: int, octet: int) -> None:
    der = bytearray(published(ROOT, 7, 8))
    der[at % len(der)] = octet
    with contextlib.suppress(Damaged, Strange):
        list(serials_of(frame_of(bytes(der))))


MEASURED = """
import sys, time
from pathlib import Path
from datetime import UTC, datetime
from cryptography import x509
from sealgate.pki.lists.judging import judge
def most():  # not ru_maxrss, which counts what this process was before exec
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
data = open(sys.argv[1], "rb").read()
issuer = x509.load_der_x509_certificate(open(sys.argv[2], "rb").read())
before = most()
begun = time.process_time()
found = judge(data, [issuer], point=None, before=None, now=datetime(2030, 3, 1, 12, tzinfo=UTC))
used = time.process_time() - begun
more = most() - before
print(len(data), len(found.serials), len(found.serials.packed), more, used)
"""


def test_a_million_entries(tmp_path: Path) -> None:
    """Asked of a fresh process: the memory of this one says nothing."""
    revoked = (Revoked((1 << 150) + number, NOW, x509.ReasonFlags.superseded) for number in range(1_000_000))
    (tmp_path / "list").write_bytes(sign_list(ISSUER, revoked, now=NOW).der)
    gc.collect()
    (tmp_path / "issuer").write_bytes(ROOT.certificate.public_bytes(Encoding.DER))
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "list"), str(tmp_path / "issuer")]
    said = subprocess.run(command, capture_output=True, check=True, timeout=120, text=True).stdout
    size, count, packed, more, used = said.split()
    print(f"{size} bytes, {used} s CPU, {more} KiB more")
    assert int(count) == 1_000_000
    assert int(size) > 45_000_000
    assert int(packed) == 20 * 1_000_000
    assert (
        int(more) < 100 * 1024
    )  # the packed numbers, twice for a moment; the library's objects would be 500 MiB
    assert float(used) < 30
