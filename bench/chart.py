"""The picture: a panel per question, a bar per row, a line over it for least and greatest. SVG, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.summary import Line, Spread

__all__ = ["draw"]

_WIDTH = 980
_LABELS = 320
_NUMBERS = 150
_BAR = 16
_STEP = 26
_HEAD = 54
_OURS = "#2563a8"
_OTHERS = "#9aa3ad"
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}"
    ".title{font-size:15px;font-weight:600}.small{font-size:11px;fill:#57606a}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9da7b1}}"
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One question and its bars: label, value, is it ours."""

    title: str
    unit: str
    bars: tuple[tuple[str, Spread, bool], ...]


def draw(lines: Sequence[Line], caption: str) -> str:
    """An SVG document that shows CPU per request and per handshake; less is better."""
    panels = (
        Panel("CPU per request", "µs", _bars(lines, handshakes=False)),
        Panel("CPU per full TLS 1.3 handshake", "µs", _bars(lines, handshakes=True)),
    )
    parts: list[str] = []
    top = 0
    for panel in panels:
        parts += _panel(panel, top)
        top += _HEAD + _STEP * len(panel.bars)
    height = top + 40
    parts.append(f'<text class="small" x="16" y="{height - 14}">{escape(caption)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" role="img"'
    title = "<title>CPU time of all server processes, per request and per handshake; less is better</title>"
    head += f' viewBox="0 0 {_WIDTH} {height}">'
    return "\n".join([head, title, f"<style>{_STYLE}</style>", *parts, "</svg>\n"])


def _bars(lines: Sequence[Line], *, handshakes: bool) -> tuple[tuple[str, Spread, bool], ...]:
    values = [
        (
            line.title,
            line.handshake_cpu if handshakes else line.request_cpu,
            line.row.startswith(("sealgate", "engine")),
        )
        for line in lines
    ]
    return tuple(sorted(values, key=lambda bar: bar[1].median))


def _panel(panel: Panel, top: int) -> list[str]:
    room = _WIDTH - _LABELS - _NUMBERS
    most = max((bar[1].high for bar in panel.bars), default=0) or 1.0
    title = escape(f"{panel.title} ({panel.unit}, less is better)")
    drawn = [f'<text class="title" x="16" y="{top + 32}">{title}</text>']
    for number, (label, value, ours) in enumerate(panel.bars):
        y = top + _HEAD + number * _STEP
        low, middle, high = (room * max(0.0, x) / most for x in (value.low, value.median, value.high))
        centre = y + _BAR / 2
        text = f"{value.median * 1e6:.0f} ({value.low * 1e6:.0f}-{value.high * 1e6:.0f})"
        colour = _OURS if ours else _OTHERS
        drawn += [
            f'<text x="{_LABELS - 10}" y="{y + 13}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{_LABELS}" y="{y}" width="{middle:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<path d="M{_LABELS + low:.1f} {centre}H{_LABELS + high:.1f}" stroke="#d1495b"/>',
            f'<text class="small" x="{_LABELS + room + 10}" y="{y + 12}">{text}</text>',
        ]
    return drawn
