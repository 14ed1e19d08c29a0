# SPDX-License-Identifier: Apache-2.0
"""From a stream to readings: what has arrived since the last one becomes a mean with its extremes and an integral."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from joulet.errors import MeterError
from joulet.meters.seam import Quality, Reading, Samples, Stream

_SILENT_S = 2.0
_WAIT_S = 0.2
_BEHIND_S = 2.0  # no line keeps back so much: what is missing then was lost without the stream's own check seeing it


class Condenser:
    """Keeps the integral of one stream. Lost samples are in no figure, and say so in the quality.

    Readings are timed by the samples' own count, beginning when the first arrived: a reader that comes late changes nothing.
    """

    def __init__(self, rail: str, provenance: str, now_s: float) -> None:
        self._rail, self._provenance = rail, provenance
        self._energy_j = self._covered_s = 0.0
        self._heard_s = now_s
        self._anchor_s: float | None = None

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

    def _time_s(self, end_s: float, now_s: float) -> tuple[float, float]:
        """Return when the last sample was taken, and how much time was lost unseen since the last reading [s]."""
        anchor_s = now_s - end_s
        if self._anchor_s is None or anchor_s < self._anchor_s:
            self._anchor_s = anchor_s  # nothing arrives before it was taken
        unseen_s = 0.0
        if anchor_s - self._anchor_s > _BEHIND_S:
            unseen_s, self._anchor_s = anchor_s - self._anchor_s, anchor_s
        return self._anchor_s + end_s, unseen_s

    def _reading(self, parts: list[Samples], now_s: float) -> Reading:
        current_a = np.concatenate([part.current_a for part in parts])
        voltage_v, period_s = parts[0].voltage_v, parts[0].period_s
        known = current_a[np.isfinite(current_a)]
        time_s, unseen_s = self._time_s((parts[-1].first + parts[-1].count) * period_s, now_s)
        lost_s = unseen_s + (len(current_a) - len(known)) * period_s
        quality = Quality.GAP if lost_s > 0.0 or any(part.uncertain for part in parts) else Quality.OK
        self._energy_j += float(known.sum()) * voltage_v * period_s
        self._covered_s += len(known) * period_s
        mean_a = float(known.mean()) if len(known) else None
        return Reading(
            time_s=time_s,
            rail=self._rail,
            voltage_v=voltage_v,
            current_a=mean_a,
            power_w=None if mean_a is None else mean_a * voltage_v,
            low_w=float(known.min()) * voltage_v if len(known) else None,
            high_w=float(known.max()) * voltage_v if len(known) else None,
            energy_j=self._energy_j,
            covered_s=self._covered_s,
            lost_s=lost_s,
            provenance=self._provenance,
            quality=quality,
        )
