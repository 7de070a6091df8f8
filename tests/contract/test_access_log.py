"""What docs/reference/access-log.md says of each server is what it writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tests.contract.sites import Site, on
from tests.live.wire import get, tell
from tools.access_log_page import TIMES, keys


@on("usual")
def test_the_page_is_right(site: Site) -> None:
    tell(site.served, get("localhost", "/mark-of-the-log?x=y", "User-Agent: curl"))

    def line() -> dict[str, object]:
        whole = site.served.out[: site.served.out.rfind("\n") + 1]
        found = [one for one in whole.splitlines() if '"/mark-of-the-log"' in one]
        parsed: dict[str, object] = json.loads(found[-1]) if found else {}
        return parsed

    site.served.wait_for(lambda: bool(line()))
    said = line()
    assert said.keys() <= keys(site.engine)
    assert {"time", "address", "method", "host", "path", "protocol", "status", "milliseconds"} <= said.keys()
    assert {"received", "sent", "request_id", "user_agent", "tls", "cipher"} <= said.keys()
    sample, _ = TIMES[site.engine]
    text = str(said["time"])
    assert (len(text), text.endswith("Z"), "." in text) == (len(sample), sample.endswith("Z"), "." in sample)
    assert abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(minutes=5), (
        "in the zone it names"
    )


@on("tight")
def test_a_refused_request_stands_there_as_it_came(site: Site) -> None:
    """Not as the page that answers it: that one is another request within some servers."""
    line = "POST /mark-of-a-refusal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    (answer,) = tell(site.served, line.encode())
    assert answer.status == 413

    def logged() -> list[dict[str, object]]:
        whole = site.served.out[: site.served.out.rfind("\n") + 1]
        return [json.loads(one) for one in whole.splitlines() if '"/mark-of-a-refusal"' in one]

    site.served.wait_for(lambda: bool(logged()))
    assert [(one["method"], one["status"]) for one in logged()] == [("POST", 413)]
