# SPDX-License-Identifier: Apache-2.0
"""The energy side of a run: the only place where time passes, the store advances and the ledger is written.

How one step goes is in :mod:`joulet.energy.feed`; here steps are strung together, booked and shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from joulet.energy.esr import brownout_v, heat_w
from joulet.energy.feed import Feed, Flows, Stop
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

    Attributes
    ----------
    off_v, off_j
        Voltage of the store below which the board cannot be counted on to run, and the energy held there: its terminal
        would stand at the board's brown-out threshold while the larger of running and sleeping power is drawn through
        the series resistance, in the converter's worst band. Without resistance the threshold itself [V], [J].
    full_j
        Energy of a full store above ``off_j`` [J].
    dearness
        Energy taken from the store, at worst, for one joule that the running board gets; 1 or more.
    """

    def __init__(
        self, harvester: Harvester, converter: Converter, storage: Storage, load: LoadFigures, duration_s: float
    ) -> None:
        self.harvester, self.converter, self.storage, self.load = harvester, converter, storage, load
        self.ledger = Ledger(storage.energy_j)
        self.now_s = 0.0
        self.powered = storage.voltage_v >= load.on_v * (1.0 - 1e-9)
        self.running_w = load.clock_hz * load.energy_pj_per_cycle * 1e-12
        self._feed = Feed(converter, storage)
        worst_w = max(self._draw_w(self.running_w), self._draw_w(load.sleep_w))
        self.off_v = brownout_v(load.off_v, worst_w, storage.esr_ohm)
        self.off_j = storage.energy_at_j(self.off_v)
        self.full_j = storage.full_energy_j - self.off_j
        self.dearness = self.cost_w(self.running_w) / self.running_w
        self.brownouts = 0
        self.off_s = self.outage_s = self.longest_outage_s = 0.0
        self.last_drawn_j = 0.0
        self.delivered_j = 0.0
        self.timeline: list[StepRecord] = []
        self._sample_every_s = duration_s / _TIMELINE_POINTS
        self._next_sample_s = 0.0

    @property
    def usable_j(self) -> float:
        """What can be drawn from the store before a running board may brown out [J]."""
        return max(0.0, self.storage.energy_j - self.off_j)

    @property
    def given_w(self) -> float:
        """Power that reaches the store now, after the converter; negative where that draws more than it gives [W]."""
        return self._feed.given_w(self.harvester.segment(self.now_s)[0])

    def cost_w(self, load_w: float) -> float:
        """Return the most that a load costs the store while energy is usable [W].

        That is its draw in the converter's worst band above brown-out and the heat that this draw makes in the series
        resistance at ``off_v``. What costs no more than ``usable_j`` by this figure is finished even in the dark, but for
        what leaks and what the converter draws meanwhile.
        """
        draw_w = self._draw_w(load_w)
        return draw_w + heat_w(draw_w, self.off_v, self.storage.esr_ohm)

    @property
    def sags(self) -> bool:
        """True where the terminal stands below the store's voltage under load."""
        return self.storage.esr_ohm > 0.0

    def advance(self, until_s: float, load_w: float, account: str | None, *, stop_above_v: float | None = None) -> bool:
        """Go on until a time, a brown-out or a voltage; False after a brown-out. The load's energy is posted."""
        flows, stop = Flows(), Stop.TIME
        off_v = self.load.off_v if self.powered else None
        while self.now_s < until_s and stop not in (Stop.REACHED, Stop.BROWNOUT):
            power_w, end_s = self.harvester.segment(self.now_s)
            self.sample()
            end_s = min(end_s, until_s)
            passed_s, stop = self._feed.step(
                power_w, load_w, end_s - self.now_s, flows, off_v=off_v, stop_above_v=stop_above_v
            )
            # the segment's own end, not a sum of steps: sums would drift
            self.now_s = end_s if stop is Stop.TIME else self.now_s + passed_s
        self._post(flows, account)
        if stop is Stop.BROWNOUT:
            self._brown_out()
            return False
        return True

    def brownout_in_s(self, load_w: float, within_s: float) -> float | None:
        """Return how long a load can be drawn from now before the board browns out [s]; None if longer than asked."""
        feed, flows, now_s = self._feed.trial(), Flows(), self.now_s
        end_s = now_s + within_s
        while now_s < end_s:
            power_w, segment_s = self.harvester.segment(now_s)
            segment_s = min(segment_s, end_s)
            passed_s, stop = feed.step(
                power_w, load_w, segment_s - now_s, flows, off_v=self.load.off_v, stop_above_v=None
            )
            now_s = segment_s if stop is Stop.TIME else now_s + passed_s
            if stop is Stop.BROWNOUT:
                return now_s - self.now_s
        return None

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
            "refit": sources.get("refit_cycles", "none: no head was fitted on the device"),
        }

    def _post(self, flows: Flows, account: str | None) -> None:
        self.delivered_j += flows.delivered_j + flows.unmet_j
        post = self.ledger.post
        post("harvested", flows.harvested_j)
        # an empty store delivers nothing to the converter either
        post("conversion", flows.harvested_j - flows.delivered_j - flows.unmet_j + flows.lost_j)
        post("leakage", flows.leaked_j)
        post("clipped", flows.clipped_j)
        if account is not None:
            post(account, flows.loaded_j)
        self.last_drawn_j = flows.loaded_j

    def _draw_w(self, load_w: float) -> float:
        """Return the draw of a load in the converter's worst band above brown-out [W]."""
        bands_v = self._feed.bands_v[sum(edge_v <= self.load.off_v for edge_v in self._feed.edges_v) :]
        return max(self.converter.draw_w(load_w, band_v) for band_v in bands_v)

    def _brown_out(self) -> None:
        self.powered = False
        self.brownouts += 1
        self.outage_s = 0.0
        self.mark("brownout")
