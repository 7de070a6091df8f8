"""The JSON Schema (draft 2020-12) of the policy, for editors and for other people's checks.

It says what one key may hold. Combinations of keys are judged by ``rules`` alone: a policy that fits the
schema may still be refused by ``sealgate check``.
"""

from __future__ import annotations

from typing import Any

from sealgate.policy.model import Policy
from sealgate.policy.profiles import profile_ids

__all__ = ["policy_schema"]


def policy_schema() -> dict[str, Any]:
    """The schema as plain data."""
    schema = Policy.model_json_schema(mode="validation")
    schema["$defs"]["Tls"]["properties"]["profile"]["enum"] = list(profile_ids())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:sealgate:policy:1",
        **schema,
        "title": "sealgate.toml",
        "description": "One site's whole policy. An empty file is valid and strict.",
    }
