"""`python -m sealgate`."""

from __future__ import annotations

from sealgate.cli.main import main

if __name__ == "__main__":
    main()
