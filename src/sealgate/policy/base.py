"""What every table of the policy is made from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Model"]


class Model(BaseModel):
    """Frozen, strict, and nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def as_word(self, name: str) -> str:  # noqa: ARG002 - of those that have some
        """The word that a file says for the value of this key; empty: it says the value itself."""
        return ""
