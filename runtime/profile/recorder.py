# SPDX-License-Identifier: Apache-2.0
"""Taking a stream down while inferences run: from a thread of its own, or by hand where time is not real."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError, JouletError
from joulet.meters.seam import Samples, Stream


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """What was taken down.

    Attributes
    ----------
    power_w
        ``(n,)`` float64, NaN where samples were lost [W].
    logic
        ``(n,)`` uint8.
    period_s, voltage_v
        Of the stream [s, V].
    arrivals
        ``(m, 2)`` float64: samples that had arrived, and when on the host's clock [s].
    lost, uncertain
        As in :class:`joulet.meters.Samples`.
    """

    power_w: npt.NDArray[np.float64]
    logic: npt.NDArray[np.uint8]
    period_s: float
    voltage_v: float
    arrivals: npt.NDArray[np.float64]
    lost: int
    uncertain: int

    def cumulative_j(self) -> npt.NDArray[np.float64]:
        """Return ``(n + 1,)``: energy up to each sample; lost samples add nothing [J]."""
        known = np.where(np.isfinite(self.power_w), self.power_w, 0.0)
        return np.concatenate([[0.0], np.cumsum(known) * self.period_s])


_CAUGHT_UP = 1.5  # times as fast as time: what comes faster was taken earlier
_LOOK_S = 0.1
_PATIENCE_S = 10.0


class Recorder:
    """Takes a stream down from when it is made until :meth:`stop`; what came before :meth:`begin` is forgotten.

    A meter keeps little: where nobody reads while a model is being sent, it loses samples, or they come late. So a recorder is
    made as soon as the meter is open.

    Parameters
    ----------
    stream : Stream
        Belongs to the recorder until then.
    clock : callable
        The host's clock [s].
    threaded : bool
        Read all the time from a thread; otherwise only in :meth:`poll`, for streams whose time is not real.
    """

    def __init__(self, stream: Stream, clock: Callable[[], float], *, threaded: bool) -> None:
        self._stream, self._clock = stream, clock
        self._parts: list[Samples] = []
        self._arrivals: list[tuple[int, float]] = []
        self._first = self._count = 0
        self._lock = threading.Lock()
        self._error: JouletError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True) if threaded else None
        if self._thread is not None:
            self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._take(self._stream.samples(0.05))
                self._stop.wait(0.002)
        except JouletError as error:
            self._error = error

    def _take(self, part: Samples) -> bool:
        with self._lock:
            if part.count or part.uncertain:
                self._parts.append(part)
                self._count = part.first + part.count
                self._arrivals.append((self._count, self._clock()))
        return bool(part.count)

    @property
    def count(self) -> int:
        """Samples since :meth:`begin`, the lost ones among them."""
        return self._count - self._first

    def begin(self) -> None:
        """Forget what has been taken down.

        Raises
        ------
        MeterError
            If the meter was lost.
        """
        self.poll()
        with self._lock:
            self._parts.clear()
            self._arrivals.clear()
            self._first = self._count

    def poll(self) -> None:
        """Take down what there is, where no thread does.

        Raises
        ------
        MeterError
            If the meter was lost.
        """
        if self._error is not None:
            raise self._error
        if self._thread is None:
            while self._take(self._stream.samples(0.0)):
                pass

    def _catch_up(self) -> None:
        """Wait until samples come no faster than they are taken: the last ones are still on their way."""
        until_s = self._clock() + _PATIENCE_S
        while self._error is None:
            before, began_s = self._count, self._clock()
            self._stop.wait(_LOOK_S)
            passed_s = self._clock() - began_s
            came_s = (self._count - before) * self._parts[0].period_s if self._parts else 0.0
            if came_s <= _CAUGHT_UP * passed_s:
                return
            if self._clock() > until_s:
                raise DataError(
                    f"meter '{self._stream.source}' is {_PATIENCE_S:g} s behind: this machine takes its samples too slowly"
                )

    def close(self) -> None:
        """End the thread, whatever was taken down; the stream stays open."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> Trace:
        """End and return the trace; see :meth:`trace`."""
        try:
            return self.trace()
        finally:
            self.close()

    def trace(self) -> Trace:
        """Return what has been taken down since :meth:`begin`; recording goes on.

        Raises
        ------
        MeterError
            If the meter was lost meanwhile.
        DataError
            If there are no samples, or they come more slowly than they were taken.
        """
        if self._thread is not None:
            self._catch_up()
        self.poll()
        with self._lock:
            return self._joined()

    def _joined(self) -> Trace:
        if not any(part.count for part in self._parts):
            raise DataError(f"meter '{self._stream.source}' gave no samples")
        voltage_v = self._parts[0].voltage_v
        return Trace(
            power_w=np.concatenate([part.current_a for part in self._parts]) * voltage_v,
            logic=np.concatenate([part.logic for part in self._parts]),
            period_s=self._parts[0].period_s,
            voltage_v=voltage_v,
            arrivals=np.array(self._arrivals, float) - (self._first, 0.0),
            lost=sum(part.lost for part in self._parts),
            uncertain=sum(part.uncertain for part in self._parts),
        )
