"""Holds for every test: a skipped one is a failed one.

A missing server, an old kernel, a package that is not installed: each must be seen, not hidden in a count.
`make test` installs what it may and names what it may not (tools/apt-packages.txt).
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# No deadline: several runs may share two cores. In CI always the same examples: a failure is the change's.
settings.register_profile("sealgate", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("sealgate")


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
