# SPDX-License-Identifier: Apache-2.0
"""Energy of inferences on this machine with a meter that is read now and then: many inferences between two readings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from joulet.engine.seam import Array, Engine
from joulet.errors import DataError, JouletError
from joulet.meters.machine import Machine
from joulet.meters.seam import Meter, Quality
from joulet.meters.tally import Tally
from joulet.profile.board import Case
from joulet.profile.figures import Row, Sync, interval

_FOREVER_S = 1e9


class Integrator:
    """Sums a meter's energy from a thread, every ``period_s``, so that power between two readings is not one value.

    Only rails that count are summed, and it is an error when one of them tells no power.
    """

    def __init__(self, meter: Meter, machine: Machine, rate_hz: float) -> None:
        self._meter, self._machine = meter, machine
        self._tally = Tally(_FOREVER_S, _FOREVER_S)
        self._lock = threading.Lock()
        self._error: JouletError | None = None
        self._stop = threading.Event()
        self.period_s = 1.0 / rate_hz
        self.quality = Quality.OK
        self.provenance: dict[str, None] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self.period_s):
            try:
                with self._lock:
                    self._poll()
            except JouletError as error:
                self._error = error
                return

    def _poll(self) -> None:
        for reading in self._meter.read():
            if reading.counts:
                self._tally.add("", reading)
                self.quality |= reading.quality & ~Quality.STALE
                self.provenance[reading.provenance] = None

    def now(self) -> tuple[float, float]:
        """Read now; return (energy since the beginning [J], time covered [s]).

        Raises
        ------
        MeterError
            If the meter was lost.
        DataError
            If it tells no power.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            self._poll()
            figures = [f for _, f in self._tally.figures()]
        if not figures or all(f.reading.power_w is None and f.reading.energy_j is None for f in figures):
            raise DataError(f"meter '{self._meter.source}' tells no power yet")
        return sum(f.energy_j for f in figures), max(f.covered_s for f in figures)

    def close(self) -> None:
        """End the thread; the meter stays open."""
        self._stop.set()
        self._thread.join()


def measure(
    engine: Engine, inputs: Sequence[Array], cases: Sequence[Case], integrator: Integrator, machine: Machine,
    *, window_s: float, windows: int, idle_s: float, progress: Callable[[int, int], None],
) -> tuple[list[Row], float | None, Sync]:  # fmt: skip
    """Run each case for windows of a given length, in rounds; return rows, idle power [W] and how it was put together."""
    _settle(integrator, machine)
    idle_w = None
    if idle_s > 0.0:
        before = integrator.now()
        machine.sleep(idle_s)
        after = integrator.now()
        idle_w = (after[0] - before[0]) / (after[1] - before[1]) if after[1] > before[1] else None
    energies: list[list[float]] = [[] for _ in cases]
    latencies: list[list[float]] = [[] for _ in cases]
    done = runs = 0
    for _ in range(windows):
        for number, case in enumerate(cases):
            energy_j, latency_s, count = _window(engine, inputs, case, integrator, machine, window_s)
            energies[number].append(energy_j)
            latencies[number].append(latency_s)
            runs += count
            done += 1
            progress(done, windows * len(cases))
    rows = [
        Row(
            path=case.path, exit=engine.exit_names[case.exit], n=windows, excluded=0, energy_j=interval(energy),
            latency_s=interval(latency), power_w=sum(energy) / sum(latency),
        )
        for case, energy, latency in zip(cases, energies, latencies, strict=True)
    ]  # fmt: skip
    detail = f"{windows} windows of {window_s:g} s a case, {runs} calls of the engine in all"
    return rows, idle_w, Sync(method="host window", error_s=integrator.period_s, detail=detail)


def _window(
    engine: Engine, inputs: Sequence[Array], case: Case, integrator: Integrator, machine: Machine, window_s: float
) -> tuple[float, float, int]:
    """Return energy and time of one inference, and how many calls there were."""
    samples = len(inputs[0])
    engine.infer(inputs, path=case.path, depth=case.exit)
    before, began_s = integrator.now(), machine.clock()
    calls = 0
    while machine.clock() - began_s < window_s:
        engine.infer(inputs, path=case.path, depth=case.exit)
        calls += 1
    ended_s, after = machine.clock(), integrator.now()
    if after[1] <= before[1]:
        raise DataError(f"the meter has not converted within {window_s:g} s: give a longer --window")
    # power of what the meter covers × time of the calls: readings begin and end a little outside
    power_w = (after[0] - before[0]) / (after[1] - before[1])
    count = calls * samples
    return power_w * (ended_s - began_s) / count, (ended_s - began_s) / count, calls


def _settle(integrator: Integrator, machine: Machine) -> None:
    """Wait for the first readings of a meter that needs two for a power."""
    for attempt in range(20):
        try:
            integrator.now()
            return
        except DataError:
            if attempt == 19:
                raise
            machine.sleep(0.1)
