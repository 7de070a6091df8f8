"""``make demo``: serve the example and print lines to paste.

Everything it makes stands in ``.make/demo``; Ctrl-C stops it, ``make clean`` removes it. Nothing on the
machine is made to trust the demo's root: the lines below name it with ``--cacert``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".make/demo"
READY = "sealgate: ready"


def _lines(root: str) -> str:
    """What to paste, given the path of the root's PEM file."""
    curl = f"curl --cacert {root}"
    order = '{"customer": "Ada", "lines": [{"sku": "TEA-1", "quantity": 2, "price_cents": 450}]}'
    return f"""
In a second terminal, from this folder:

  {curl} https://localhost:8443/health
  {curl} https://localhost:8443/orders --json '{order}'
  {curl} https://localhost:8443/orders
  {curl} https://localhost:8443/exports/orders
  {curl} --location http://localhost:8080/orders        # 308 to HTTPS
  curl https://localhost:8443/health                    # without the root: refused, as it should be

Ctrl-C stops it; `make clean` removes what it made.
"""


def main() -> int:
    """Run until stopped; the exit status is that of ``sealgate serve``."""
    STATE.parent.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).parent / "sealgate"), "serve", "--state", str(STATE)]
    server = subprocess.Popen(command, cwd=ROOT / "examples", stdout=subprocess.PIPE, text=True)

    def forward(number: int, _frame: FrameType | None) -> None:
        server.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    # A terminal sends Ctrl-C to both of us; ours is to wait until the server has drained.
    signal.signal(signal.SIGINT, signal.SIG_IGN if sys.stdin.isatty() else forward)
    if server.stdout is None:
        raise AssertionError("stdout was asked for as a pipe")
    for line in server.stdout:
        print(line, end="", flush=True)
        if line.startswith(READY):
            root = (STATE / "authorities/root/root.pem").relative_to(ROOT)
            print(_lines(str(root)), flush=True)
    return server.wait()


if __name__ == "__main__":
    sys.exit(main())
