"""What a start costs that nobody asked for."""

from __future__ import annotations

import subprocess
import sys

ACME = ("acme", "josepy", "requests", "dns", "OpenSSL", "sealgate.acme.client", "sealgate.acme.renewer")


def test_a_keeper_imports_what_speaks_acme_only_where_it_is_wanted() -> None:
    """It is half of all that there is to import."""
    code = (
        "import sys; import sealgate.cli.serve, sealgate.runtime.keeper;"
        f"print([m for m in {ACME} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
