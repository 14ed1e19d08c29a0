# SPDX-License-Identifier: Apache-2.0
"""Harvester, converter and store laid out as arrays for the loop in C."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi
from joulet.energy.seam import Converter, Harvester, Storage
from joulet.energy.segments import outputs_w, segments
from joulet.errors import UsageError
from joulet.records import LoadFigures

SENSING_S = 1e-3  # a sample's energy is drawn over this time
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SupplyArrays:
    """The energy side of a run.

    Attributes
    ----------
    segment_s, harvest_w
        ``(n,)`` beginnings [s] and powers before the converter [W].
    output_w
        ``(n_bands, n)`` power that reaches the store [W].
    band_j
        ``(n_bands,)`` energy held from which each band holds, the first 0 [J].
    duration_s
        Of the run [s].
    full_j, off_j, on_j, initial_j
        Energies held [J].
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
) -> SupplyArrays:
    """Return the arrays of an energy path; ``storage`` is read, not advanced.

    Raises
    ------
    UsageError
        If the store is full below the power-good threshold.
    """
    full_j = storage.full_energy_j
    off_j, on_j = storage.energy_at_j(load.off_v), storage.energy_at_j(load.on_v)
    if full_j < on_j:
        raise UsageError(f"the store is full below the power-good threshold of {load.on_v} V; the board never starts")
    segment_s, harvest_w = segments(harvester, duration_s)
    edges_v = [edge for edge in converter.band_edges_v if 0.0 < edge < storage.voltage_at_v(full_j)]
    lows_v = [0.0, *edges_v]
    highs_v = [*edges_v, storage.voltage_at_v(full_j)]
    inside_v = [(low + high) / 2.0 for low, high in zip(lows_v, highs_v, strict=True)]
    running_w = load.clock_hz * load.energy_pj_per_cycle * 1e-12
    loads_w = (0.0, load.sleep_w, running_w, sensing_j / SENSING_S)
    arrays = {
        "segment_s": np.ascontiguousarray(segment_s),
        "harvest_w": np.ascontiguousarray(harvest_w),
        "band_j": np.asarray([0.0, *(storage.energy_at_j(edge) for edge in edges_v)]),
        "output_w": np.stack([outputs_w(converter, harvest_w, volt) for volt in inside_v]),
        "dark_w": np.asarray([converter.output_w(0.0, volt) for volt in inside_v]),
        "draw_w": np.asarray([[converter.draw_w(watt, volt) for watt in loads_w] for volt in inside_v]),
    }
    supply = ffi.new("jlt_sim_supply_t *")
    for name, array in arrays.items():
        setattr(supply, name, ffi.cast("const double *", array.ctypes.data))
    supply.n_segments, supply.n_bands, supply.span_s = len(segment_s), len(inside_v), duration_s
    supply.load_w = list(loads_w)
    supply.full_j, supply.off_j, supply.on_j = full_j, off_j, on_j
    supply.stop_j = [off_j] * 4
    supply.tau_s = storage.leak_tau_s
    supply.charge_efficiency, supply.charge_limit_w = 1.0, math.inf
    supply.volt_square_per_j = storage.voltage_at_v(1.0) ** 2
    return SupplyArrays(
        segment_s=arrays["segment_s"],
        harvest_w=arrays["harvest_w"],
        output_w=arrays["output_w"],
        band_j=arrays["band_j"],
        duration_s=duration_s,
        full_j=full_j,
        off_j=off_j,
        on_j=on_j,
        initial_j=storage.energy_j,
        leak_tau_s=storage.leak_tau_s,
        sleep_w=load.sleep_w,
        running_w=running_w,
        c_supply=supply,
        keep=(arrays,),
    )
