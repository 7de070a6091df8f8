"""One certificate's status, asked of whom its authority names (OCSP, RFC 6960). See docs/design/ocsp.md.

``points`` (who is asked), ``asking`` (the question), ``judging`` (does an answer count), ``cache`` (what is
known, and what is asked next). ``reading`` and ``der`` take an answer apart, ``responder`` says who may sign
one. All of these are pure; ``_system/fetch.py`` asks.
"""

from __future__ import annotations
