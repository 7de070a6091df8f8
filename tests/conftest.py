"""Holds for every test: a skipped one is a failed one.

A missing server, an old kernel, a package that is not installed: each must be seen, not hidden in a count.
`make test` installs what it may and names what it may not (tools/apt-packages.txt).

A test that failed while the machine itself stood still is asked again, at most twice, and the summary names
it (tests/machine.py says what that means). On a machine that ran, the first failure is the failure of that
run; tools/tests.py says what then.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.machine import Mark, Watch

# No deadline: several runs may share two cores. In CI always the same examples: a failure is the change's.
settings.register_profile("sealgate", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("sealgate")

# What Sealgate keeps outside of a state directory stays out of the cache of whoever runs the tests.
_CACHE = tempfile.TemporaryDirectory(prefix="sealgate-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name

_WATCH = pytest.StashKey[Watch]()
_AGAIN = 2


def pytest_sessionstart(session: pytest.Session) -> None:
    """Look at the machine from now on."""
    session.config.stash[_WATCH] = Watch()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End it with the tests."""
    session.config.stash[_WATCH].close()
    _CACHE.cleanup()


class _StoodStill:
    """Whether the machine did, while this test last ran."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.began = Mark.now()

    def __call__(self) -> bool:
        return self._watch.stood_still_since(self.began)


_STOOD_STILL = pytest.StashKey[_StoodStill]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ask again what the machine has disturbed."""
    for item in items:
        item.stash[_STOOD_STILL] = _StoodStill(config.stash[_WATCH])
        item.add_marker(pytest.mark.flaky(reruns=_AGAIN, condition=item.stash[_STOOD_STILL]))


MATRICES = {
    *("acme/test_killed", "acme/test_ninety_days", "live/test_acme", "live/test_clients", "live/test_limits"),
    *(
        "live/test_smuggling",
        "servers/test_addresses",
        "live/test_spoofing",
        "live/test_streams",
        "live/test_tls",
        "contract/test_access_log",
    ),
    *("contract/test_addresses", "contract/test_answers", "contract/test_asgi", "contract/test_challenges"),
    *("contract/test_clients", "contract/test_counts", "contract/test_http", "contract/test_limits"),
    *("contract/test_own_clients", "contract/test_plain", "contract/test_spoofing", "contract/test_tls"),
    *("contract/test_authorities", "contract/test_fetched_lists", "contract/test_long_lists"),
    *("contract/test_published", "contract/test_two_keys", "contract/test_upstream"),
    "live/test_installed_undone",
}
"""Whose long tests ask the same of further engines, policies and steps. `make test-long` runs these side by
side, and then the others, which load the machine or measure it, one by one."""


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Tell matrices from loads."""
    if "/".join(item.path.with_suffix("").parts[-2:]) in MATRICES:
        item.add_marker(pytest.mark.matrix)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Each attempt counts from its own beginning."""
    item.stash[_STOOD_STILL].began = Mark.now()


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and no test may skip here: {report.longrepr}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip in a test or fixture into a failure that keeps its reason."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped module (``importorskip``) into an error."""
    report = yield
    _fail_if_skipped(report)
    return report
