"""The OpenAPI document of a policy, read and proven: a mistake in it is told before anything serves by it."""

from __future__ import annotations

from typing import Any

from sealgate.errors import PolicyError
from sealgate.policy.load import Loaded
from sealgate.policy.openapi.document import read
from sealgate.policy.openapi.mistakes import Unusable
from sealgate.policy.openapi.operations import operations_of

__all__ = ["described"]


def described(loaded: Loaded) -> dict[str, Any] | None:
    """What its operations take, as data for the guard; None: the policy names no document.

    Raises:
        PolicyError: ``openapi-unusable``.
    """
    wanted = loaded.policy.validation
    if not wanted.openapi:
        return None
    from sealgate.guard.validation.validator import Validation

    path = loaded.base / wanted.openapi
    try:
        operations = operations_of(read(path))
        Validation({"mode": wanted.mode, "unknown": wanted.unknown, **operations})
    except OSError as error:
        fact, remedy = f"cannot be read ({error.strerror})", "put the API's OpenAPI document there"
    except Unusable as error:
        fact, remedy = f"{error.where or 'as a whole'} {error.fact}", error.remedy
    except ValueError as error:
        fact, remedy = f"has a schema that cannot be used: {error}", "mend the schema"
    else:
        return operations
    raise PolicyError("openapi-unusable", f"{path}: {fact}", remedy, path=str(path))
