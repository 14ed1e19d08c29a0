# SPDX-License-Identifier: Apache-2.0
"""The host's side of the MLPerf Tiny runner's ASCII protocol. PROTOCOL.md §2."""

from __future__ import annotations

import re
import time

from joulet.errors import LinkError
from joulet.link.port import Port

_LINE_BYTES = 65536
_MOST_LINES = 4000  # of one answer; a foreign firmware may chatter for ever
_HEX_BYTES = 31  # of one `db` command: the device's line holds 80 characters


class Runner:
    """Speaks to a board in ASCII mode.

    Parameters
    ----------
    port : Port
        Open line.
    timeout_s : float
        For each line; ``infer`` has its own [s].
    """

    def __init__(self, port: Port, timeout_s: float = 5.0) -> None:
        self.port, self.timeout_s = port, timeout_s
        self._held = b""
        self.received = 0

    def clear(self, quiet_s: float = 0.1) -> bytes:
        """Drop what the board has sent; return it."""
        dropped, self._held = self._held, b""
        end_s, most = time.monotonic() + self.timeout_s, self.received + 4 * _LINE_BYTES
        while time.monotonic() < end_s and self.received < most and (data := self._read(quiet_s)):
            dropped = (dropped + data)[-_LINE_BYTES:]
        return dropped

    def _read(self, timeout_s: float) -> bytes:
        data = self.port.read(4096, timeout_s)
        self.received += len(data)
        return data

    def line(self, timeout_s: float | None = None) -> str:
        """Return the next line without its end; bytes that are no ASCII are dropped.

        Raises
        ------
        LinkError
            If none comes in time.
        """
        wait_s = self.timeout_s if timeout_s is None else timeout_s
        end_s = time.monotonic() + wait_s
        while b"\n" not in self._held:
            data = self._read(max(0.0, end_s - time.monotonic()))
            self._held += data
            if not data or len(self._held) > _LINE_BYTES or time.monotonic() > end_s:
                self._held = b""
                raise LinkError(
                    f"no answer within {wait_s:g} s: is the firmware of joulet on the board, at 115200 baud?"
                )
        raw, self._held = self._held.split(b"\n", 1)
        return raw.decode("ascii", "ignore").strip("\r\0")

    def command(self, text: str, timeout_s: float | None = None) -> list[str]:
        """Send a command; return the lines of its answer, without the last, ``m-ready``.

        Raises
        ------
        LinkError
            If the answer does not end in time.
        """
        self.port.write(text.encode("ascii") + b"%")
        lines: list[str] = []
        while len(lines) < _MOST_LINES:
            line = self.line(timeout_s)
            if line == "m-ready":
                return lines
            lines.append(line)
        raise LinkError("the board prints without end: another firmware?")

    def name(self) -> str:
        """Return the vendor's name from ``name%``."""
        for line in self.command("name"):
            match = re.fullmatch(r"m-name-dut-\[([^]]+)]", line)
            if match:
                return match.group(1)
        raise LinkError("the board answers, but not with m-name-dut: another firmware?")

    def model(self) -> str:
        """Return the model of ``profile%``."""
        for line in self.command("profile"):
            match = re.fullmatch(r"m-model-\[([^]]+)]", line)
            if match:
                return match.group(1)
        raise LinkError("the board names no model")

    def timestamp_us(self) -> int:
        """Return the board's time [us]."""
        for line in self.command("timestamp"):
            match = re.fullmatch(r"m-lap-us-(\d+)", line)
            if match:
                return int(match.group(1))
        raise LinkError("the board gives no time stamp; is it in energy mode?")

    def load(self, data: bytes) -> None:
        """Send one input.

        Raises
        ------
        LinkError
            If the board refuses its size or does not report the end.
        """
        lines = self.command(f"db load {len(data)}")
        if f"m-[Expecting {len(data)} bytes]" not in lines:
            raise LinkError(f"the board refuses an input of {len(data)} bytes: {' '.join(lines)}")
        for start in range(0, len(data), _HEX_BYTES):
            lines = self.command(f"db {data[start : start + _HEX_BYTES].hex()}")
        if lines != ["m-load-done"]:
            raise LinkError(f"the board did not take the input: {' '.join(lines) or 'no m-load-done'}")

    def infer(self, runs: int, warm_up: int = 10, timeout_s: float = 30.0) -> tuple[float, list[float]]:
        """Run inferences; return (microseconds of all, results)."""
        laps: list[int] = []
        results: list[float] | None = None
        for line in self.command(f"infer {runs} {warm_up}", timeout_s):
            if match := re.fullmatch(r"m-lap-us-(\d+)", line):
                laps.append(int(match.group(1)))
            elif match := re.fullmatch(r"m-results-\[([^]]*)]", line):
                try:
                    results = [float(number) for number in match.group(1).split(",")]
                except ValueError:
                    raise LinkError(f"the board's results are no numbers: {match.group(1)[:80]}") from None
            elif line.startswith("e-["):
                raise LinkError(f"the board refuses: {line[3:-1]}")
        if results is None or len(laps) not in (0, 2):
            raise LinkError("the board's answer to infer lacks results or time stamps")
        return (float(laps[1] - laps[0]) if laps else float("nan")), results
