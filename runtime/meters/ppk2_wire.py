# SPDX-License-Identifier: Apache-2.0
"""The bytes of Nordic's Power Profiler Kit II: commands, metadata, samples, and the check of their counter.

A sample is a little-endian word: bits 0-13 ADC, 14-16 range, 18-23 a counter, 24-31 the digital inputs, every 10 µs. As
Nordic's own application and ``ppk2-api`` read it: ``r = (4·adc − O)·(1.8/163840)/R``, ``I = UG·(r·(GS·r + GI) + S·V + I)``, and
three samples after each change of range are replaced by a running mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

AVERAGE_START, AVERAGE_STOP, RUNNING, REGULATOR, MODE, METADATA = 0x06, 0x07, 0x0C, 0x0D, 0x11, 0x19
AMPERE, SOURCE = 1, 2
PERIOD_S = 10e-6
RANGES = 5
COUNTS = 64
_SETTLED = 8  # words in a row whose counters follow each other: the stream is aligned
_ADC = 1.8 / 163840
_KEY = re.compile(r"^(R|GS|GI|O|S|I|UG)([0-4])$")
_DEFAULTS = {
    "R": (1031.64, 101.65, 10.15, 0.94, 0.043),
    "GS": (1.0,) * 5,
    "GI": (1.0,) * 5,
    "O": (0.0,) * 5,
    "S": (0.0,) * 5,
    "I": (0.0,) * 5,
    "UG": (1.0,) * 5,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Modifiers:
    """Calibration of a kit. ``values`` has ``(5,)`` float64 for each of R, GS, GI, O, S, I, UG; one entry a range."""

    values: dict[str, npt.NDArray[np.float64]]
    calibrated: bool = True
    hardware: str = ""

    @staticmethod
    def nominal() -> Modifiers:
        """Return what a kit without calibration has."""
        return Modifiers(values={key: np.array(row) for key, row in _DEFAULTS.items()}, calibrated=False)

    def text(self) -> str:
        """Return the metadata as a kit prints them."""
        lines = [f"Calibrated: {int(self.calibrated)}"]
        lines += [f"{key}{i}: {self.values[key][i]:.4f}" for key in _DEFAULTS for i in range(RANGES)]
        return "\n".join([*lines, f"HW: {self.hardware or '9173'}", "IA: 56", "END"])

    def current(
        self, adc: npt.NDArray[np.float64], ranges: npt.NDArray[np.intp], voltage_v: float
    ) -> npt.NDArray[np.float64]:
        """Return currents of ADC values (already times four) [A]."""
        v = {key: row[ranges] for key, row in self.values.items()}
        r = (adc - v["O"]) * (_ADC / v["R"])
        return np.asarray(v["UG"] * (r * (v["GS"] * r + v["GI"]) + (v["S"] * voltage_v + v["I"])))


def parse_metadata(text: str) -> Modifiers:
    """Read a kit's metadata; what is missing, not a number, or a resistance of 0 keeps its nominal value."""
    values = {key: np.array(row) for key, row in _DEFAULTS.items()}
    calibrated, hardware = False, ""
    for line in text.splitlines():
        key, colon, word = line.strip().partition(":")
        word = word.strip()
        match = _KEY.match(key)
        if key == "Calibrated":
            calibrated = word not in ("0", "")
        elif key == "HW":
            hardware = word
        elif colon and match is not None:
            try:
                number = float(word)
            except ValueError:
                continue
            if np.isfinite(number) and (match[1] != "R" or number > 0.0):
                values[match[1]][int(match[2])] = number
    return Modifiers(values=values, calibrated=calibrated, hardware=hardware)


