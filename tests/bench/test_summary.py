from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from bench.chart import draw
from bench.load import Handshakes, Negotiated, Requests, Waits
from bench.machine import BenchError
from bench.run import Memory, Sample
from bench.summary import (
    BASE_HANDSHAKE,
    BASE_REQUEST,
    OURS,
    PAIRS,
    Spread,
    Target,
    ratios,
    spread,
    summarise,
    targets,
    unit_costs,
)

_LOOK = Negotiated("TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519", "ECDSA 256", 2)


def sample(
    row: str, number: int, *, request: float = 1e-4, handshake: float = 5e-4, ready: float = 1.0
) -> Sample:
    return Sample(
        row=row,
        round=number,
        ready=ready,
        request_cpu=request,
        handshake_cpu=handshake,
        requests=Requests(1000, 32, 2.0, 0.001, 0.002),
        handshakes=Handshakes(100),
        waits=Waits(0.003, 0.004),
        negotiated=_LOOK,
        disturbed=0.0,
    )


def test_two_mixtures_give_both_unit_costs() -> None:
    request, handshake = 80e-6, 400e-6
    load = (20_000, 32, 20_000 * request + 32 * handshake)
    shake = (600, 600, 600 * request + 600 * handshake)
    found = unit_costs(load, shake)
    assert math.isclose(found[0], request)
    assert math.isclose(found[1], handshake)


def test_two_equal_mixtures_are_refused() -> None:
    with pytest.raises(BenchError, match="same mixture"):
        unit_costs((100, 100, 1.0), (50, 50, 0.5))


def test_a_spread_is_median_least_and_greatest() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)


def test_ratios_compare_within_a_round_only() -> None:
    # The second round was twice as slow for both: the ratio must not see it.
    ours = [sample("a", 0, request=1.0), sample("a", 1, request=2.0)]
    base = [sample("b", 0, request=2.0), sample("b", 1, request=4.0)]
    assert ratios(ours, base, lambda one: one.request_cpu) == Spread(0.5, 0.5, 0.5)


def test_without_the_base_there_is_no_ratio() -> None:
    (line,) = summarise([sample(OURS, 0)], [], {OURS: "ours"})
    assert line.request_ratio is None
    assert all(target.met is not False for target in targets([line]))


@pytest.mark.parametrize(
    ("request_cpu", "handshake_cpu", "ready", "met"),
    (
        (0.39, 0.89, 2.4, [True, True, True]),
        (0.41, 0.89, 2.4, [False, True, True]),
        (0.39, 0.91, 2.4, [True, False, True]),
        (0.39, 0.89, 2.6, [True, True, False]),
    ),
)
def test_targets_are_judged_by_medians(
    request_cpu: float, handshake_cpu: float, ready: float, met: list[bool]
) -> None:
    samples = [
        sample(OURS, 0, request=request_cpu, handshake=handshake_cpu, ready=ready),
        sample(BASE_REQUEST, 0, request=1.0, handshake=1.0),
        sample(BASE_HANDSHAKE, 0, request=1.0, handshake=1.0),
    ]
    lines = summarise(samples, [], {OURS: "ours", BASE_REQUEST: "g", BASE_HANDSHAKE: "n"})
    assert [target.met for target in targets(lines)][:3] == met


def test_a_row_that_was_not_run_is_neither_met_nor_missed() -> None:
    assert Target("x", 1.0, None).met is None
    assert {target.met for target in targets([])} == {None}


@pytest.mark.parametrize("row", PAIRS)
@pytest.mark.parametrize(("request_cpu", "met"), [(1.09, True), (1.11, False)])
def test_an_engine_beside_the_same_server_without_us(row: str, request_cpu: float, met: bool) -> None:
    samples = [sample(row, 0, request=request_cpu), sample(PAIRS[row], 0, request=1.0)]
    lines = summarise(samples, [], {row: "ours", PAIRS[row]: "theirs"})
    verdicts = {target.what: target.met for target in targets(lines)}
    assert verdicts[f"CPU per request, {row} / {PAIRS[row]}"] is met


@pytest.mark.parametrize(("handshake", "met"), [(0.49, True), (0.51, False)])
def test_gunicorns_handshake(handshake: float, met: bool) -> None:
    samples = [sample("engine-gunicorn", 0, handshake=handshake), sample("gunicorn", 0, handshake=1.0)]
    lines = summarise(samples, [], {"engine-gunicorn": "ours", "gunicorn": "theirs"})
    assert targets(lines)[-1].met is met


def test_memory_is_scaled_to_ten_thousand_connections() -> None:
    memory = Memory("a", 500, peak=90, before=1_000_000, after=2_000_000)
    (line,) = summarise([sample("a", 0)], [memory], {"a": "A"})
    assert line.idle == 20_000_000
    assert line.memory == 90


def test_the_chart_is_xml_with_a_bar_for_each_row_and_hostile_titles_escaped() -> None:
    titles = {OURS: "ours", "b": "<b> & 'co'"}
    lines = summarise([sample(OURS, 0), sample("b", 0, request=3e-4)], [], titles)
    root = ET.fromstring(draw(lines, "caption <&>"))  # noqa: S314 - we have just written it
    space = "{http://www.w3.org/2000/svg}"
    bars = root.findall(f"{space}rect")
    assert len(bars) == 4
    assert "<b> & 'co'" in [text.text for text in root.findall(f"{space}text")]
    widths = [float(bar.attrib["width"]) for bar in bars[:2]]
    assert math.isclose(widths[1] / widths[0], 3.0, rel_tol=0.01)
