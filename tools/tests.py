"""Runs the tests side by side; what fails among them is asked once more, alone, and named.

Usage: tools/tests.py [PYTEST ARGUMENT]...

Hundreds of servers on few cores disturb each other: a test that fails there and passes alone has seen the
machine, or a race that wants to be looked at. Such a run passes and says UNSTEADY with the test's name. More
than two failures are no accident, and a failure alone is a failure: exit status as pytest's. What runs one by
one (no -n) is asked once.

STEADY=1 asks nothing twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_MOST = 2
_FAILED = 1  # pytest: tests ran, and some failed


def main(arguments: list[str]) -> int:
    """Both runs; the exit status."""
    with tempfile.TemporaryDirectory(prefix="sealgate-tests-") as cache:
        status = _pytest(*arguments, "-o", f"cache_dir={cache}")
        failed = _failed(Path(cache))
    company = "-n" in arguments
    if not company or status != _FAILED or not 1 <= len(failed) <= _MOST or os.environ.get("STEADY"):
        return status
    print(f"\ntests: failed in company, asked once more alone: {len(failed)}", flush=True)
    status = _pytest("-n0", "-m", "", "--timeout=900", "-p", "no:cacheprovider", *failed)
    if status == 0:
        for name in failed:
            print(f"UNSTEADY {name}: failed in company, passed alone", flush=True)
    return status


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def _failed(cache: Path) -> list[str]:
    try:
        return sorted(json.loads((cache / "v/cache/lastfailed").read_bytes()))
    except (OSError, ValueError):
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
