from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sealgate.runtime.obtaining import Obtaining


def test_what_could_not_be_written_is_known_to_the_next_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a full disk would have an authority asked at every look."""
    nobody: Any = None
    obtaining = Obtaining(nobody, nobody, nobody)
    monkeypatch.setattr(
        Obtaining, "_renewer", lambda *_: SimpleNamespace(history="of the file", kept=True), raising=True
    )

    def fails(renewer: Any) -> Any:
        renewer.history, renewer.kept = "tried", False
        return renewer.history

    def looks(renewer: Any) -> Any:
        return renewer.history

    def writes(renewer: Any) -> Any:
        renewer.kept = True
        return renewer.history

    works = (looks, fails, looks, looks, writes, looks)
    found = [obtaining._worked(work, nobody, nobody) for work in works]
    assert found == ["of the file", "tried", "tried", "tried", "tried", "of the file"]
