# SPDX-License-Identifier: Apache-2.0
"""Upper bounds of what any policy can reach on one trace: ``oracle-energy`` and ``oracle-all``.

Both know the harvest and when events arrive. ``oracle-energy`` knows of outcomes what a policy knows: the calibrated model
and, exit by exit, the confidences. ``oracle-all`` knows of every event what the cheapest right answer costs.

Where the bound is more generous than the world, so that it stays a bound:

* within a slot (a period or a part of one) an event may be served at any moment and with energy that arrives in it; dips
  of power within a slot are averaged;
* a board that runs gets the power of the best band above brown-out, one that is off that of the best band which it touches
  in the slot; costs must be those of the cheapest band, with the least heat in a
  series resistance, and the energy below which a running board browns out through it may be used;
* asking a policy is free, and the energy of sleeping is not drawn while computing;
* what charging loses is left out of slots that bring less than half of a full-depth inference; in the others what is gained
  and what is spent count less alike, as if all that is spent came past the store;
* a board may brown out whenever it likes, with as much left as series resistance can leave at most, and may sleep in once
  it has power-good;
* a waiting event may be served until the end of the slot in which its deadline falls; with a queue of more than one,
  the newest ones are the ones kept;
* a board that wakes does so at the beginning of the slot, after the event that arrives there;
* the energy of an inference is rounded down to the grid while the store holds at most ``INTERPOLATE_ABOVE`` full-depth
  inferences. Larger stores are interpolated, since the value is then smooth on the scale of a level; tests compare the two.

What flows in and out of the store within a slot is interpolated between levels of the grid. Where the value has steps (a
small store that can just serve an event), this can put the bound too low, by up to 0.2 % in tests; runs of few slots get
finer grids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib
from joulet.errors import DataError
from joulet.optimum.costs import link_values
from joulet.records import OutcomeModel

INTERPOLATE_ABOVE = 4.0
_LEVELS_PER_INFERENCE = 500
_INTERPOLATED_LEVELS = 768
_CHEAP = 2_000_000  # levels times slots that take no time to speak of
_MOST_LEVELS = 32768
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """A trace, a store and a stream of events, as a bound sees them.

    Attributes
    ----------
    segment_s, duration_s
        Beginnings of segments of constant power, the first 0, and the end [s].
    band_j
        Energy held from which each band of the converter holds, the first 0 [J].
    output_w
        ``(n_bands, n_segments)`` power that reaches the store [W].
    full_j, off_j, on_j, initial_j
        Energy held when full, at brown-out (the least that a board with power may hold), at power-good and at the
        beginning [J].
    leak_tau_s
        [s].
    sleep_w
        Drawn from the store asleep, in the cheapest band [W].
    event_s
        Times of events [s].
    deadline_s, period_s
        [s].
    queue
        Events that may wait.
    brownout_j
        The most that the store may hold at a brown-out, more than ``off_j`` with series resistance; None for as much [J].
    charge_efficiency
        Stored over accepted, 0..1.
    """

    segment_s: Array
    duration_s: float
    band_j: Array
    output_w: Array
    full_j: float
    off_j: float
    on_j: float
    initial_j: float
    leak_tau_s: float
    sleep_w: float
    event_s: Array
    deadline_s: float
    period_s: float
    queue: int = 1
    brownout_j: float | None = None
    charge_efficiency: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Costs:
    """Steps of every path: what they take from the store, ``step_j[path][k + 1][j]`` [J], and ``step_s`` [s].

    Waking is included.
    """

    step_j: tuple[tuple[tuple[float, ...], ...], ...]
    step_s: tuple[tuple[tuple[float, ...], ...], ...]

    def full_j(self) -> float:
        """Return the energy of the dearest full-depth path [J]."""
        return max(rows[0][-1] for rows in self.step_j)


def oracle_energy(
    world: World, costs: Costs, model: OutcomeModel, *, links: tuple[int, ...] | None = None, levels: int | None = None
) -> float:
    """Return the largest expected number of right answers on time of a policy that knows harvest and arrivals.

    Parameters
    ----------
    world, costs
        What happens, and what inference costs.
    model : OutcomeModel
        What exits say.
    links : tuple of int, optional
        Links of the model that may be taken; all of them without.
    levels : int, optional
        Of the energy grid; chosen by the size of the store without.
    """
    chosen = np.arange(len(model.links)) if links is None else np.asarray(links, np.int64)
    net = np.maximum(link_values(model, costs.step_j) - world.sleep_w * link_values(model, costs.step_s), 0.0)
    chain, keep = chain_of(model, net, link_values(model, costs.step_s), chosen)
    return _bound(world, costs, chain, None, levels, keep=keep)


def chain_of(model: OutcomeModel, link_j: Array, link_s: Array, chosen: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    """Return (``jlt_sim_chain_t *``, what must outlive it) of some links of a model, with the nodes they touch."""
    links = model.links[chosen]
    nodes = np.unique(links[:, 1])
    direct = {int(target): at for at, (source, target) in enumerate(model.links.tolist()) if source < 0}
    at_start = [direct[node] for node in nodes.tolist()]
    renamed = np.where(links < 0, -1, np.searchsorted(nodes, links))
    arrays: dict[str, npt.NDArray[Any]] = {
        "links": np.ascontiguousarray(renamed, np.int16),
        "link_j": np.ascontiguousarray(link_j[chosen]),
        "direct_s": np.ascontiguousarray(link_s[at_start]),
        "direct_j": np.ascontiguousarray(link_j[at_start]),
        "transition": np.ascontiguousarray(model.transition[chosen], np.float32),
        "accuracy": np.ascontiguousarray(model.accuracy[nodes], np.float32),
    }
    chain = ffi.new("jlt_sim_chain_t *")
    chain.n_nodes, chain.n_bins, chain.n_links = len(nodes), model.n_bins, len(chosen)
    types = {"links": "int16_t *", "transition": "float *", "accuracy": "float *"}
    for name, array in arrays.items():
        setattr(chain, name, ffi.cast(f"const {types.get(name, 'double *')}", array.ctypes.data))
    return chain, arrays


def oracle_all(world: World, costs: Costs, hit_j: Array, *, levels: int | None = None) -> float:
    """Return the largest number of right answers on time of a policy that knows everything.

    Parameters
    ----------
    hit_j : array (n_events,)
        Cheapest energy of a right answer to each event, ``inf`` where no exit of any path is right [J].
    """
    return _bound(world, costs, ffi.NULL, hit_j, levels, keep=())


@dataclass(frozen=True, slots=True, eq=False)
class _Slots:
    begin_s: Array
    end_s: Array
    arrives: npt.NDArray[np.uint8]
    kept: npt.NDArray[np.uint8]
    newest: npt.NDArray[np.int64]


def _slots(world: World, store_inferences: float) -> _Slots:
    """Cut time at events and into pieces of at most a part of the period; small stores get finer ones."""
    parts = 8 if store_inferences < 2.0 else 4 if store_inferences < 10.0 else 1
    event_s = world.event_s[world.event_s < world.duration_s]
    edges = np.unique(np.concatenate([[0.0], event_s, [world.duration_s]]))
    counts = np.maximum(1, np.ceil(np.diff(edges) / (world.period_s / parts) - 1e-9)).astype(np.int64)
    if counts.sum() > 1 << 28:
        raise DataError("the run is too long for an oracle; shorten it or lengthen the period")
    step_s = np.repeat(np.diff(edges) / counts, counts)
    first = np.cumsum(counts) - counts
    within = np.arange(int(counts.sum())) - np.repeat(first, counts)
    begin_s = np.repeat(edges[:-1], counts) + within * step_s
    end_s = np.append(begin_s[1:], world.duration_s)
    # events at the very same time: the queue keeps the newest, the others are lost to any policy
    number = np.searchsorted(event_s, begin_s, side="right")
    arrives = np.isin(begin_s, event_s)
    oldest = np.searchsorted(event_s, end_s - world.deadline_s, side="left")
    kept = np.clip(number - oldest, 0, world.queue)
    return _Slots(
        begin_s=begin_s,
        end_s=end_s,
        arrives=arrives.astype(np.uint8),
        kept=kept.astype(np.uint8),
        newest=number - 1,
    )


def _bands(world: World) -> tuple[Array, Array]:
    """Return the lowest energy of each band, and its power: those above brown-out as one, the best of them."""
    first = int(np.searchsorted(world.band_j, world.off_j, side="right")) - 1
    return world.band_j[: first + 1], np.vstack([world.output_w[:first], world.output_w[first:].max(axis=0)])


def _powers(world: World, output_w: Array, begin_s: Array, end_s: Array) -> Array:
    """Return the power of each slot in each band, ``(n_bands, n_slots)``: constant, and leaving as much at the end.

    What comes late leaks for a shorter time.
    """
    starts_s = np.unique(np.concatenate([begin_s, world.segment_s]))
    lengths_s = np.diff(np.append(starts_s, world.duration_s))
    slot = np.searchsorted(begin_s, starts_s, side="right") - 1
    segment = np.searchsorted(world.segment_s, starts_s, side="right") - 1
    left_s = end_s[slot] - starts_s
    if np.isinf(world.leak_tau_s):
        share = lengths_s / (end_s - begin_s)[slot]
    else:
        tau_s = world.leak_tau_s
        share = np.exp((lengths_s - left_s) / tau_s) * np.expm1(-lengths_s / tau_s)
        share /= np.expm1((begin_s - end_s)[slot] / tau_s)
    rows = [np.bincount(slot, share * row[segment], minlength=len(begin_s)) for row in output_w]
    return np.ascontiguousarray(rows, np.float64)


def _bound(world: World, costs: Costs, chain: Any, hit_j: Array | None, levels: int | None, keep: Any) -> float:
    inferences = (world.full_j - world.off_j) / costs.full_j()
    slots = _slots(world, inferences)
    band_j, output_w = _bands(world)
    power_w, length_s = _powers(world, output_w, slots.begin_s, slots.end_s), slots.end_s - slots.begin_s
    interpolate = inferences > INTERPOLATE_ABOVE
    if levels is None:
        levels = _INTERPOLATED_LEVELS if interpolate else int(np.clip(inferences * _LEVELS_PER_INFERENCE, 600, 4096))
        levels = max(levels, min(_CHEAP // len(length_s), _MOST_LEVELS))
    store = ffi.new("jlt_sim_store_t *")
    store.full_j, store.off_j, store.on_j = world.full_j - world.off_j, world.off_j, world.on_j - world.off_j
    store.tau_s, store.sleep_w, store.n_bands = world.leak_tau_s, world.sleep_w, len(band_j)
    brightens = (power_w[-1] - world.sleep_w) * length_s >= costs.full_j() / 2.0
    arrays = {
        "slot_s": length_s,
        "power_w": power_w,
        "charge": np.where(brightens, world.charge_efficiency, 1.0),
        "hit_j": np.zeros(1) if hit_j is None else _newest_hits(world, slots, hit_j),
        "band_low_j": np.ascontiguousarray(band_j - world.off_j),
    }
    bound = ffi.new("jlt_sim_bound_t *")
    for name, array in arrays.items():
        owner = store if name == "band_low_j" else bound
        setattr(owner, name, ffi.cast("const double *", array.ctypes.data))
    bound.chain, bound.store, bound.n_levels, bound.queue = chain, store, levels, world.queue
    bound.interpolate, bound.deadline_s = interpolate, world.deadline_s
    bound.initial_j = world.initial_j - world.off_j
    bound.powered = world.initial_j >= world.on_j * (1.0 - 2e-9)
    left_j = world.off_j if world.brownout_j is None else world.brownout_j
    bound.brownout_j, bound.charge_efficiency = max(left_j - world.off_j, 0.0), world.charge_efficiency
    bound.n_slots = len(length_s)
    bound.arrives = ffi.cast("const uint8_t *", slots.arrives.ctypes.data)
    bound.kept = ffi.cast("const uint8_t *", slots.kept.ctypes.data)
    value = _solve(bound)
    del keep
    return value


def _newest_hits(world: World, slots: _Slots, hit_j: Array) -> Array:
    """Return the cheapest right answer to any event that may wait in each slot [J]."""
    best = hit_j.copy()
    for back in range(1, world.queue):
        best[back:] = np.minimum(best[back:], hit_j[:-back])
    padded = np.append(best[: int(slots.newest.max(initial=-1)) + 1], np.inf)  # −1: no event yet
    return np.ascontiguousarray(padded[slots.newest])


def _solve(bound: Any) -> float:
    n_bytes = lib.jlt_sim_bound_scratch_bytes(bound)
    if n_bytes == 0:
        raise DataError("the oracle cannot be laid out: too many levels, bands or waiting events (at most 8 wait)")
    scratch = np.empty(n_bytes // 8 + 4, np.float64)
    value = ffi.new("double *")
    aligned = scratch.ctypes.data + (-scratch.ctypes.data % 16)
    status = lib.jlt_sim_bound(bound, ffi.cast("void *", aligned), value)
    if status != 0:
        raise DataError(f"the oracle failed (status {status})")
    return float(value[0])
