# SPDX-License-Identifier: Apache-2.0
"""A client of the MLPerf Tiny runner's protocol that shares no code with ours, and the habits of the real one.

It reads byte by byte and decodes each as UTF-8; a byte that cannot be decoded before any other kills it, a later one
repeats the one before. It takes any line that contains ``m-ready`` for the end of an answer, sends 31 bytes a command,
waits 5 s for a line and 30 s while an inference runs, and in performance mode asks for five windows of at least 10 s by
the board's own time stamps.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

LINE_S, INFER_S, WINDOW_S, LOOPS = 5.0, 30.0, 10.0, 5


class Line(Protocol):
    """What it needs of a serial line."""

    def write(self, data: bytes) -> None: ...

    def read(self, n_bytes: int, timeout_s: float) -> bytes: ...


class ProtocolError(AssertionError):
    """The device broke the protocol."""


@dataclass
class Inference:
    """What ``infer`` printed."""

    lines: list[str]
    laps_us: list[int]
    results: list[str] = field(default_factory=list)


class Dut:
    """The device under test.

    Parameters
    ----------
    line : Line
        Serial line.
    clock : callable, optional
        Time by which time-outs are judged [s], besides the line's own.
    """

    def __init__(self, line: Line, clock: Callable[[], float] | None = None) -> None:
        self._line, self._clock = line, clock
        self._char: str | None = None
        self.raw = bytearray()

    def _character(self, timeout_s: float) -> str:
        data = self._line.read(1, timeout_s)
        if not data:
            raise ProtocolError(f"no line within {timeout_s} s after {bytes(self.raw[-60:])!r}")
        self.raw += data
        try:
            self._char = data.decode("utf-8")
        except UnicodeDecodeError:
            if self._char is None:
                raise ProtocolError("the read thread has died: its first byte was not ASCII") from None
        assert self._char is not None
        return "" if self._char == "\0" else self._char

    def line(self, timeout_s: float = LINE_S) -> str:
        """Return the next line."""
        text, before_s = "", self._clock() if self._clock else 0.0
        while not text.endswith("\n"):
            text += self._character(timeout_s)
        if self._clock and self._clock() - before_s > timeout_s:
            raise ProtocolError(f"a line took {self._clock() - before_s:.1f} s: {text!r}")
        if not text.endswith("\r\n"):
            raise ProtocolError(f"a line does not end with CR LF: {text!r}")
        return text.rstrip("\r\n")

    def answer(self, timeout_s: float = LINE_S) -> list[str]:
        """Return lines up to the one that contains m-ready."""
        lines = []
        while True:
            line = self.line(timeout_s)
            if "m-ready" in line:
                if line != "m-ready":
                    raise ProtocolError(f"a line contains m-ready: {line!r}")
                return lines
            lines.append(line)

    def command(self, text: str, timeout_s: float = LINE_S) -> list[str]:
        """Send a command; return its answer."""
        self._line.write(text.encode("ascii") + b"%")
        return self.answer(timeout_s)

    # what the benchmark does

    def boot(self) -> str:
        """Read what the device says at power-up; return its mode."""
        lines = self.answer()
        mode = next((line for line in lines if line.startswith("m-timestamp-mode-")), "")
        if "m-init-done" not in lines:
            raise ProtocolError(f"no m-init-done at power-up: {lines}")
        return mode.removeprefix("m-timestamp-mode-")

    def _only(self, command: str, pattern: str) -> str:
        for line in self.command(command):
            if match := re.match(pattern, line):
                return match.group(1)
        raise ProtocolError(f"{command}% has no line like {pattern}")

    def name(self) -> str:
        return self._only("name", r"^m-name-dut-\[([^]]+)]$")

    def profile(self) -> str:
        return self._only("profile", r"^m-profile-\[([^]]+)]$")

    def model(self) -> str:
        return self._only("profile", r"^m-model-\[([^]]+)]$")

    def timestamp_us(self) -> int:
        return int(self._only("timestamp", r"^m-lap-us-(\d+)$"))

    def load(self, data: bytes) -> None:
        """Send an input."""
        if self.command(f"db load {len(data)}") != [f"m-[Expecting {len(data)} bytes]"]:
            raise ProtocolError("db load is not answered")
        lines: list[str] = []
        for start in range(0, len(data), 31):
            if lines:
                raise ProtocolError(f"db answers before all is there: {lines}")
            lines = self.command(f"db {data[start : start + 31].hex()}")
        if lines != ["m-load-done"]:
            raise ProtocolError(f"m-load-done is missing: {lines}")

    def infer(self, runs: int, warm_ups: int) -> Inference:
        """Run inferences."""
        lines = self.command(f"infer {runs} {warm_ups}", INFER_S)
        laps = [int(match.group(1)) for line in lines if (match := re.match(r"^m-lap-us-(\d+)$", line))]
        skeleton = [line for line in lines if not line.startswith("m-lap-us-")]
        expected = [f"m-warmup-start-{warm_ups}", "m-warmup-done", f"m-infer-start-{runs}", "m-infer-done"]
        if skeleton[:4] != expected or len(skeleton) != 5:
            raise ProtocolError(f"infer is answered by {skeleton}")
        match = re.match(r"^m-results-\[([^]]+)]$", skeleton[4])
        if match is None:
            raise ProtocolError(f"no results in {skeleton[4]!r}")
        if laps and lines.index(f"m-lap-us-{laps[0]}") != lines.index(f"m-infer-start-{runs}") + 1:
            raise ProtocolError("time stamps do not stand around the inferences")
        return Inference(lines, laps, match.group(1).split(","))

    def performance(self, data: bytes, warm_ups: int) -> float:
        """Run performance mode on one input; return its score [inferences/s]."""
        self.load(data)
        first = self.infer(1, 0).laps_us
        runs = -(-int(1.02 * WINDOW_S * 1e6) // (first[1] - first[0]))
        rates = []
        for _ in range(LOOPS):
            laps = self.infer(runs, warm_ups).laps_us
            if len(laps) != 2 or not WINDOW_S * 1e6 <= laps[1] - laps[0] < INFER_S * 1e6:
                raise ProtocolError(f"a window from {laps}: it must be {WINDOW_S} to {INFER_S} s long")
            rates.append(runs * 1e6 / (laps[1] - laps[0]))
        return statistics.median(rates)
