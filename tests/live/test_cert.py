"""`sealgate cert` beside a running keeper: what was asked for is served when the command returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sealgate._system.clock import system_clock
from sealgate.engines.observe import handshake
from sealgate.pki.inspect import fingerprint
from sealgate.pki.keys import load_private
from sealgate.policy.model import Endpoint
from tests.live.conftest import Serve
from tests.live.served import Served
from tests.pki.making import DAY, make, write


def cert(served: Served, *words: str) -> tuple[int, Any, str]:
    command = [sys.executable, "-m", "sealgate", "cert", *words, "-c", str(served.policy), "--json"]
    done = subprocess.run(
        [*command, "--state", str(served.state)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def seen(served: Served) -> str:
    return handshake(Endpoint(served.host, served.https), served.host).fingerprint


def test_a_commercial_certificate_from_request_to_served(sealgate: Serve, tmp_path: Path) -> None:
    served: Served = sealgate(app="ops:app")
    names = served.tables["site"]["names"]
    status, asked, err = cert(served, "request")
    assert status == 0, err
    first, last = system_clock() - DAY, system_clock() + 9 * DAY
    ca = make("ca", ca=True, first=first, last=last)
    key = load_private(Path(asked["request"]).parent / "key.pem")
    one = make("one", ca, names=names, key=key, first=first, last=last)
    before = seen(served)
    status, told, err = cert(served, "import", str(write(tmp_path / "one.pem", one.pem + ca.pem)))
    assert (status, told["live"], seen(served)) == (0, False, before), err

    served.rewrite(certificate={"source": "files", "files": told["files"]})
    served.reload()
    assert seen(served) == fingerprint(one.certificate)

    two = make("two", ca, names=names, first=first, last=last)
    chain, own = write(tmp_path / "two.pem", two.pem), write(tmp_path / "two.key", two.key_pem)
    status, told, err = cert(served, "import", str(chain), "--key", str(own))
    assert (status, told["live"]) == (0, True), err
    assert seen(served) == fingerprint(two.certificate)

    wrong = make("three", ca, names=["other.test"], first=first, last=last)
    chain, own = write(tmp_path / "three.pem", wrong.pem), write(tmp_path / "three.key", wrong.key_pem)
    status, told, err = cert(served, "import", str(chain), "--key", str(own))
    assert (status, told["error"]["code"]) == (3, "certificate-names"), err
    assert seen(served) == fingerprint(two.certificate)

    # Nothing was asked for: the call is wrong, as it is where no server runs.
    status, told, err = cert(served, "import", str(chain))
    assert (status, told["error"]["code"]) == (2, "request-missing"), err
