# SPDX-License-Identifier: Apache-2.0
"""From a stream to readings: what has arrived since the last one becomes a mean with its extremes and an integral."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from joulet.errors import MeterError
from joulet.meters.seam import Quality, Reading, Samples, Stream

_SILENT_S = 2.0
_WAIT_S = 0.2


class Condenser:
    """Keeps the integral of one stream. Lost samples are in no figure, and say so in the quality."""

    def __init__(self, rail: str, provenance: str, now_s: float) -> None:
        self._rail, self._provenance = rail, provenance
        self._energy_j = 0.0
        self._heard_s = now_s

    def read(self, stream: Stream, clock: Callable[[], float]) -> tuple[Reading, ...]:
        """Return one reading, or none when nothing has arrived yet.

        Raises
        ------
        MeterError
            If nothing has arrived for some seconds, or the source is gone.
        """
        parts: list[Samples] = []
        found = stream.samples(_WAIT_S)
        while found.count or found.uncertain:
            parts.append(found)
            found = stream.samples(0.0)
            if sum(part.count for part in parts) > stream.rate_hz:
                break  # a second at most: others want to be read too
        now_s = clock()
        if not parts:
            if now_s - self._heard_s > _SILENT_S:
                raise MeterError(
                    f"source '{stream.source}': no samples for {now_s - self._heard_s:.1f} s; is it still plugged in?"
                )
            return ()
        self._heard_s = now_s
        return (self._reading(parts, now_s),)

    def _reading(self, parts: list[Samples], now_s: float) -> Reading:
        current_a = np.concatenate([part.current_a for part in parts])
        voltage_v, period_s = parts[0].voltage_v, parts[0].period_s
        known = current_a[np.isfinite(current_a)]
        quality = Quality.OK
        if len(known) < len(current_a) or any(part.uncertain for part in parts):
            quality |= Quality.GAP
        if not len(known):
            return Reading(
                time_s=now_s, rail=self._rail, voltage_v=voltage_v, energy_j=self._energy_j, quality=quality,
                provenance=self._provenance,
            )  # fmt: skip
        self._energy_j += float(known.sum()) * voltage_v * period_s
        mean_a = float(known.mean())
        return Reading(
            time_s=now_s, rail=self._rail, voltage_v=voltage_v, current_a=mean_a, power_w=mean_a * voltage_v,
            low_w=float(known.min()) * voltage_v, high_w=float(known.max()) * voltage_v, energy_j=self._energy_j,
            provenance=self._provenance, quality=quality,
        )  # fmt: skip
