# SPDX-License-Identifier: Apache-2.0
"""Joulescope JS110 and JS220 through Jetperch's own driver: the instrument integrates by itself and tells its sums.

``pyjoulescope_driver`` (Apache-2.0): a device is a path, ``u/js220/000415``; statistics arrive on ``s/stats/value`` of it (JS110:
``s/sstats/value``, twice a second), from a thread of the driver's. Energy is that of the instrument's accumulator, so that a
message that is late or lost costs nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from joulet.errors import MeterError, MissingDependencyError, UsageError
from joulet.meters.machine import Machine
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec

_FULL_HZ = {"js220": 1_000_000, "js110": 2_000_000}
_RATES = (1, 2, 5, 10, 20, 50, 100)
_SILENT_S = 3.0
_MOST = 4096
_RAISES = (RuntimeError, OSError, ValueError, KeyError)  # what the driver raises: of its own codes, time out, topics


class Driver(Protocol):
    """What is used of ``pyjoulescope_driver.Driver``."""

    def device_paths(self) -> list[str]: ...

    def open(self, device_prefix: str, mode: str) -> None: ...

    def close(self, device_prefix: str) -> None: ...

    def publish(self, topic: str, value: Any) -> None: ...

    def subscribe(self, topic: str, flags: str, fn: Callable[[str, Any], None]) -> None: ...

    def unsubscribe(self, topic: str, fn: Callable[[str, Any], None]) -> None: ...

    def finalize(self) -> None: ...


def make_driver() -> Driver:
    """Return the driver.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        from pyjoulescope_driver import Driver as Real
    except ImportError as error:
        raise MissingDependencyError("a Joulescope needs its driver: pip install 'joulet[joulescope]'") from error
    made: Driver = Real()
    return made


