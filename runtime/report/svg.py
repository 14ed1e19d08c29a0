# SPDX-License-Identifier: Apache-2.0
"""Small drawing functions that return SVG text: enough for a report, and nothing to install.

Coordinates are pixels of the drawing's own view box, y downwards; a :class:`Frame` maps data to them. Colours are
chosen to differ in lightness too, so that the plots survive a grey print and colour-blind eyes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

INK = "#17212e"
MUTED = "#566273"
GRID = "#e3e8ee"
SUN = "#e9a820"
SUN_FILL = "#fbe6b4"
ALARM = "#c8372d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A rectangle of the drawing and the data range that it shows; ``y_low`` is at its bottom."""

    left: float
    top: float
    width: float
    height: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        """Return the horizontal pixel of ``value``."""
        span = self.x_high - self.x_low
        return self.left + self.width * ((value - self.x_low) / span if span else 0.0)

    def y(self, value: float) -> float:
        """Return the vertical pixel of ``value``."""
        span = self.y_high - self.y_low
        return self.top + self.height * (1.0 - ((value - self.y_low) / span if span else 0.0))

    @property
    def bottom(self) -> float:
        """Pixel of the lower edge."""
        return self.top + self.height

    @property
    def right(self) -> float:
        """Pixel of the right edge."""
        return self.left + self.width


def ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Return about ``count`` round values from ``low`` to ``high``, both inside."""
    if not high > low:
        return (low,)
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def number(value: float) -> str:
    """Return a pixel coordinate in few characters."""
    return f"{value:.1f}".removesuffix(".0")


def label(value: float) -> str:
    """Return a tick value for people."""
    return f"{value:.6g}"


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "tick") -> str:
    """Return a line of text; ``kind`` is a class of the page's style sheet."""
    return (
        f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}" class="{kind}">'
        f"{html.escape(content, quote=False)}</text>"
    )


def rect(x: float, y: float, width: float, height: float, fill: str, *, title: str = "", opacity: float = 1.0) -> str:
    """Return a filled rectangle, with ``title`` shown under the pointer."""
    shade = f' fill-opacity="{opacity:.2f}"' if opacity < 1.0 else ""
    box = f'<rect x="{number(x)}" y="{number(y)}" width="{number(max(width, 0.0))}" height="{number(height)}"'
    return f'{box} fill="{fill}"{shade}>{hover(title)}</rect>' if title else f'{box} fill="{fill}"{shade}/>'


def hover(title: str) -> str:
    """Return the element that a browser shows under the pointer."""
    return f"<title>{html.escape(title, quote=False)}</title>" if title else ""


def line(points: Iterable[tuple[float, float]], stroke: str, *, width: float = 1.6, dash: str = "") -> str:
    """Return an open line through pixel points."""
    path = _path(points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{number(width)}" '
        f'stroke-linejoin="round" stroke-linecap="round"{dashes}/>'
    )


def area(points: Sequence[tuple[float, float]], floor: float, fill: str, *, opacity: float = 1.0) -> str:
    """Return the surface between pixel points and the pixel line ``floor``."""
    if not points:
        return ""
    closed = [(points[0][0], floor), *points, (points[-1][0], floor)]
    return f'<path d="{_path(closed)}Z" fill="{fill}" fill-opacity="{opacity:.2f}"/>'


def steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of a line whose value holds until the next point."""
    corners: list[tuple[float, float]] = []
    for index, (x, y) in enumerate(points):
        if index:
            corners.append((x, points[index - 1][1]))
        corners.append((x, y))
    return corners


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def mark(x: float, y: float, fill: str, *, shape: str = "circle", size: float = 6.0, title: str = "") -> str:
    """Return a point: circle, ring, square or diamond."""
    if shape == "ring":
        style = f'fill="#fff" stroke="{fill}" stroke-width="2"'
        return f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(size)}" {style}>{hover(title)}</circle>'
    style = f'fill="{fill}" stroke="#fff" stroke-width="1.5"'
    if shape == "circle":
        return f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(size)}" {style}>{hover(title)}</circle>'
    half = size * (1.25 if shape == "diamond" else 0.95)
    corners = (
        ((x, y - half), (x + half, y), (x, y + half), (x - half, y))
        if shape == "diamond"
        else ((x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half))
    )
    return f'<path d="{_path(corners)}Z" {style}>{hover(title)}</path>'


def y_axis(frame: Frame, values: Sequence[float], title: str, *, as_label: Sequence[str] | None = None) -> str:
    """Return horizontal grid lines with their values at the left and ``title`` above them."""
    names = as_label or [label(value) for value in values]
    parts = []
    for value, name in zip(values, names, strict=True):
        y = frame.y(value)
        parts.append(line([(frame.left, y), (frame.right, y)], GRID, width=1))
        parts.append(text(frame.left - 8, y + 4, name, anchor="end"))
    if title:
        parts.append(text(frame.left - 8, frame.top - 10, title, anchor="start", kind="axis"))
    return "".join(parts)


def x_axis(frame: Frame, values: Sequence[float], title: str, *, as_label: Sequence[str] | None = None) -> str:
    """Return ticks and values below the frame, and ``title`` below these."""
    names = as_label or [label(value) for value in values]
    parts = [line([(frame.left, frame.bottom), (frame.right, frame.bottom)], "#9aa7b5", width=1)]
    for value, name in zip(values, names, strict=True):
        x = frame.x(value)
        parts.append(line([(x, frame.bottom), (x, frame.bottom + 4)], "#9aa7b5", width=1))
        parts.append(text(x, frame.bottom + 18, name, anchor="middle"))
    if title:
        parts.append(text(frame.right, frame.bottom + 36, title, anchor="end", kind="axis"))
    return "".join(parts)


def drawing(width: float, height: float, body: str, *, summary: str) -> str:
    """Return a whole ``<svg>``; ``summary`` is what a screen reader says."""
    return (
        f'<svg viewBox="0 0 {number(width)} {number(height)}" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'aria-label="{html.escape(summary)}">{body}</svg>'
    )


def mix(low: str, high: str, share: float) -> str:
    """Return the colour ``share`` (0..1) of the way from ``low`` to ``high``, both ``#rrggbb``."""
    share = min(max(share, 0.0), 1.0)
    channels = (round(int(low[i : i + 2], 16) * (1 - share) + int(high[i : i + 2], 16) * share) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in channels)
