"""``gunicorn -c python:sealgate.gunicorn orders:app``: your own command line, the policy's HTTPS.

Gunicorn takes its settings from this module: they come from ``sealgate.toml`` (or the file that
``SEALGATE_CONFIG`` names), certificate and client authorities from the state directory, where ``sealgate
serve`` or ``sealgate cert`` put them. Workers, threads, logging and the like stay yours. A configuration file
of your own begins with ``from sealgate.gunicorn import *``.

Imported by anything but Gunicorn it holds nothing.
"""

from __future__ import annotations

import sys

if "gunicorn.app.base" in sys.modules:
    from sealgate.runtime.inside.gunicorn.own import configured

    globals().update(configured())
