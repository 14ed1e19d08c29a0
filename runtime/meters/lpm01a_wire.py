# SPDX-License-Identifier: Apache-2.0
"""The bytes of ST's X-NUCLEO-LPM01A and of the power shield of the L562E-DK (UM2243): samples, time stamps, events.

ASCII: ``6409-07`` is 6409·10⁻⁷ A; ``TimeStamp: 000s 100ms, buff 00%``; ``event 1 ris``. Binary: words of 16 bits, big-endian,
high nibble e and low twelve bits m for m·16⁻ᵉ A; a word beginning with 0xF0 begins metadata. The time stamps tell how
many samples there should have been.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

RATES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
MOST_ASCII = 5_000  # above, only binary keeps up
_SAMPLE = re.compile(r"^(\d+)([+-]\d+)$")
_STAMP = re.compile(r"TimeStamp:\s*(\d+)s\s*(\d+)ms,\s*buff\s*(\d+)%", re.IGNORECASE)
_EVENT = re.compile(r"^event\s+(\d+)\s+(ris|fal)", re.IGNORECASE)
_D7 = 0x80
_SIZES = {0xF3: 9, 0xF4: 4}
_LONGEST = 200  # of a text among the samples


@dataclass(slots=True)
class Heard:
    """What bytes held: samples in their places, and what the shield said."""

    current_a: list[float] = field(default_factory=list)
    logic: list[int] = field(default_factory=list)
    lost: int = 0
    strange: list[str] = field(default_factory=list)
    ended: bool = False


class Reader:
    """From bytes to samples.

    Parameters
    ----------
    rate_hz
        Samples a second that were asked for.
    binary
        The format that was asked for.
    """

    def __init__(self, rate_hz: int, binary: bool) -> None:
        self._rate_hz, self._binary = rate_hz, binary
        self._rest = b""
        self._level = 0
        self._count = 0
        self._anchor: tuple[int, int] | None = None  # (ms, samples) at the first time stamp

    def feed(self, data: bytes) -> Heard:
        """Take bytes; a line or word that is not whole waits for its end."""
        self._rest += data
        heard = Heard()
        if self._binary:
            self._feed_binary(heard)
        else:
            *lines, self._rest = self._rest.replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                self._line(line.decode("ascii", "replace").strip(" \0"), heard)
        return heard

    def _line(self, line: str, heard: Heard) -> None:
        if (sample := _SAMPLE.match(line)) is not None:
            self._take(int(sample[1]) * 10.0 ** int(sample[2]), heard)
        elif (stamp := _STAMP.search(line)) is not None:
            self._stamp(1000 * int(stamp[1]) + int(stamp[2]), heard)
        elif (event := _EVENT.match(line)) is not None:
            self._level = _D7 if event[2].lower() == "ris" else 0
        elif line.lower() == "end":
            heard.ended = True
        elif line and not line.startswith(("PowerShield", "ack")):
            heard.strange.append(line)

    def _take(self, value: float, heard: Heard) -> None:
        heard.current_a.append(value)
        heard.logic.append(self._level)
        self._count += 1

    def _stamp(self, at_ms: int, heard: Heard) -> None:
        """Compare the samples so far with the time that has passed; what is missing is missing before this stamp."""
        if self._anchor is None:
            self._anchor = (at_ms, self._count)
            return
        due = self._anchor[1] + round((at_ms - self._anchor[0]) * self._rate_hz / 1000)
        missing = due - self._count
        if missing > max(1, self._rate_hz // 1000):  # a stamp may come a millisecond off
            heard.current_a += [float("nan")] * missing
            heard.logic += [0] * missing
            heard.lost += missing
            self._count += missing

    def _feed_binary(self, heard: Heard) -> None:
        data = self._rest
        at = 0
        while at + 2 <= len(data):
            if data[at] == 0xF0:
                used = self._metadata(data, at, heard)
                if used == 0:
                    break
                at += used
                continue
            words = np.frombuffer(data, ">u2", (len(data) - at) // 2, at)
            marks = np.flatnonzero(words >> 8 == 0xF0)
            count = int(marks[0]) if len(marks) else len(words)
            heard.current_a += decode_words(words[:count]).tolist()
            heard.logic += [self._level] * count
            self._count += count
            at += 2 * count
        self._rest = data[at:]

    def _metadata(self, data: bytes, at: int, heard: Heard) -> int:
        """Take one piece of metadata; return its size, 0 when it is not whole yet [bytes]."""
        kind = data[at + 1]
        size = _SIZES.get(kind, 0)
        if not size:
            end = data.find(b"\xff\xff", at + 2, at + _LONGEST)
            if end < 0:
                if len(data) - at < _LONGEST:
                    return 0
                end = at
            text = data[at + 2 : end].decode("ascii", "replace").strip()
            what = {0xF1: "error", 0xF2: "info", 0xF5: "over-current"}.get(kind, f"metadata 0x{kind:02x}")
            heard.strange.append(f"{what} {text}".strip())
            return end + 2 - at
        if at + size > len(data):
            return 0
        if kind == 0xF3:
            self._stamp(int.from_bytes(data[at + 2 : at + 6], "big"), heard)
        else:
            heard.ended = True
        return size


def decode_words(words: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """Return the currents of binary samples [A]."""
    mantissa, exponent = (words & 0x0FFF).astype(np.float64), (words >> 12).astype(np.float64)
    return np.asarray(mantissa * 16.0**-exponent)