class Joulescope:
    """``joulescope``, ``joulescope:000415`` or ``joulescope:u/js220/000415``; ``rate`` is readings a second (10; JS110: 2)."""

    def __init__(self, machine: Machine, spec: Spec, make: Callable[[], Driver] = make_driver) -> None:
        spec.allow("rate")
        self.source = spec.text
        self._machine = machine
        rate_hz = spec.integer("rate", 10, _RATES)
        self._lock = threading.Lock()
        self._heard: deque[tuple[float, Mapping[str, Any]]] = deque(maxlen=_MOST)
        self._first: tuple[float, int] | None = None  # energy [J] and sample with which counting began
        self._last = (0.0, 0)
        self._heard_s = machine.clock()
        self.notes: tuple[str, ...] = ()
        self._driver = make()
        try:
            self._path = self._find(spec)
            model = self._path.split("/")[1]
            if model not in _FULL_HZ:
                raise MeterError(
                    f"source '{spec.text}': {self._path} is of a kind that is not known here; JS110 and JS220 are"
                )
            self._topic = f"{self._path}/s/{'sstats' if model == 'js110' else 'stats'}/value"
            self._begin(model, rate_hz)
        except (MeterError, UsageError):
            self._driver.finalize()
            raise
        except _RAISES as error:
            self._driver.finalize()
            raise MeterError(
                f"source '{spec.text}': the driver says '{error}'; close other programs that use it, check the udev rules, plug it "
                "in again"
            ) from error
        self._provenance = f"measured: Joulescope {model.upper()} {self._path.rpartition('/')[2]}, its own integral"

    def _find(self, spec: Spec) -> str:
        paths = sorted(self._driver.device_paths())
        mine = [path for path in paths if spec.where in ("", path, path.rpartition("/")[2])]
        if len(mine) == 1:
            return mine[0]
        there = ", ".join(paths) or "none"
        what = (
            "several are plugged in, name one"
            if mine
            else "no such instrument is plugged in (or the udev rules are missing)"
        )
        raise MeterError(f"source '{spec.text}': {what}; there are: {there}")

    def _begin(self, model: str, rate_hz: int) -> None:
        driver, path = self._driver, self._path
        driver.open(path, "defaults")
        if model == "js110":
            driver.publish(f"{path}/s/i/range/select", "auto")
        else:
            driver.publish(f"{path}/s/i/range/mode", "auto")
            driver.publish(f"{path}/s/stats/scnt", _FULL_HZ[model] // rate_hz)
            driver.publish(f"{path}/s/stats/ctrl", 1)
        driver.subscribe(self._topic, "pub", self._take)

    def _take(self, topic: str, value: Any) -> None:
        """Take a message; called from the driver's thread."""
        with self._lock:
            self._heard.append((self._machine.clock(), value))

    def read(self) -> tuple[Reading, ...]:
        """Return the mean since the last reading, extremes, and energy since the first message.

        Raises
        ------
        MeterError
            If nothing has come for some seconds, or it is not what the driver documents.
        """
        with self._lock:
            heard = list(self._heard)
            self._heard.clear()
        now_s = self._machine.clock()
        if not heard:
            if now_s - self._heard_s > _SILENT_S:
                raise MeterError(
                    f"source '{self.source}': nothing has come for {now_s - self._heard_s:.1f} s; is it still plugged in?"
                )
            return ()
        self._heard_s = heard[-1][0]
        try:
            return (self._reading(heard),)
        except (KeyError, TypeError, IndexError, ZeroDivisionError) as error:
            raise MeterError(
                f"source '{self.source}': a message lacks {error}; is the driver older than 1.4? pip install -U pyjoulescope_driver"
            ) from error

    def _reading(self, heard: list[tuple[float, Mapping[str, Any]]]) -> Reading:
        quality = Quality.OK
        for _, value in heard:
            if not self._count(value):
                quality |= Quality.GAP  # it has begun to count anew
        total_j, samples = self._sums()
        rate_hz = float(heard[-1][1]["time"]["sample_freq"]["value"])
        weights = [self._length(value) for _, value in heard]

        def mean(signal: str) -> float:
            values = [float(value["signals"][signal]["avg"]["value"]) for _, value in heard]
            return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)

        power = [value["signals"]["power"] for _, value in heard]
        return Reading(
            time_s=heard[-1][0], rail="joulescope", voltage_v=mean("voltage"), current_a=mean("current"), power_w=mean("power"),
            low_w=min(float(each["min"]["value"]) for each in power), high_w=max(float(each["max"]["value"]) for each in power),
            energy_j=total_j, covered_s=samples / rate_hz, provenance=self._provenance, quality=quality,
        )  # fmt: skip

    def _count(self, value: Mapping[str, Any]) -> bool:
        """Take a message's sums; return False if the instrument has begun to count anew."""
        begin, end = (int(each) for each in value["time"]["samples"]["value"])
        energy_j = float(value["accumulators"]["energy"]["value"])
        anew = self._first is not None and end <= self._last[1]
        if self._first is None or anew:
            before_j, before = self._sums() if anew else (0.0, 0)
            # counting begins with the start of this message: what it holds itself is power × time
            held_j = (
                float(value["signals"]["power"]["avg"]["value"])
                * (end - begin)
                / float(value["time"]["sample_freq"]["value"])
            )
            self._first = (energy_j - held_j - before_j, begin - before)
        self._last = (energy_j, end)
        return not anew

    def _length(self, value: Mapping[str, Any]) -> int:
        begin, end = value["time"]["samples"]["value"]
        return int(end) - int(begin)

    def _sums(self) -> tuple[float, int]:
        """Return energy [J] and samples since counting began."""
        assert self._first is not None
        return self._last[0] - self._first[0], self._last[1] - self._first[1]

    def close(self) -> None:
        """Let go of the instrument; power goes on through it."""
        with contextlib.suppress(*_RAISES):  # it may be gone
            self._driver.unsubscribe(self._topic, self._take)
            self._driver.close(self._path)
        self._driver.finalize()
