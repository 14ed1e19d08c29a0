# SPDX-License-Identifier: Apache-2.0
"""Harvesters of a cell: which kind a source is, and the factor that gives it a mean power."""

from __future__ import annotations

import math
import re

import numpy as np

from joulet.energy.load import Source
from joulet.energy.seam import Converter
from joulet.energy.segments import outputs_w, segments
from joulet.errors import DataError

_SPEC = re.compile(r"(constant|markov|solar):")
_ENDINGS = (".gz", ".csv", ".h5", ".hdf5")
_EXACT = 1e-9  # of a mean power


def name_of(trace: str, source: Source) -> str:
    """Return what records call a source: the spec as it was written, or the file's name without its endings."""
    if _SPEC.match(trace):
        return trace
    name = source.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def guess_family(source: Source, trace: str = "") -> str:
    """Return the kind of a source: by its spec, or by what its name and length suggest."""
    spec = _SPEC.match(trace)
    if spec is not None:
        return "solar" if spec[1] == "solar" else "synthetic"
    name = source.name.lower()
    if "indoor" in name:
        return "indoor"
    words = set(re.split(r"[_.-]", name.replace("surfrad", "")))
    if "rf" in words:
        return "rf"
    if source.span_s >= 0.75 * 86400.0 or any(word in name for word in ("solar", "nrel", "surfrad", "ghi")):
        return "solar"
    return "recorded"


def scale_for(
    source: Source, converter: Converter, mean_w: float, *, span_s: float | None = None, voltage_v: float = math.inf
) -> float:
    """Return the factor on a source's power at which ``mean_w`` reaches a store on average.

    Parameters
    ----------
    source, converter
        Where the power comes from and what it passes.
    mean_w : float
        More than 0 [W].
    span_s : float, optional
        Over which time; one pass without [s].
    voltage_v : float
        Of the store; without, the converter's highest band [V].

    Raises
    ------
    DataError
        If no factor does it: a source without power.
    """
    length_s = source.span_s if span_s is None else span_s
    starts_s, power_w = segments(source, length_s)
    lengths_s = np.diff(np.append(starts_s, length_s))
    levels_w, level = np.unique(power_w, return_inverse=True)
    share = np.bincount(level.reshape(-1), lengths_s) / length_s

    def beyond_w(scale: float) -> float:
        return float(np.dot(outputs_w(converter, levels_w * scale, voltage_v), share)) - mean_w

    low, below_w = 0.0, beyond_w(0.0)
    high, above_w = 1.0, beyond_w(1.0)
    while above_w < 0.0:
        low, below_w, high = high, above_w, high * 4.0
        if high > 1e12:
            raise DataError(f"{source.name}: cannot be scaled to {mean_w:g} W after conversion; it has no power")
        above_w = beyond_w(high)
    for step in range(200):
        if above_w <= _EXACT * mean_w or high - low <= 1e-15 * high:
            break
        # nearly linear: the secant finds it in a few steps; halving between them where a threshold makes it jump
        share_low = 0.5 if step % 3 == 2 else above_w / (above_w - below_w)
        middle = high - (high - low) * share_low
        middle_w = beyond_w(middle)
        if abs(middle_w) <= _EXACT * mean_w:
            return middle
        if middle_w < 0.0:
            low, below_w = middle, middle_w
        else:
            high, above_w = middle, middle_w
    return high
