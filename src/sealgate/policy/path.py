r"""What a canonical request target is, as one regular expression for engines (RE2 syntax).

The guard judges the same in ``guard/path.py``, step by step; a property test holds the two together.
An engine applies this one where it must: in front of upstreams that no guard stands in the process of, and
wherever a byte outside of it would make the hop behind the engine close a connection that others share.

The rules, over the raw target (path and query as received):

* it starts with ``/``; ``OPTIONS *`` is not in here, the engine passes it by method;
* a path is made of ``pchar`` (RFC 3986 §3.3), so every other byte must be percent-encoded;
* no empty segment, except a last one (``/orders/``); no ``.`` and ``..`` segment, and none that a server
  which cuts path parameters off would read as one (``..;x``, ``;x``);
* never encoded: ``/`` ``\`` ``.`` and control characters (C0, DEL, C1);
* encoded bytes above 127 are UTF-8 in shortest form, no surrogates (RFC 3629 §3);
* a query is any printable ASCII but ``"`` ``#`` ``<`` ``>``; what is encoded in it is the app's affair.
"""

from __future__ import annotations

__all__ = ["CANONICAL_PATH_RE2", "CARRIED_PATH_RE2"]

_CONTINUATION = "%[89aAbB][0-9a-fA-F]"
_UTF8 = "|".join(
    (
        "%[cC]2%[aAbB][0-9a-fA-F]",
        f"(?:%[cC][3-9a-fA-F]|%[dD][0-9a-fA-F]){_CONTINUATION}",
        f"%[eE]0%[aAbB][0-9a-fA-F]{_CONTINUATION}",
        f"%[eE][1-9a-cA-CeEfF](?:{_CONTINUATION}){{2}}",
        f"%[eE][dD]%[89][0-9a-fA-F]{_CONTINUATION}",
        f"%[fF]0%[9aAbB][0-9a-fA-F](?:{_CONTINUATION}){{2}}",
        f"%[fF][1-3](?:{_CONTINUATION}){{3}}",
        f"%[fF]4%8[0-9a-fA-F](?:{_CONTINUATION}){{2}}",
    )
)
# One octet, encoded: anything from %20 to %7E but %2E, %2F, %3B (a semicolon: see below) and %5C.
_ASCII = "%2[0-9a-dA-D]|%3[0-9aAc-fC-F]|%[46][0-9a-fA-F]|%5[0-9abABd-fD-F]|%7[0-9a-eA-E]"
_PLAIN = f"[a-zA-Z0-9_~!$&'()*+,=:@-]|{_ASCII}|{_UTF8}"
_ANY = rf"(?:[.;]|%3[bB]|{_PLAIN})"
_SEGMENT = rf"(?:\.?(?:{_PLAIN})|\.\.(?:\.|{_PLAIN})){_ANY}*"

CANONICAL_PATH_RE2 = rf"/(?:{_SEGMENT}(?:/{_SEGMENT})*/?)?(?:\?[!$-;=?-~]*)?"
"""Matches the whole of a canonical ``:path``. ASCII only; no anchors; for a *full* match."""

CARRIED_PATH_RE2 = r"[!#-;=@-_a-~]*(?:\?[!#-;=?-~]*)?"
"""Matches the whole of a ``:path`` that app workers can be handed at all.

At any other byte their HTTP parser resets the stream, or closes the connection that other requests share,
before the guard could say what is wrong.
"""