def regulator(millivolts: int) -> bytes:
    """Return the command that sets the supply, 800 to 5000 mV."""
    d = min(5000, max(800, millivolts)) - 800 + 32
    return bytes([REGULATOR, 3 + d // 256, d % 256])


class SpikeFilter:
    """Running means that stand in for three samples after each change of range, as Nordic's application has them."""

    ALPHA, ALPHA_4, SAMPLES = 0.18, 0.06, 3
    _REACH = 512  # samples after which nothing is left of a value: 0.94^512 < 2e-14

    def __init__(self) -> None:
        self._mean: tuple[float, float] | None = None
        self._range = -1
        self._after = self._consecutive = 0
        back = np.arange(self._REACH)[::-1]
        self._weights = [alpha * (1 - alpha) ** back for alpha in (self.ALPHA, self.ALPHA_4)]

    def apply(self, current_a: npt.NDArray[np.float64], ranges: npt.NDArray[np.intp]) -> None:
        """Filter a stretch in place."""
        if not len(current_a):
            return
        raw = current_a
        if self._range < 0:
            self._range = int(ranges[0])
        before = np.concatenate([[self._range], ranges[:-1]])
        switches = np.flatnonzero(before != ranges)
        if not len(switches) and self._after <= 0:
            self._pass(raw)
            return
        raw = current_a.copy()
        at = 0
        for start in [*([0] if self._after > 0 else []), *switches.tolist()]:
            if start < at:
                continue
            self._pass(raw[at:start])
            at = self._spike(raw, current_a, ranges, start)
        self._pass(raw[at:])

    def _pass(self, raw: npt.NDArray[np.float64]) -> None:
        """Let the means follow samples that are kept."""
        count = len(raw)
        if not count:
            return
        tail = raw[-self._REACH :]
        # the first sample of all is its own mean: counting it again changes nothing
        means = self._mean if self._mean is not None else (float(raw[0]), float(raw[0]))
        decay = [(1 - alpha) ** count for alpha in (self.ALPHA, self.ALPHA_4)]
        sums = [float(weights[-len(tail) :] @ tail) for weights in self._weights]
        self._mean = (decay[0] * means[0] + sums[0], decay[1] * means[1] + sums[1])

    def _spike(
        self, raw: npt.NDArray[np.float64], out: npt.NDArray[np.float64], ranges: npt.NDArray[np.intp], at: int
    ) -> int:
        """Filter from a change of range on, sample by sample; return where it ends."""
        while at < len(raw) and (self._after > 0 or int(ranges[at]) != self._range):
            value, here = float(raw[at]), int(ranges[at])
            before = self._mean
            mean = (value, value) if before is None else self._follow(before, value)
            if here != self._range:
                self._consecutive, self._after = 0, self.SAMPLES
            else:
                self._consecutive += 1
            if here == RANGES - 1:
                if self._consecutive < 2 and before is not None:
                    mean = before
                out[at] = mean[1]
            else:
                out[at] = mean[0]
            self._after -= 1
            self._mean, self._range = mean, here
            at += 1
        return at

    def _follow(self, mean: tuple[float, float], value: float) -> tuple[float, float]:
        a, b = self.ALPHA, self.ALPHA_4
        return a * value + (1 - a) * mean[0], b * value + (1 - b) * mean[1]


@dataclass(slots=True)
class Decoded:
    """Samples in their places: NaN and 0 where some were lost."""

    current_a: npt.NDArray[np.float64]
    logic: npt.NDArray[np.uint8]
    lost: int = 0
    uncertain: int = 0


@dataclass(slots=True)
class Decoder:
    """From bytes as they arrive to samples in their places.

    The counter of six bits tells how many samples are missing, up to 63; where bytes went missing in the middle of a word
    the stream is aligned anew by it. Such a place is ``uncertain``: its loss is known modulo 64. The first word after a loss
    may be put together from the halves of two, with a counter that fits: it counts as lost too.
    """

    modifiers: Modifiers
    voltage_v: float
    spikes: SpikeFilter = field(default_factory=SpikeFilter)
    _rest: bytes = b""
    _count: int | None = None

    def feed(self, data: bytes) -> Decoded:
        """Take bytes; return the samples that are complete."""
        data = self._rest + data
        parts: list[Decoded] = []
        if self._count is None:
            data, found = self._begin(data)
            parts += found
        while self._count is not None:
            words = np.frombuffer(data, "<u4", len(data) // 4)
            if not len(words):
                break
            good = self._follows(words)
            if good:
                parts.append(self._samples(words[:good]))
                self._count = int(words[good - 1] >> 18) & 63
                data = data[4 * good :]
                continue
            if len(data) < 4 * _SETTLED + 7:
                break  # what follows decides
            skip = _aligned(data)
            if skip is None:
                data = data[-(4 * _SETTLED + 3) :]
                break
            parts.append(self._gap(int.from_bytes(data[skip : skip + 4], "little") >> 18 & 63, skip))
            data = data[skip + 4 :]
        self._rest = data
        return _joined(parts)

    def _begin(self, data: bytes) -> tuple[bytes, list[Decoded]]:
        """Find the first whole word: the end of one from before may lie in front of it."""
        skip = _aligned(data)
        if skip is None:
            return data[-(4 * _SETTLED + 3) :], []
        self._count = ((data[skip + 2] >> 2 & 63) - 1) % COUNTS
        return data[skip:], [Decoded(np.empty(0), np.empty(0, np.uint8), 0, 1)] if skip else []

    def _follows(self, words: npt.NDArray[np.uint32]) -> int:
        """Return how many words follow what came before and each other."""
        assert self._count is not None
        counters = (words >> np.uint32(18) & np.uint32(63)).astype(np.int64)
        steps = np.diff(counters, prepend=self._count) % COUNTS
        broken = np.flatnonzero(steps != 1)
        return int(broken[0]) if len(broken) else len(words)

    def _samples(self, words: npt.NDArray[np.uint32]) -> Decoded:
        ranges = np.minimum(words >> np.uint32(14) & np.uint32(7), RANGES - 1).astype(np.intp)
        adc = (words & np.uint32(0x3FFF)).astype(np.float64) * 4.0
        current_a = self.modifiers.current(adc, ranges, self.voltage_v)
        self.spikes.apply(current_a, ranges)
        return Decoded(current_a, (words >> np.uint32(24)).astype(np.uint8))

    def _gap(self, count: int, skipped_bytes: int) -> Decoded:
        assert self._count is not None
        lost = (count - self._count - 1) % COUNTS + 1
        self._count = count
        nothing = np.full(lost, np.nan)
        return Decoded(nothing, np.zeros(lost, np.uint8), lost, int(bool(skipped_bytes) or lost == 1))


def _aligned(data: bytes) -> int | None:
    """Return the first place from which counters follow each other; None where there is none yet."""
    for skip in range(len(data) - 4 * _SETTLED + 1):
        words = np.frombuffer(data, "<u4", _SETTLED, skip)
        if (np.diff((words >> np.uint32(18) & np.uint32(63)).astype(np.int64)) % COUNTS == 1).all():
            return skip
    return None


def _joined(parts: list[Decoded]) -> Decoded:
    if len(parts) == 1:
        return parts[0]
    return Decoded(
        np.concatenate([part.current_a for part in parts]) if parts else np.empty(0),
        np.concatenate([part.logic for part in parts]) if parts else np.empty(0, np.uint8),
        sum(part.lost for part in parts),
        sum(part.uncertain for part in parts),
    )


def encode(
    current_a: npt.NDArray[np.float64],
    logic: npt.NDArray[np.uint8],
    first: int,
    modifiers: Modifiers,
    voltage_v: float,
    dither: npt.NDArray[np.float64] | float = 0.0,
) -> bytes:
    """Return samples as a kit sends them: the inverse of :meth:`Modifiers.current`, rounded to the ADC.

    Parameters
    ----------
    current_a, logic
        ``(n,)``.
    first
        Index of the first sample, for its counter.
    dither
        Added before rounding, in steps of the ADC.
    """
    ranges = np.searchsorted(RANGE_ENDS_A, current_a, side="left").astype(np.intp)
    v = {key: row[ranges] for key, row in modifiers.values.items()}
    wanted = current_a / v["UG"] - (v["S"] * voltage_v + v["I"])
    with np.errstate(invalid="ignore", divide="ignore"):
        root = (np.sqrt(np.maximum(0.0, v["GI"] ** 2 + 4.0 * v["GS"] * wanted)) - v["GI"]) / (2.0 * v["GS"])
        r = np.where(v["GS"] == 0.0, wanted / v["GI"], root)
    adc = np.clip(np.rint((r * v["R"] / _ADC + v["O"]) / 4.0 + dither), 0, 0x3FFF).astype(np.uint32)
    counter = (first + np.arange(len(current_a))) % COUNTS
    words = adc | ranges.astype(np.uint32) << np.uint32(14) | counter.astype(np.uint32) << np.uint32(18)
    return bytes((words | logic.astype(np.uint32) << np.uint32(24)).astype("<u4").tobytes())


RANGE_ENDS_A = np.array([50e-6, 500e-6, 5e-3, 60e-3])  # where a kit changes to the next range
