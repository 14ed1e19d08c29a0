# SPDX-License-Identifier: Apache-2.0
"""Past harvest as a Markov chain over levels of mean power, by time of day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_DARK = 0.02  # of the mean: below it nothing is coming in


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HarvestChain:
    """Levels of mean power and how they follow each other.

    Attributes
    ----------
    borders_w
        ``(n_levels − 1,)`` rising: a mean lies in level "number of borders at most it" [W].
    power_w
        ``(n_slots, n_levels)`` mean power of a window that enters a level [W].
    transition
        ``(n_slots, n_levels, n_levels)`` P(next level | level), from one window to the next.
    window_s
        [s].
    mean_shift
        The mean moves by 2^−mean_shift of its distance to each new window.
    """

    borders_w: Array
    power_w: Array
    transition: Array
    window_s: float
    mean_shift: int


def fit_harvest(
    power_w: Sequence[Array],
    step_s: Sequence[float],
    start_s: Sequence[float],
    *,
    window_s: float,
    n_levels: int,
    n_slots: int,
    mean_shift: int,
) -> HarvestChain:
    """Fit a chain to stretches of past power.

    Parameters
    ----------
    power_w : sequence of arrays
        Mean power in each step of each stretch [W].
    step_s, start_s : sequences of float
        Length of a step, and time of day of the first one, of each stretch [s].
    window_s : float
        Over which a board takes means, about the time between events [s].
    n_levels, n_slots : int
        Levels of power, the darkest one included; slots of the day.
    """
    windows = [_windows(power, step, window_s) for power, step in zip(power_w, step_s, strict=True)]
    means = [_running_mean(w, mean_shift) for w in windows]
    borders = _borders(np.concatenate(means), n_levels)
    slot_s = 86400.0 / n_slots
    counts = np.zeros((n_slots, n_levels, n_levels))
    sums, weights = np.zeros((n_slots, n_levels)), np.zeros((n_slots, n_levels))
    for window, mean, start in zip(windows, means, start_s, strict=True):
        level = np.searchsorted(borders, mean, side="right")
        slot = ((start + np.arange(len(window)) * window_s) % 86400.0 // slot_s).astype(np.int64)
        np.add.at(counts, (slot[1:], level[:-1], level[1:]), 1.0)
        np.add.at(sums, (slot, level), window)
        np.add.at(weights, (slot, level), 1.0)
    return HarvestChain(
        borders_w=borders,
        power_w=_level_power(sums, weights),
        transition=_transition(counts),
        window_s=window_s,
        mean_shift=mean_shift,
    )


def _windows(power_w: Array, step_s: float, window_s: float) -> Array:
    gathered_j = np.concatenate([[0.0], np.cumsum(power_w) * step_s])
    edges_s = np.arange(0.0, len(power_w) * step_s + 1e-9, window_s)
    if len(edges_s) < 3:
        edges_s = np.linspace(0.0, len(power_w) * step_s, 3)
    return np.diff(np.interp(edges_s, np.arange(len(gathered_j)) * step_s, gathered_j)) / np.diff(edges_s)


def _running_mean(windows: Array, mean_shift: int) -> Array:
    """Return the mean a board would hold after each window; never negative, as on the board."""
    out, held = np.empty(len(windows)), max(0.0, float(windows[0]))
    share = 2.0**-mean_shift
    for index, value in enumerate(windows.tolist()):
        held += (max(0.0, value) - held) * share
        out[index] = held
    return out


def _borders(means: Array, n_levels: int) -> Array:
    """Return borders: one above the dark, the rest by quantiles of what is not dark."""
    if n_levels < 2:
        return np.zeros(0)
    floor = _DARK * float(means.mean())
    light = means[means >= floor]
    if light.size == 0 or floor <= 0.0:
        return np.full(n_levels - 1, np.inf)
    shares = np.arange(1, n_levels - 1) / (n_levels - 1)
    borders = np.concatenate([[floor], np.quantile(light, shares)]) if n_levels > 2 else np.array([floor])
    return np.maximum.accumulate(borders)


def _level_power(sums: Array, weights: Array) -> Array:
    """Return mean power by slot and level; a slot that never saw a level takes the mean of the others."""
    overall = sums.sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-12)
    prior = 3.0  # windows
    return (sums + prior * overall) / (weights + prior)


def _transition(counts: Array) -> Array:
    """Return smoothed transitions: neighbouring slots count a little, all slots a trace, staying a trace."""
    n_slots, n_levels, _ = counts.shape
    near = counts.copy()
    if n_slots > 2:
        near = counts + 0.25 * (np.roll(counts, 1, axis=0) + np.roll(counts, -1, axis=0))
    overall = counts.sum(axis=0) + 1e-3 * np.eye(n_levels)
    overall /= overall.sum(axis=1, keepdims=True)
    smoothed = near + 1.0 * overall
    return smoothed / smoothed.sum(axis=2, keepdims=True)
