"""What is wrong with a document."""

from __future__ import annotations

__all__ = ["Unusable", "pointer"]


class Unusable(ValueError):
    """A document by which nobody can validate.

    Attributes:
        where: JSON Pointer (RFC 6901) into the document; empty: all of it.
        fact: what is wrong, a part of a sentence.
        remedy: what to do.
    """

    def __init__(self, where: str, fact: str, remedy: str) -> None:
        super().__init__(f"{where or 'the document'}: {fact}; {remedy}")
        self.where, self.fact, self.remedy = where, fact, remedy


def pointer(*tokens: object) -> str:
    """RFC 6901 §3."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)
