# SPDX-License-Identifier: Apache-2.0
"""When events arrive: ``periodic:1s``, ``poisson:0.2/s`` or ``poisson:1/5s``, ``bursty:5x200ms/30s``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.errors import UsageError
from joulet.units import parse_quantity

USAGE = "periodic:PERIOD (1s), poisson:RATE (0.2/s, 1/5s) or bursty:COUNTxGAP/PERIOD (5x200ms/30s)"
_MOST = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """An arrival process.

    Attributes
    ----------
    spec
        As it was written.
    kind
        ``periodic``, ``poisson`` or ``bursty``.
    mean_s
        Mean time between events [s].
    count, gap_s
        Of a burst: mean number of events (geometric, 1 or more), time between them [s]. Bursts begin at random, on
        average every ``count · mean_s``.
    """

    spec: str
    kind: str
    mean_s: float
    count: float = 1.0
    gap_s: float = 0.0

    def times_s(self, duration_s: float, seed: int) -> npt.NDArray[np.float64]:
        """Return times of events in ``duration_s``, rising, the first of a periodic process at 0 [s]."""
        if duration_s / self.mean_s > _MOST:
            raise UsageError(f"{self.spec} makes {duration_s / self.mean_s:,.0f} events; at most {_MOST:,}")
        rng = np.random.default_rng(seed)
        if self.kind == "periodic":
            times = np.arange(math.ceil(duration_s / self.mean_s)) * self.mean_s
        elif self.kind == "poisson":
            times = _poisson(rng, self.mean_s, duration_s)
        else:
            times = self._bursts(rng, duration_s)
        times = times[times < duration_s]
        if times.size == 0:
            raise UsageError(f"no event of {self.spec} falls into {duration_s:g} s; lengthen the run")
        return np.ascontiguousarray(times)

    def _bursts(self, rng: np.random.Generator, duration_s: float) -> npt.NDArray[np.float64]:
        begins = _poisson(rng, self.mean_s * self.count, duration_s)
        sizes = rng.geometric(1.0 / self.count, len(begins))
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.sort(np.repeat(begins, sizes) + within * self.gap_s)


def _poisson(rng: np.random.Generator, mean_s: float, duration_s: float) -> npt.NDArray[np.float64]:
    count = rng.poisson(duration_s / mean_s)
    return np.sort(rng.uniform(0.0, duration_s, count))


def parse_arrivals(spec: str) -> Arrivals:
    """Return an arrival process from its spec.

    Raises
    ------
    UsageError
        If the spec is not one of the forms of :data:`USAGE`.
    """
    kind, _, rest = spec.partition(":")
    if kind == "periodic" and rest:
        return Arrivals(spec=spec, kind=kind, mean_s=parse_quantity(rest, "s", what=f"--arrivals {spec}"))
    if kind == "poisson" and rest.count("/") == 1:
        return Arrivals(spec=spec, kind=kind, mean_s=1.0 / _rate_hz(rest, spec))
    burst = re.fullmatch(r"([0-9.]+)x([^/]+)/(.+)", rest)
    if kind == "bursty" and burst is not None:
        count = _number(burst[1], spec)
        if count < 1.0:
            raise UsageError(f"--arrivals {spec}: a burst has 1 event or more")
        every_s = parse_quantity(burst[3], "s", what=f"--arrivals {spec}")
        gap_s = parse_quantity(burst[2], "s", what=f"--arrivals {spec}")
        return Arrivals(spec=spec, kind=kind, mean_s=every_s / count, count=count, gap_s=gap_s)
    raise UsageError(f"--arrivals {spec}: write {USAGE}")


def _rate_hz(text: str, spec: str) -> float:
    count, _, unit = text.partition("/")
    seconds = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}.get(unit)
    if seconds is None:
        if not re.fullmatch(r"[0-9.]+(e-?[0-9]+)?[a-zµμ]+", unit):
            raise UsageError(f"--arrivals {spec}: a rate is per s, min, h, d or a time, such as 0.2/s or 1/5s")
        seconds = parse_quantity(unit, "s", what=f"--arrivals {spec}")
    rate = _number(count, spec) / seconds
    if not rate > 0.0:
        raise UsageError(f"--arrivals {spec}: the rate must be more than zero")
    return rate


def _number(text: str, spec: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--arrivals {spec}: '{text}' is no number; write {USAGE}")
    return value
