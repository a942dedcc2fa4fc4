"""A chart of ratios as SVG: horizontal bars from the line at 1, on a logarithmic scale."""

import math
import re
from xml.sax.saxutils import escape

LEFT, WIDTH, RIGHT = 240, 520, 60  # labels, bars, numbers
TOP, LINE = 78, 16
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
BETTER, WORSE = "#2a7f62", "#c0503a"
STYLE = "text{font:11px sans-serif;fill:#222}.t{font-size:14px;font-weight:bold}.r{text-anchor:end}"
STYLE += ".m{text-anchor:middle}line{stroke:#ccc}.one{stroke:#222}.s{stroke:#222;opacity:.6}"


def draw(title, subtitle, bars, more_is_better=False):
    """`bars` are (label, ratio, lowest, highest), from top to bottom."""
    values = [1.0] + [value for bar in bars for value in bar[1:]]
    low = max(tick for tick in TICKS if tick <= max(min(values), TICKS[0]))
    high = min(tick for tick in TICKS if tick >= min(max(values), TICKS[-1]))
    if low == high:
        high = 2

    def x(value):
        value = min(max(value, low), high)
        return LEFT + WIDTH * math.log(value / low) / math.log(high / low)

    bottom = TOP + LINE * len(bars)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}"'
        f' height="{bottom + 20}"><style>{STYLE}</style>',
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text class="t" x="10" y="22">{escape(title)}</text>'
        f'<text x="10" y="42">{escape(subtitle)}</text>',
    ]
    for tick in TICKS:
        if low <= tick <= high:
            kind = ' class="one"' if tick == 1 else ""
            out.append(
                f'<line{kind} x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 6}" y2="{bottom}"/>'
                f'<text class="m" x="{x(tick):.1f}" y="{TOP - 10}">{tick:g}</text>'
            )
    for number, (label, ratio, lowest, highest) in enumerate(bars):
        y = TOP + LINE * number
        middle = y + LINE / 2
        left, right = sorted((x(1), x(ratio)))
        out.append(
            f'<text class="r" x="{LEFT - 8}" y="{y + 12}">{escape(label)}</text>'
            f'<rect x="{left:.1f}" y="{y + 2}" width="{right - left:.1f}" height="{LINE - 4}"'
            f' fill="{BETTER if ratio == 1 or (ratio > 1) == more_is_better else WORSE}"/>'
            f'<line class="s" x1="{x(lowest):.1f}" x2="{x(highest):.1f}" y1="{middle}" y2="{middle}"/>'
            f'<text x="{LEFT + WIDTH + 8}" y="{y + 12}">{ratio:.2f}</text>'
        )
    return "\n".join(out) + "\n</svg>\n"


def stack(charts):
    """One drawing of several, from top to bottom."""
    height = 0
    out = []
    for chart in charts:
        out.append(chart.replace("<svg ", f'<svg y="{height}" ', 1))
        height += int(re.search(r' height="(\d+)"', chart)[1])
    size = f'width="{LEFT + WIDTH + RIGHT}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{"".join(out)}</svg>\n'
