"""The list of revoked clients that the plain listeners serve: a file, one path, a few fields. Plain data.

The keeper replaces the file whole (``pki/clients/publishing.py``); every engine opens it when asked, so the
next answer is the list in force, one under way goes on with the list that it began with, and nobody has to be
told. It may have 50 MB (1,000,000 revoked): no engine holds it in memory. It is served as http-01's answers
are: before ``http.mode``, whatever Host says, to every address (why: ``policy/published.py``).

Neither ranges nor conditions are looked at. Two lists may be of one second and of one length, so that neither
a date nor a size tells one from the other, and half of each is a list of nobody's.
"""

from __future__ import annotations

from sealgate.policy.published import CONTENT_TYPE, FOLDER, FRESH, NAME, PATH

__all__ = ["CONTENT_TYPE", "FIELDS", "FILE", "FOLDER", "NAME", "PATH", "PLACE", "UNKNOWN"]

PLACE = "live/clients"
"""Directory of the file, relative to the state directory; not all that lies there is for others."""
FILE = f"{PLACE}/{NAME}"
UNKNOWN = "list-unknown"
"""The problem below :data:`FOLDER` where there is none."""

FIELDS = {"Cache-Control": f"max-age={FRESH}", "X-Content-Type-Options": "nosniff"}
"""Fields of the answer, beside the type."""
