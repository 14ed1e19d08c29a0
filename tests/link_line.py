# SPDX-License-Identifier: Apache-2.0
"""A serial line that goes wrong: a Port around another one, with faults drawn from a seed in either direction.

Bytes travel in units, a frame up to its zero or an ASCII line or command; each unit suffers one fault with a given
probability. A twin of the receiver listens at the far end of each direction and tells how many undamaged frames a fault
takes with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np

from joulet.link import Port
from joulet.link.frames import FrameReader, decode

_UNIT = re.compile(rb"[^\0]*\0|[^\n%]*[\n%]|[^\n%]+")
_MOST_CALLS = 400_000  # of one test: more is a hang
_FLOOD_BYTES = 3000

Rng = np.random.Generator
Fault = Callable[[bytes, Rng], bytes]


class Hang(AssertionError):
    """The host goes on for ever."""


def _run(unit: bytes, rng: Rng, most: int) -> tuple[int, int]:
    """Return where a short run of bytes begins and ends."""
    start = int(rng.integers(0, len(unit)))
    return start, min(len(unit), start + int(rng.integers(1, most + 1)))


def lose(unit: bytes, rng: Rng) -> bytes:
    """Drop a run, or all."""
    start, end = _run(unit, rng, 8)
    return b"" if rng.random() < 0.3 else unit[:start] + unit[end:]


def duplicate(unit: bytes, rng: Rng) -> bytes:
    """Repeat a run, or all."""
    start, end = _run(unit, rng, 8)
    return unit * 2 if rng.random() < 0.5 else unit[:end] + unit[start:]


def corrupt(unit: bytes, rng: Rng) -> bytes:
    """Replace bytes, or flip a bit."""
    out = bytearray(unit)
    if rng.random() < 0.5:
        out[int(rng.integers(0, len(out)))] ^= 1 << int(rng.integers(0, 8))
    else:
        start, end = _run(unit, rng, 4)
        out[start:end] = rng.bytes(end - start)
    return bytes(out)


def reorder(unit: bytes, rng: Rng) -> bytes:
    """Swap two runs that follow each other."""
    start, middle = _run(unit, rng, 6)
    end = min(len(unit), middle + int(rng.integers(1, 7)))
    return unit[:start] + unit[middle:end] + unit[start:middle] + unit[end:]


def insert(unit: bytes, rng: Rng) -> bytes:
    """Put garbage before it or into it."""
    at = int(rng.integers(0, len(unit) + 1))
    return unit[:at] + rng.bytes(int(rng.integers(1, 40))) + unit[at:]


def cut_off(unit: bytes, rng: Rng) -> bytes:
    """Lose the end."""
    return unit[: int(rng.integers(0, len(unit)))]


def flood(unit: bytes, rng: Rng) -> bytes:
    """Put very much in front: one byte over and over, as from a line that hangs low, or noise."""
    if rng.random() < 0.5:
        return bytes([int(rng.integers(0, 256))]) * _FLOOD_BYTES + unit
    return rng.bytes(_FLOOD_BYTES) + unit


FAULTS: dict[str, Fault] = {
    "loss": lose,
    "duplication": duplicate,
    "corruption": corrupt,
    "reordering": reorder,
    "insertion": insert,
    "cut-off": cut_off,
    "flood": flood,
}


class _Way:
    """One direction."""

    def __init__(self, rng: Rng, rate: float, faults: list[Fault], counts: Counter[str]) -> None:
        self._rng, self.rate, self._faults, self._counts = rng, rate, faults, counts
        self._ear = FrameReader()
        self._faulty = False
        self._lost = self.worst_lost = self.frames = self.resyncs = 0

    def carry(self, data: bytes) -> bytes:
        out = b""
        for unit in _UNIT.findall(data):
            if self._rng.random() < self.rate:
                fault = self._faults[int(self._rng.integers(0, len(self._faults)))]
                carried = fault(unit, self._rng)
                self._counts[fault.__name__] += 1
                self._ear.feed(carried)
                self._lost, self._faulty = 0, True
            else:
                carried = unit
                self._listen(unit)
            out += carried
        return out

    def _listen(self, unit: bytes) -> None:
        sent = decode(unit[:-1]) if unit.endswith(b"\0") else None
        heard = self._ear.feed(unit)
        if sent is None:
            if unit.endswith((b"\n", b"%")):
                self._ear.clear()  # the ASCII before the first frame is no frame
            return
        self.frames += 1
        if sent in heard:
            self.resyncs += self._faulty
            self._faulty = False
        elif self._faulty:
            self._lost += 1
            self.worst_lost = max(self.worst_lost, self._lost)
        else:
            raise AssertionError("an undamaged frame is lost without a fault before it")


class FaultyPort:
    """A line with faults.

    Parameters
    ----------
    port : Port
        The line without.
    seed : int
        Of all faults.
    rate : float
        Probability of a fault, for each unit in each direction.
    kinds : list of str, optional
        Names from ``FAULTS``; all without.
    to_board, to_host : bool
        Directions that go wrong.

    Attributes
    ----------
    cut
        True while nothing passes.
    counts
        Faults injected so far, by kind.
    """

    def __init__(
        self,
        port: Port,
        seed: int,
        rate: float,
        kinds: list[str] | None = None,
        *,
        to_board: bool = True,
        to_host: bool = True,
    ) -> None:
        self._port = port
        rng = np.random.default_rng(seed)
        faults = [FAULTS[kind] for kind in kinds or FAULTS]
        self.counts: Counter[str] = Counter()
        self.to_board = _Way(rng, rate if to_board else 0.0, faults, self.counts)
        self.to_host = _Way(rng, rate if to_host else 0.0, faults, self.counts)
        self._arrived = b""
        self.cut = False
        self.calls = 0

    @property
    def faults(self) -> int:
        """How many faults there were."""
        return sum(self.counts.values())

    @property
    def worst_lost(self) -> int:
        """The most undamaged frames in a row that were lost after a fault."""
        return max(self.to_board.worst_lost, self.to_host.worst_lost)

    def calm(self) -> None:
        """Let nothing go wrong from here on."""
        self.to_board.rate = self.to_host.rate = 0.0

    def _count(self) -> None:
        self.calls += 1
        if self.calls > _MOST_CALLS:
            raise Hang(f"{self.calls} calls")

    def write(self, data: bytes) -> None:
        self._count()
        carried = self.to_board.carry(data)
        if not self.cut:
            self._port.write(carried)

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        self._count()
        if not self._arrived:
            data = self.to_host.carry(self._port.read(4096, timeout_s))
            self._arrived = b"" if self.cut else data
        out, self._arrived = self._arrived[:n_bytes], self._arrived[n_bytes:]
        return out

    def close(self) -> None:
        self._port.close()


class EndlessPort:
    """A line on which bytes never end and nothing is understood."""

    def __init__(self, pattern: bytes) -> None:
        self._pattern = pattern
        self.calls = 0

    def write(self, data: bytes) -> None:
        self.calls += 1

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        self.calls += 1
        if self.calls > _MOST_CALLS:
            raise Hang(f"{self.calls} calls")
        return (self._pattern * (n_bytes // len(self._pattern) + 1))[:n_bytes]

    def close(self) -> None:
        pass
