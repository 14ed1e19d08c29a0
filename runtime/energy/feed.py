# SPDX-License-Identifier: Apache-2.0
"""Converter and store under constant harvest and a constant load, in steps that have a closed form.

A step ends at the time asked for, at a voltage asked for, at brown-out, at the edge of a band of the converter, or at the
bound that :mod:`joulet.energy.esr` sets where the store has series resistance.

**At an edge** the store's net rate decides, reckoned with the powers of both bands. Where only the band above gains, or
only the band below loses, the store goes that way. Where both hold, it goes on the way it came. Where neither holds, it
would fall from above and rise from below: it rests at the edge for the whole step. The converter then alternates between
both bands in those shares of time at which the store neither gains nor loses, and every flow is booked by these shares.
"""

from __future__ import annotations

from bisect import bisect_right
from copy import copy
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from joulet.energy.esr import brownout_v, heat_w, step_limits_v
from joulet.energy.seam import Converter, Storage, StorageStep


class Stop(Enum):
    """Why a step ended."""

    TIME = "the time asked for"
    REACHED = "the voltage asked for"
    BROWNOUT = "brown-out"
    EDGE = "the edge of a band of the converter"
    BOUND = "the bound of a step under series resistance"


@dataclass(slots=True)
class Flows:
    """What flowed, summed over steps [J].

    Attributes
    ----------
    harvested_j, delivered_j
        Before the converter, and after it (negative where it drew more than it passed on).
    loaded_j
        What the load got.
    lost_j
        Lost between store and load (output stage, series resistance) and in charging.
    leaked_j, clipped_j, unmet_j
        As in :class:`joulet.energy.seam.StorageStep`.
    """

    harvested_j: float = 0.0
    delivered_j: float = 0.0
    loaded_j: float = 0.0
    lost_j: float = 0.0
    leaked_j: float = 0.0
    clipped_j: float = 0.0
    unmet_j: float = 0.0


class _Powers(NamedTuple):
    """Powers in one band [W]: harvested, given to the store, got by the load, drawn for it, turned into heat by that."""

    harvest_w: float
    given_w: float
    load_w: float
    draw_w: float
    heat_w: float

    @property
    def net_w(self) -> float:
        return self.given_w - (self.draw_w + self.heat_w)

    def book(self, flows: Flows, step: StorageStep) -> None:
        seconds = step.elapsed_s
        flows.harvested_j += self.harvest_w * seconds
        flows.delivered_j += self.given_w * seconds
        flows.loaded_j += self.load_w * seconds
        flows.lost_j += (self.draw_w - self.load_w + self.heat_w) * seconds + step.lost_j
        flows.leaked_j += step.leaked_j
        flows.clipped_j += step.clipped_j
        flows.unmet_j += step.unmet_j


