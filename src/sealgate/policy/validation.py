"""``[validation]``: requests are what the API's own description says."""

from __future__ import annotations

from typing import Literal

from sealgate.policy.base import Model
from sealgate.policy.values import File

__all__ = ["Validation"]


class Validation(Model):
    """Requests are judged by an OpenAPI document, last before the app."""

    openapi: File = ""
    """OpenAPI 3.0 or 3.1, YAML or JSON; empty: nothing is validated. Read at start and at each reload."""
    mode: Literal["enforce", "report"] = "enforce"
    """report: what is not right passes, and stands in the log."""
    unknown: Literal["refuse", "pass"] = "refuse"
    """What the document does not name. pass: it reaches the app, unjudged."""
