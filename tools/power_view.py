# SPDX-License-Identifier: Apache-2.0
"""The live view of ``joulet power`` on a terminal, drawn by rich."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections import deque
from typing import Any

from joulet.errors import MissingDependencyError
from joulet.meters.seam import Reading
from joulet.meters.tally import Tally, total_w
from joulet.meters.watch import Happening
from joulet.units import format_quantity, format_time

_BARS = "▁▂▃▄▅▆▇█"
_DRAW_S = 0.1
_WIDE = 110  # columns from which there is room for bars


class _Keys:
    """Single keys from the terminal, where it is one."""

    def __init__(self) -> None:
        self._before: Any = None
        with contextlib.suppress(ImportError, OSError, ValueError):
            import termios
            import tty

            if sys.stdin.isatty():
                self._before = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin)

    def pressed(self) -> str:
        if self._before is None or not select.select([sys.stdin], [], [], 0)[0]:
            return ""
        return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace").lower()

    def close(self) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)


class View:
    """A table of rails that stays in place, the last events below it. ``update`` returns ``mark``, ``quit`` or nothing."""

    def __init__(self, began_s: float, window_s: float, console: Any = None) -> None:
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError as error:
            raise MissingDependencyError(
                "the live view needs rich: pip install 'joulet[ui]'; or pipe the output: joulet power | cat"
            ) from error
        self._began_s, self._window_s = began_s, window_s
        self._news: deque[Happening] = deque(maxlen=6)
        self._history: dict[tuple[str, str], deque[float]] = {}
        self._marked_s = began_s
        self._drawn_s = float("-inf")
        self._live = Live(console=console or Console(), auto_refresh=False)
        self._wide = self._live.console.width >= _WIDE
        self._live.start()
        self._keys = _Keys()

    def update(self, readings: list[tuple[str, Reading]], news: list[Happening], tally: Tally) -> str:
        """Draw what is new, at most ten times a second."""
        self._news.extend(news)
        for source, reading in readings:
            if reading.power_w is not None:
                self._history.setdefault((source, reading.rail), deque(maxlen=24)).append(reading.power_w)
        now_s = max((reading.time_s for _, reading in readings), default=self._drawn_s + _DRAW_S)
        if now_s - self._drawn_s >= _DRAW_S or news:
            self._drawn_s = now_s
            self._live.update(self._table(tally, now_s), refresh=True)
        key = self._keys.pressed()
        if key == "m":
            self._marked_s = now_s
        return {"m": "mark", "q": "quit"}.get(key, "")

    def _table(self, tally: Tally, now_s: float) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        title = f"min, mean, max over {format_time(self._window_s)}; energy since {format_time(max(0.0, now_s - self._marked_s))}"
        table = Table(title=title, caption="m marks, q ends", expand=False)
        for name in ("rail", "V", "A", "W", "min", "mean", "max", "energy", "quality", *([""] if self._wide else [])):
            table.add_column(name, justify="left" if name in ("rail", "", "quality") else "right", no_wrap=self._wide)
        figures = tally.figures()
        for source, f in figures:
            r = f.reading
            style = "" if r.counts else "dim"
            now = (None, None, None) if f.lost else (r.voltage_v, r.current_a, r.power_w)
            words = "does not answer" if f.lost else " ".join(r.quality.words())
            cells = [f.rail, *(_q(value, unit) for value, unit in zip(now, "VAW", strict=True)), _q(f.min_w, "W")]
            cells += [_q(f.mean_w, "W"), _q(f.max_w, "W"), _q(f.energy_j, "J"), words]
            if self._wide:
                cells.append(_spark(self._history.get((source, f.rail), ())))
            table.add_row(*cells, style=style)
        for source in dict.fromkeys(name for name, _ in figures):
            whole = total_w(figures, source)
            if whole is not None and sum(name == source for name, _ in figures) > 1:
                words = " ".join(whole[1].words())
                table.add_row(f"sum of {source}", "", "", _q(whole[0], "W"), "", "", "", "", words, style="bold")
        lines = [Text(f"{n.time_s - self._began_s:8.1f} s  {n.kind}: {n.source} {n.text}") for n in self._news]
        return Group(table, *lines)

    def finish(self, tally: Tally) -> None:
        """Leave the last table where it is."""
        self._live.update(self._table(tally, self._drawn_s), refresh=True)

    def close(self) -> None:
        """Give the terminal back."""
        self._keys.close()
        self._live.stop()


def _q(value: float | None, unit: str) -> str:
    return "-" if value is None else format_quantity(value, unit, digits=4)


def _spark(values: Any) -> str:
    """Return a line of bars from the least to the most."""
    points = list(values)
    if not points:
        return ""
    low, high = min(points), max(points)
    span = (high - low) or 1.0
    return "".join(_BARS[min(7, int(8 * (value - low) / span))] for value in points)
