# SPDX-License-Identifier: Apache-2.0
"""Tell how long work goes on: one line that moves on a terminal, events as JSON Lines elsewhere."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TextIO

from joulet.units import format_time

_EVERY_S = 1.0


class Progress:
    """Tells of tasks on a stream, and in a file if there is one.

    Events are objects with ``event`` (``task_begin``, ``task_progress``, ``task_end`` or ``log``), ``time_s`` since the
    beginning, and ``task`` with ``done`` and ``total``, or ``level`` and ``message``; more keys may follow.

    Parameters
    ----------
    stream
        Where to tell, such as stderr.
    live
        The stream is a terminal: keep one line up to date instead of writing events.
    file
        Gets the events either way, appended.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self, stream: TextIO, *, live: bool, file: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._live, self._clock = stream, live, clock
        self._file = file.open("a", encoding="utf-8") if file is not None else None
        self._began_s = clock()
        self._told_s: dict[str, float] = {}
        self._titles: dict[str, str] = {}
        self._line = ""

    def begin(self, task: str, total: float, title: str = "", **facts: object) -> None:
        """Begin a task of ``total`` steps; ``title`` is for people."""
        self._titles[task] = title or task
        self._event("task_begin", {"task": task, "done": 0, "total": total, "title": title or task, **facts})
        self._show(f"{self._titles[task]} …")

    def advance(
        self, task: str, done: float, total: float, *, said: str = "", always: bool = False, **facts: object
    ) -> None:
        """Tell how far a task is; at most once a second unless ``always``. ``said`` is for people."""
        now_s = self._clock()
        if always or now_s - self._told_s.get(task, -_EVERY_S) >= _EVERY_S:
            self._told_s[task] = now_s
            self._event("task_progress", {"task": task, "done": done, "total": total, **facts})
            self._show(f"{self._titles.get(task, task)} {said or format(done / max(total, 1e-9), '.0%')}")

    def end(self, task: str, **facts: object) -> None:
        """End a task."""
        self._event("task_end", {"task": task, **facts})
        self._show("")

    def log(self, level: str, message: str, **facts: object) -> None:
        """Say something; ``level`` is ``info``, ``warning`` or ``error``."""
        self._event("log", {"level": level, "message": message, **facts})
        if self._live:
            line = self._line
            self._show("")
            print(f"joulet: {level}: {message}", file=self._stream)
            self._show(line)

    def time_s(self) -> float:
        """Return seconds since the beginning."""
        return self._clock() - self._began_s

    def _event(self, event: str, facts: dict[str, object]) -> None:
        text = json.dumps({"event": event, "time_s": round(self.time_s(), 3), **facts})
        for sink in (self._file, None if self._live else self._stream):
            if sink is not None:
                print(text, file=sink, flush=True)

    def _show(self, line: str) -> None:
        if self._live:
            fitting = line[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be taken back
            print(f"\r\x1b[K{fitting}", end="", file=self._stream, flush=True)
            self._line = line

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show("")
        if self._file is not None:
            self._file.close()


def left_over(elapsed_s: float, done: float, total: float) -> tuple[float | None, str]:
    """Return what is left [s] and as words, when ``done`` of ``total`` took so long; None before anything is done."""
    if done <= 0.0:
        return None, ""
    eta_s = elapsed_s * max(total - done, 0.0) / done
    return round(eta_s, 1), f", about {format_time(max(round(eta_s), 1))} left" if eta_s > 0.0 else ""
