"""`python -m sealgate`.

`-m` puts the current directory in front of everything: a file `click.py` there would be run instead of the
package, by the process that holds the keys. That directory is the app's, and only workers import from it.
"""

from __future__ import annotations

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - pathlib is another import
    del sys.path[0]

from sealgate.cli.main import main

if __name__ == "__main__":
    main()