class Feed:
    """Converter and store; the store is advanced in place."""

    def __init__(self, converter: Converter, storage: Storage) -> None:
        self._converter, self._storage = converter, storage
        self.edges_v, self.bands_v = reachable_bands(converter, storage)
        self._empty_v, self._full_v = storage.voltage_at_v(0.0), storage.voltage_at_v(storage.full_energy_j)
        self._band = bisect_right(self.edges_v, storage.voltage_v)
        self._sags = storage.esr_ohm > 0.0
        self._edge: int | None = None  # the edge at which the store stands, None between edges
        self._came_up = False  # whether it came to that edge from below

    def trial(self) -> Feed:
        """Return a copy on a copy of the store, to look ahead with."""
        other = copy(self)
        other._storage = copy(self._storage)
        return other

    def given_w(self, power_w: float) -> float:
        """Return what reaches the store of a harvested power, in the band where the store is [W]."""
        return self._converter.output_w(power_w, self.bands_v[self._band])

    def step(
        self,
        power_w: float,
        load_w: float,
        duration_s: float,
        flows: Flows,
        *,
        off_v: float | None,
        stop_above_v: float | None,
    ) -> tuple[float, Stop]:
        """Go on for one step.

        Parameters
        ----------
        power_w, load_w : float
            Harvested, and asked for by the load [W].
        duration_s : float
            Longest step [s].
        flows : Flows
            What flows is added here.
        off_v : float or None
            Terminal voltage at which the load browns out [V]; None while it is off, when it must draw nothing.
        stop_above_v : float or None
            Voltage of the store at which to stop [V].

        Returns
        -------
        (float, Stop)
            Time that passed [s], and why the step ended. After ``EDGE`` and ``BOUND`` the caller goes on.
        """
        if self._edge is not None and self._rests(self._edge, power_w, load_w, off_v):
            return self._rest(self._edge, power_w, load_w, duration_s, flows, off_v=off_v, stop_above_v=stop_above_v)
        powers = self._powers(self._band, power_w, load_w, off_v, self._storage.voltage_v)
        low_v, low = self._lower_limit(powers, off_v)
        high_v, high = self._upper_limit(powers, stop_above_v)
        step = self._storage.advance(powers.net_w, duration_s, stop_below_v=low_v, stop_above_v=high_v)
        powers.book(flows, step)
        stop = Stop.TIME if not step.stopped else low if step.below else high
        if stop is Stop.EDGE:
            self._edge = self._band - 1 if step.below else self._band
            self._came_up = not step.below
        elif step.elapsed_s > 0.0:
            self._edge = None
        return step.elapsed_s, stop

    def _powers(self, band: int, power_w: float, load_w: float, off_v: float | None, voltage_v: float) -> _Powers:
        band_v, heat = self.bands_v[band], 0.0
        draw_w = self._converter.draw_w(load_w, band_v)
        # at or below off_v the load browns out before any time passes
        if self._sags and off_v is not None and voltage_v > off_v:
            heat = heat_w(draw_w, voltage_v, self._storage.esr_ohm)
        return _Powers(power_w, self._converter.output_w(power_w, band_v), load_w, draw_w, heat)

    def _lower_limit(self, powers: _Powers, off_v: float | None) -> tuple[float | None, Stop]:
        """Return the first voltage to be met on the way down and what happens there; brown-out before all else."""
        limit_v, stop = None, Stop.BROWNOUT
        if off_v is not None:
            limit_v = brownout_v(off_v, powers.draw_w, self._storage.esr_ohm)
        below = self._band - 1
        if below >= 0 and below != self._edge and (limit_v is None or self.edges_v[below] > limit_v):
            limit_v, stop = self.edges_v[below], Stop.EDGE
        if powers.heat_w > 0.0:
            bound_v = step_limits_v(self._storage.voltage_v)[0]
            # an empty battery is a brown-out, not the end of a step
            if bound_v > self._empty_v and (limit_v is None or bound_v > limit_v):
                limit_v, stop = bound_v, Stop.BOUND
        return limit_v, stop

    def _upper_limit(self, powers: _Powers, stop_above_v: float | None) -> tuple[float | None, Stop]:
        """Return the first voltage to be met on the way up and what happens there; the one asked for before all else."""
        limit_v, stop = stop_above_v, Stop.REACHED
        above = self._band
        if above < len(self.edges_v) and above != self._edge and (limit_v is None or self.edges_v[above] < limit_v):
            limit_v, stop = self.edges_v[above], Stop.EDGE
        if powers.heat_w > 0.0:
            bound_v = step_limits_v(self._storage.voltage_v)[1]
            if bound_v < self._full_v and (limit_v is None or bound_v < limit_v):
                limit_v, stop = bound_v, Stop.BOUND
        return limit_v, stop

    def _rests(self, edge: int, power_w: float, load_w: float, off_v: float | None) -> bool:
        """Choose the band to leave an edge into; True where the store stays at it."""
        below_w, above_w = (self._storage.rate_w(side.net_w) for side in self._sides(edge, power_w, load_w, off_v))
        rises, falls = above_w > 0.0, below_w < 0.0
        if rises or falls:
            self._band = edge + int(self._came_up if rises and falls else rises)
        return not rises and not falls

    def _rest(
        self,
        edge: int,
        power_w: float,
        load_w: float,
        duration_s: float,
        flows: Flows,
        *,
        off_v: float | None,
        stop_above_v: float | None,
    ) -> tuple[float, Stop]:
        """Stay at an edge for a whole step, in both bands by turns."""
        edge_v, sides = self.edges_v[edge], self._sides(edge, power_w, load_w, off_v)
        draw_w = max(side.draw_w for side in sides)
        if off_v is not None and edge_v <= brownout_v(off_v, draw_w, self._storage.esr_ohm):
            return 0.0, Stop.BROWNOUT
        if stop_above_v is not None and edge_v >= stop_above_v:
            return 0.0, Stop.REACHED
        gain_w, loss_w = (self._storage.rate_w(side.net_w) for side in sides)
        above = gain_w / (gain_w - loss_w) if gain_w > loss_w else 1.0
        for side, share in zip(sides, (1.0 - above, above), strict=True):
            side.book(flows, self._storage.hold(side.net_w, share * duration_s))
        return duration_s, Stop.TIME

    def _sides(self, edge: int, power_w: float, load_w: float, off_v: float | None) -> tuple[_Powers, _Powers]:
        """Return the powers just below and just above an edge."""
        edge_v = self.edges_v[edge]
        return (
            self._powers(edge, power_w, load_w, off_v, edge_v),
            self._powers(edge + 1, power_w, load_w, off_v, edge_v),
        )


def reachable_bands(converter: Converter, storage: Storage) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the edges that a store can cross, and one voltage inside each band between them [V]."""
    edges_v, bands_v = [], []
    low_v = 0.0
    for edge_v in converter.band_edges_v:
        energy_j = storage.energy_at_j(edge_v)
        if energy_j >= storage.full_energy_j:
            break
        if energy_j > 0.0:
            edges_v.append(edge_v)
            bands_v.append((low_v + edge_v) / 2.0)
        low_v = edge_v
    else:
        return tuple(edges_v), (*bands_v, low_v + 1.0)
    return tuple(edges_v), (*bands_v, (low_v + edge_v) / 2.0)
