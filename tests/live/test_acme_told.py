"""What an authority says is told to people: in the log, by commands, in the status; and then it is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate.monitor.judge import judge
from sealgate.monitor.snapshot import Snapshot, from_json
from tests.acme.fake import Fake, fake_authority, problem
from tests.live.served import Served, serve
from tests.live.test_acme import GOT, NAME, sealgate

TERMS = "https://ca.example/terms/2"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Fake]:
    folder = tmp_path / "fake"
    folder.mkdir()
    with fake_authority(folder) as fake:
        yield fake


def test_come_back_later_and_somebody_must_agree(tmp_path: Path, authority: Fake) -> None:
    later = problem("rateLimited", 429, headers={"Retry-After": "7200"}, detail="too many certificates")
    authority.odd["/order"] = lambda _asked: later
    account = {"directory": authority.authority().directory, "ca_file": str(authority.ca_file)}
    with serve(
        tmp_path, app="ops:app", site={"names": [NAME]}, certificate={"source": "acme", "acme": account}
    ) as served:
        served.wait_for(lambda: "no certificate from ACME" in served.err, 60)
        assert "warning: no certificate from ACME: acme-rate-limited" in served.err
        assert '"too many certificates"' in served.err
        again, alerts = told(served)
        assert "acme-rate-limited" in again
        assert " until 20" in again, "the time"
        assert {"certificate-missing", "renewal-failing"} <= alerts
        asked = authority.count("/order")
        due = sealgate(served, "cert", "renew", "--if-due")
        assert "acme-rate-limited" in due.stderr + due.stdout
        assert authority.count("/order") == asked, "the authority's own word is heeded"

        agree = problem("userActionRequired", 403, instance=TERMS, detail="terms changed")
        authority.odd["/order"] = lambda _asked: agree
        refused = sealgate(served, "cert", "renew")
        assert refused.returncode == 3
        assert "acme-action-required" in refused.stderr
        assert TERMS in refused.stderr.replace("\n", "").replace(" ", "")
        assert TERMS in told(served)[0]

        del authority.odd["/order"]
        done = sealgate(served, "cert", "renew")
        assert done.returncode == 0, done.stderr
        served.wait_for(lambda: GOT in served.err)
        assert not told(served)[1] & {"certificate-missing", "renewal-failing"}


def told(served: Served) -> tuple[str, set[str]]:
    """The last renewal and the alerts, as `status` has them."""
    found = from_json(Snapshot, served.order(order="status")["snapshot"])
    last = found.renewals[0]
    return f"{last.code}: {last.fact}", {one.code for one in judge(found, found.at)}
