# SPDX-License-Identifier: Apache-2.0
"""Harvester, converter and store laid out as arrays for the loop in C."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi
from joulet.energy.battery import Battery
from joulet.energy.capacitor import Capacitor
from joulet.energy.esr import brownout_v, heat_w, step_limits_v
from joulet.energy.feed import reachable_bands
from joulet.energy.seam import Converter, Harvester, Storage
from joulet.energy.segments import outputs_w, segments
from joulet.energy.supply import Supply
from joulet.errors import UsageError
from joulet.records import LoadFigures

SENSING_S = 1e-3  # the energy of a sample, or of a reading, is drawn over this time
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SupplyArrays:
    """The energy side of a run.

    Attributes
    ----------
    segment_s, harvest_w
        ``(n,)`` beginnings [s] and powers before the converter [W], up to ``duration_s``.
    output_w
        ``(n_bands, n)`` power that reaches the store [W].
    band_j
        ``(n_bands,)`` energy held from which each band holds, the first 0 [J].
    duration_s
        Of the run [s].
    full_j, on_j, initial_j
        Energy held when full, at power-good and at the beginning [J].
    off_j
        Energy held where a running board may brown out, as :class:`joulet.energy.supply.Supply` has it [J].
    dearness
        Energy taken from the store, at worst, for one joule that the running board gets.
    leak_tau_s, sleep_w, running_w
        Leakage [s]; what the board gets asleep and running, by its figures [W].
    c_supply
        The same as ``jlt_sim_supply_t *``; lives as long as this.
    """

    segment_s: Array
    harvest_w: Array
    output_w: Array
    band_j: Array
    duration_s: float
    full_j: float
    off_j: float
    on_j: float
    initial_j: float
    dearness: float
    leak_tau_s: float
    sleep_w: float
    running_w: float
    c_supply: Any
    keep: tuple[Any, ...]


def lay_out(
    harvester: Harvester,
    converter: Converter,
    storage: Storage,
    load: LoadFigures,
    *,
    duration_s: float,
    sensing_j: float = 0.0,
    cost_scale: float = 1.0,
    overrun_s: float = 0.0,
) -> SupplyArrays:
    """Return the arrays of an energy path; ``storage`` is read, not advanced.

    Parameters
    ----------
    harvester, converter, storage, load
        The energy path; a :class:`Capacitor` or a :class:`Battery`.
    duration_s, overrun_s : float
        Of the run, and how long what began in it may go on after it [s].
    sensing_j, cost_scale
        As in :class:`joulet.session.SessionSettings`.

    Raises
    ------
    UsageError
        If the store is full below the power-good threshold, or is of a kind that the C code does not know.
    """
    world = Supply(harvester, converter, storage, load, duration_s)
    full_j, on_j = storage.full_energy_j, storage.energy_at_j(load.on_v)
    if storage.voltage_at_v(full_j) < load.on_v:
        raise UsageError(f"the store is full below the power-good threshold of {load.on_v} V; the board never starts")
    segment_s, harvest_w = segments(harvester, duration_s + overrun_s)
    edges_v, bands_v = reachable_bands(converter, storage)
    loads_w = (0.0, load.sleep_w, world.running_w * cost_scale, sensing_j / SENSING_S, load.read_j / SENSING_S)
    arrays = {
        "segment_s": np.ascontiguousarray(segment_s),
        "harvest_w": np.ascontiguousarray(harvest_w),
        "edge_v": np.asarray([*edges_v, math.inf]),
        "output_w": np.stack([outputs_w(converter, harvest_w, volt) for volt in bands_v]),
        "dark_w": np.asarray([converter.output_w(0.0, volt) for volt in bands_v]),
        "draw_w": np.asarray([[converter.draw_w(watt, volt) for watt in loads_w] for volt in bands_v]),
    }
    supply = ffi.new("jlt_sim_supply_t *")
    for name, array in arrays.items():
        setattr(supply, name, ffi.cast("const double *", array.ctypes.data))
    supply.n_segments, supply.n_bands, supply.span_s = len(segment_s), len(bands_v), duration_s + overrun_s
    supply.load_w = list(loads_w)
    supply.step_low, supply.step_high = step_limits_v(1.0)
    supply.brownout_v, supply.on_v, supply.full_v = load.off_v, load.on_v, storage.voltage_at_v(full_j)
    supply.off_j = world.off_j
    supply.start.energy_j, supply.start.voltage_v = storage.energy_j, storage.voltage_v
    _describe(storage, supply.storage)
    within = int(np.searchsorted(segment_s, duration_s))
    return SupplyArrays(
        segment_s=arrays["segment_s"][:within],
        harvest_w=arrays["harvest_w"][:within],
        output_w=arrays["output_w"][:, :within],
        band_j=np.asarray([0.0, *(storage.energy_at_j(edge) for edge in edges_v)]),
        duration_s=duration_s,
        full_j=full_j,
        off_j=world.off_j,
        on_j=on_j,
        initial_j=storage.energy_j,
        dearness=world.dearness,
        leak_tau_s=storage.leak_tau_s,
        sleep_w=load.sleep_w,
        running_w=world.running_w,
        c_supply=supply,
        keep=(arrays,),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The least that a board can take from its store, for bounds.

    Attributes
    ----------
    running_w, sleep_w
        Drawn from the store in the cheapest of the converter's bands above brown-out, with the least heat that this makes
        in the series resistance [W].
    brownout_j
        The most that the store can hold when the board browns out: under the largest draw, in the dearest band [J].
    """

    running_w: float
    sleep_w: float
    brownout_j: float


def floor_of(converter: Converter, storage: Storage, load: LoadFigures, sensing_j: float) -> Floor:
    """Return the least that a board can take from its store."""
    edges_v, bands_v = reachable_bands(converter, storage)
    first = sum(edge_v <= load.off_v for edge_v in edges_v)
    tops_v = (*edges_v, storage.voltage_at_v(storage.full_energy_j))

    def draws_w(load_w: float) -> list[float]:
        return [converter.draw_w(load_w, band_v) for band_v in bands_v[first:]]

    def least_w(load_w: float) -> float:
        draws = zip(draws_w(load_w), tops_v[first:], strict=True)
        return min(draw_w + heat_w(draw_w, top_v, storage.esr_ohm) for draw_w, top_v in draws)

    running_w = load.clock_hz * load.energy_pj_per_cycle * 1e-12
    loads_w = (running_w, load.sleep_w, sensing_j / SENSING_S, load.read_j / SENSING_S)
    most_w = max(max(draws_w(watt)) for watt in loads_w)
    return Floor(
        running_w=least_w(running_w),
        sleep_w=least_w(load.sleep_w),
        brownout_j=storage.energy_at_j(brownout_v(load.off_v, most_w, storage.esr_ohm)),
    )


def _describe(storage: Storage, c_storage: Any) -> None:
    """Write a store into a ``jlt_sim_storage_t``."""
    c_storage.full_j, c_storage.tau_s = storage.full_energy_j, storage.leak_tau_s
    c_storage.esr_ohm = storage.esr_ohm
    if isinstance(storage, Capacitor):
        c_storage.capacitance_f = storage.capacitance_f
        c_storage.charge_efficiency, c_storage.charge_limit_w = 1.0, math.inf
    elif isinstance(storage, Battery):
        c_storage.empty_v, c_storage.span_v = storage.empty_v, storage.span_v
        c_storage.charge_efficiency, c_storage.charge_limit_w = storage.charge_efficiency, storage.max_charge_w
    else:
        raise UsageError(f"a {type(storage).__name__} cannot be simulated in C; take a capacitor or a battery")
