# SPDX-License-Identifier: Apache-2.0
"""The energy side of a run: the only place where time passes, the store advances and the ledger is written."""

from __future__ import annotations

from collections.abc import Mapping

from joulet.energy.ledger import Ledger
from joulet.energy.seam import Converter, Harvester, Storage
from joulet.records import LoadFigures, StepRecord

_TIMELINE_POINTS = 4000  # the timeline is thinned to about this many points, switches of power apart


class Supply:
    """Harvester, converter and store under a load that is on or off.

    Parameters
    ----------
    harvester, converter, storage
        The energy path; the store is advanced in place.
    load : LoadFigures
        What the board draws, and its thresholds.
    duration_s : float
        Length of the run, for thinning the timeline [s].
    """

    def __init__(
        self, harvester: Harvester, converter: Converter, storage: Storage, load: LoadFigures, duration_s: float
    ) -> None:
        self.harvester, self.converter, self.storage, self.load = harvester, converter, storage, load
        self.ledger = Ledger(storage.energy_j)
        self.now_s = 0.0
        self.powered = storage.voltage_v >= load.on_v * (1.0 - 1e-9)
        self.running_w = load.clock_hz * load.energy_pj_per_cycle * 1e-12
        self.off_j = storage.energy_at_j(load.off_v)
        self.full_j = storage.full_energy_j - self.off_j
        self.brownouts = 0
        self.off_s = self.outage_s = self.longest_outage_s = 0.0
        self.last_drawn_j = 0.0
        self.delivered_j = 0.0
        self.timeline: list[StepRecord] = []
        self._sample_every_s = duration_s / _TIMELINE_POINTS
        self._next_sample_s = 0.0

    @property
    def usable_j(self) -> float:
        """What can be drawn before brown-out [J]."""
        return max(0.0, self.storage.energy_j - self.off_j)

    def advance(self, until_s: float, load_w: float, account: str | None, *, stop_above_v: float | None = None) -> bool:
        """Go on until a time, a brown-out or a voltage; False after a brown-out. The load's energy is posted."""
        harvested_j = delivered_j = unmet_j = leaked_j = clipped_j = drawn_j = 0.0
        stop_below_v = self.load.off_v if self.powered else None
        stopped = False
        while self.now_s < until_s and not stopped:
            power_w, end_s = self.harvester.segment(self.now_s)
            self.sample()
            given_w = self.converter.output_w(power_w)
            step = self.storage.advance(
                given_w - load_w,
                min(end_s, until_s) - self.now_s,
                stop_below_v=stop_below_v,
                stop_above_v=stop_above_v,
            )
            stopped = step.stopped
            # the segment's own end, not a sum of steps: sums would drift
            self.now_s = self.now_s + step.elapsed_s if stopped else min(end_s, until_s)
            harvested_j += power_w * step.elapsed_s
            delivered_j += given_w * step.elapsed_s
            drawn_j += load_w * step.elapsed_s
            leaked_j += step.leaked_j
            clipped_j += step.clipped_j
            unmet_j += step.unmet_j
        self.delivered_j += delivered_j + unmet_j
        post = self.ledger.post
        post("harvested", harvested_j)
        # an empty store delivers nothing to the converter either
        post("conversion", harvested_j - delivered_j - unmet_j)
        post("leakage", leaked_j)
        post("clipped", clipped_j)
        if account is not None:
            post(account, drawn_j)
        self.last_drawn_j = drawn_j
        if stopped and self.powered and self.storage.voltage_v <= self.load.off_v * (1.0 + 1e-9):
            self._brown_out()
            return False
        return True

    def wait_for_power(self, until_s: float) -> None:
        """Stay off until the power-good threshold or a time."""
        start_s = self.now_s
        self.advance(until_s, 0.0, None, stop_above_v=self.load.on_v)
        passed_s = self.now_s - start_s
        self.off_s += passed_s
        self.outage_s += passed_s
        self.longest_outage_s = max(self.longest_outage_s, self.outage_s)
        if self.storage.voltage_v >= self.load.on_v * (1.0 - 1e-9):
            self.powered, self.outage_s = True, 0.0
            self.mark("power_good")

    def mark(self, event: str, path: int | None = None, exit: int | None = None) -> None:
        """Add a point to the timeline."""
        self.timeline.append(
            StepRecord(
                time_s=self.now_s,
                event=event,
                store_voltage_v=self.storage.voltage_v,
                harvest_power_w=self.harvester.segment(self.now_s)[0],
                powered=self.powered,
                path=path,
                exit=exit,
            )
        )

    def sample(self, event: str = "sample", path: int | None = None, exit: int | None = None) -> None:
        """Add a point to the timeline unless there was one just before."""
        if self.now_s >= self._next_sample_s:
            self._next_sample_s = self.now_s + self._sample_every_s
            self.mark(event, path, exit)

    def provenance(self, sources: Mapping[str, str]) -> dict[str, str]:
        """Return where the figures of each account come from; ``sources`` is keyed as a board's file."""
        cycles = f"{sources.get('cycles', 'not stated')}; energy: {sources.get('pj_per_cycle', 'not stated')}"
        return {
            "harvested": self.harvester.provenance,
            "stored": self.storage.provenance,
            "compute": cycles,
            "abandoned": cycles,
            "sleep": sources.get("sleep_w", "not stated"),
            "sensing": sources.get("sensing_j", "not stated"),
            "policy": sources.get("decision_cycles", "not stated"),
            "conversion": self.converter.provenance,
            "leakage": self.storage.provenance,
            "clipped": self.storage.provenance,
        }

    def _brown_out(self) -> None:
        self.powered = False
        self.brownouts += 1
        self.outage_s = 0.0
        self.mark("brownout")
