# SPDX-License-Identifier: Apache-2.0
"""The worth of stored energy: value iteration over energy, harvest level and time of day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib
from joulet.errors import PolicyError
from joulet.optimum.harvest import HarvestChain

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The store, counted from brown-out: usable when full, held at brown-out, usable at power-good [J]."""

    full_j: float
    off_j: float
    on_j: float
    leak_tau_s: float
    sleep_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How time is cut.

    Attributes
    ----------
    epoch_s
        Length of an epoch [s].
    phases
        An event may arrive every so many epochs.
    arrival
        P(it does).
    survival
        P(an event that waits is still there an epoch later).
    n_epochs, n_sweeps
        Epochs of a slot of the day; days.
    epochs_per_window
        Epochs in a window of the harvest chain.
    again
        P(another event follows at once), 0..1: events come in bursts of 1 / (1 − again).
    """

    epoch_s: float
    phases: int
    arrival: float
    survival: float
    n_epochs: int
    n_sweeps: int
    epochs_per_window: int
    again: float = 0.0


def iterate(
    chain: Any, store: Store, harvest: HarvestChain, pace: Pace, *, deadline_s: float, n_levels: int
) -> tuple[Array, float]:
    """Return (worth, right answers a day).

    Parameters
    ----------
    chain
        ``jlt_sim_chain_t *``: how an event may be served.
    harvest : HarvestChain
        Its windows span ``pace.epochs_per_window`` epochs.
    n_levels : int
        Of usable energy, from brown-out to full.

    Returns
    -------
    worth : array (n_slots, n_harvest, n_levels)
        Expected further right answers for the energy left after a decision, less those for none; not falling.
    rate : float
        Right answers in one pass over the day.
    """
    n_slots, n_harvest = harvest.power_w.shape
    share = 1.0 / pace.epochs_per_window
    stay = np.eye(n_harvest)
    transition = np.ascontiguousarray(harvest.transition * share + stay * (1.0 - share))
    power_w = np.ascontiguousarray(harvest.power_w)
    c_store = ffi.new("jlt_sim_store_t *")
    c_store.full_j, c_store.off_j, c_store.on_j = store.full_j, store.off_j, store.on_j
    c_store.tau_s, c_store.sleep_w, c_store.n_bands = store.leak_tau_s, store.sleep_w, 1
    band_low_j = np.array([-np.inf])
    c_store.band_low_j = ffi.cast("const double *", band_low_j.ctypes.data)
    worth = np.zeros((n_slots, n_harvest, n_levels), np.float32)
    rate = np.zeros(1)
    value = ffi.new("jlt_sim_value_t *")
    value.chain, value.store, value.n_levels, value.n_dark_levels = chain, c_store, n_levels, 96
    value.n_slots, value.n_epochs, value.n_harvest = n_slots, pace.n_epochs, n_harvest
    value.n_sweeps, value.phases, value.epoch_s = pace.n_sweeps, pace.phases, pace.epoch_s
    value.deadline_s, value.arrival, value.survival = deadline_s, pace.arrival, pace.survival
    value.again = pace.again
    value.power_w = ffi.cast("const double *", power_w.ctypes.data)
    value.transition = ffi.cast("const double *", transition.ctypes.data)
    value.worth = ffi.cast("float *", worth.ctypes.data)
    value.rate = ffi.cast("double *", rate.ctypes.data)
    n_bytes = lib.jlt_sim_value_scratch_bytes(value)
    scratch = np.zeros(n_bytes // 8 + 4)
    aligned = scratch.ctypes.data + (-scratch.ctypes.data % 16)
    if n_bytes == 0 or lib.jlt_sim_value(value, ffi.cast("void *", aligned)) != 0:
        raise PolicyError("value iteration cannot be laid out: too many levels, slots or harvest levels")
    return np.maximum.accumulate(worth.astype(np.float64), axis=2), float(rate[0])
