# SPDX-License-Identifier: Apache-2.0
"""A meter beside a loop: summed from a thread, and waited for when it goes away and an estimate may stand in."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from joulet.errors import JouletError, MeterError
from joulet.meters.machine import Machine
from joulet.meters.seam import Quality
from joulet.meters.tally import Tally
from joulet.meters.watch import Happening, Watch

_WINDOW_S = 1.0
_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Of the rails that count, since the beginning: energy [J], time that it covers [s], and time it does not [s]."""

    energy_j: float
    covered_s: float
    missed_s: float


class Metered:
    """Energy of one source by its counter or by trapezoids between readings.

    Parameters
    ----------
    source : str
        As for :func:`joulet.meters.open_meter`.
    machine : Machine
        Where it is.
    rate_hz : float, optional
        Readings a second, from a thread; None: only when :meth:`poll` is called.
    allow_estimate : bool
        A source that is lost is waited for, and its time is missed; without, it is an error.

    Raises
    ------
    MeterError, UsageError, MissingDependencyError
        If the source cannot be opened.
    """

    def __init__(self, source: str, machine: Machine, *, rate_hz: float | None, allow_estimate: bool) -> None:
        gap_s = 1.0 if rate_hz is None else max(1.0, 20.0 / rate_hz)
        self.source, self._machine, self._allow = source, machine, allow_estimate
        self._watch = Watch([source], machine, allow_estimate=allow_estimate, late_s=gap_s)
        self._tally = Tally(_WINDOW_S, gap_s)
        self._lock = threading.Lock()
        self._error: JouletError | None = None
        self._stop = threading.Event()
        self.quality = Quality.OK
        self.provenance: dict[str, None] = {}
        self._happenings: list[Happening] = []
        self._counts: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        if rate_hz is not None:
            self._thread = threading.Thread(target=self._run, args=(1.0 / rate_hz,), daemon=True)
            self._thread.start()

    def _run(self, period_s: float) -> None:
        while not self._stop.wait(period_s):
            try:
                self.poll()
            except JouletError as error:
                self._error = error
                return

    def poll(self) -> None:
        """Read once.

        Raises
        ------
        MeterError
            If the source is lost and may not be missed.
        """
        with self._lock:
            readings, news = self._watch.poll()
            for each in news:
                self._counts[each.kind] += 1
                if self._counts[each.kind] <= _MOST:
                    self._happenings.append(each)
                if each.kind in ("lost", "end") and not self._allow:
                    raise MeterError(
                        f"meter '{self.source}' was lost: {each.text}. The run ends here, since nothing would be measured; "
                        "--allow-estimate goes on with what was learnt"
                    )
            if self._watch.lost or self._watch.over:
                self._tally.interrupt(self.source, self._machine.clock())
            for source, reading in readings:
                if reading.counts:
                    self._tally.add(source, reading)
                    self.quality |= reading.quality & ~Quality.STALE
                    self.provenance[reading.provenance] = None

    def now(self) -> Sum:
        """Read, and return the sums.

        Raises
        ------
        MeterError
            As for :meth:`poll`, or if that happened meanwhile.
        """
        if self._error is not None:
            raise self._error
        self.poll()
        with self._lock:
            figures = [each for _, each in self._tally.figures()]
        return Sum(
            energy_j=sum(f.energy_j for f in figures),
            covered_s=min((f.covered_s for f in figures), default=0.0),
            missed_s=max((f.missed_s for f in figures), default=0.0),
        )

    def notes(self) -> list[str]:
        """Return what has happened: of each kind the first few, and how many more there were."""
        with self._lock:
            told = [each.text if each.kind == "note" else f"{each.kind}: {each.text}" for each in self._happenings]
            more = [f"{kind}: {n - _MOST} more times" for kind, n in self._counts.items() if n > _MOST]
        return told + more

    @property
    def tells(self) -> bool:
        """True once every rail that counts has told power or energy."""
        with self._lock:
            figures = [each for _, each in self._tally.figures()]
        return bool(figures) and all(f.reading.power_w is not None or f.reading.energy_j is not None for f in figures)

    @property
    def power_w(self) -> float | None:
        """Mean power over the last second; None without readings [W]."""
        with self._lock:
            means = [each.mean_w for _, each in self._tally.figures()]
        return None if not means or any(mean is None for mean in means) else sum(mean or 0.0 for mean in means)

    def close(self) -> None:
        """End the thread and let go of the source."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._watch.close()
