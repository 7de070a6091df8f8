"""What a certificate is called by: in the store, on lists, on screens."""

from __future__ import annotations

import pytest

from sealgate.pki.inspect import number_text


@pytest.mark.parametrize(
    ("serial", "text"), ((1, "01"), (0xABC, "0ABC"), (0x1234, "1234"), (2**127, "8" + "0" * 31))
)
def test_serials_are_whole_bytes(serial: int, text: str) -> None:
    """On a list as in the store: they are compared."""
    assert number_text(serial) == text
