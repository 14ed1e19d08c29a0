# SPDX-License-Identifier: Apache-2.0
"""Gates: an exit is less sure of inputs that look unlike all calibration samples.

A head goes on rising where no sample has ever been. A gate is one more linear row on the same features, 1 where they look
like calibration samples and 0 where they look like synthetic outliers; the logits that the confidence is read from are
multiplied by it. Classes, answers and the head stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.exits.confidence import Q15, confidence_table, margin_bins
from joulet.exits.heads import IntHead, margins, quantise
from joulet.exits.ridge import F64, I64, Ridge, fit
from joulet.ir import Quant
from joulet.quant.probe import Array

OPEN = 6.0
"""Real value of an open gate: ReLU6 bounds it at f32 as its int8 grid does."""

GATE_QUANT = Quant(scale=(float(np.float32(OPEN / 255)),), zero_point=-128)

RAMPS = (0.5, 0.8, 0.9, 0.97)
"""Shares of calibration samples for which a gate is wholly open, the strictest first."""

_SHUT = 0.99  # share of calibration samples for which a gate is not shut
_TOLERANCE = 0.1  # share of one kind's outliers; a kind has a hundred or two
_LEVELS = np.linspace(0.7, 0.98, 15)  # confidences at which exits are compared


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gate:
    """A gate of one exit: the row that ships, and one fitted without each fold, for honest confidences."""

    row: IntHead
    without_fold: tuple[IntHead, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What one place in the network makes of samples and outliers at one precision: int8 ``(n, f)`` and ``(m, f)``."""

    own: Array
    outliers: Array


def gated(logits: npt.NDArray[Any], gate: npt.NDArray[Any], zero_point: int) -> I64:
    """Return int8 logits ``(n, classes)`` times a gate ``(n, 1)``, as the engine multiplies them."""
    share = (gate.astype(np.float64) - GATE_QUANT.zero_point) / 255.0
    return np.asarray(np.rint((logits.astype(np.float64) - zero_point) * share) + zero_point, np.int64)


def fit_gates(seen: Mapping[str, Seen], fold: I64, source: Quant) -> tuple[Gate, ...]:
    """Return the gates of one exit, one for each of ``RAMPS``.

    Parameters
    ----------
    seen
        Features by precision.
    fold
        Of each sample, ``(n,)``.
    source
        Quantisation of the features.
    """
    own = np.stack([_real(each.own, source) for each in seen.values()])
    strange = np.concatenate([_real(each.outliers, source) for each in seen.values()])
    whole = _likeness(own, strange)
    parts, unlike = [], np.zeros(own.shape[:2])
    for f in range(int(fold.max()) + 1):
        out = fold == f
        part = whole if out.all() else _likeness(own[:, ~out], strange, whole.penalty)
        parts.append(part)
        unlike[:, out] = part.scores(own[:, out])[..., 0]
    shut = float(np.quantile(unlike, _SHUT))
    gates = []
    for ramp in RAMPS:
        width = max(shut - float(np.quantile(unlike, ramp)), 1e-6)
        row, *rows = (_row(each, shut, width, source) for each in (whole, *parts))
        gates.append(Gate(row=row, without_fold=tuple(rows)))
    return tuple(gates)


def sure_shares(bins: I64, correct: F64, logits: Array, kind: I64) -> F64:
    """Return the share of each kind of outlier of which an exit is at least so sure, ``(kinds, levels)``.

    Parameters
    ----------
    bins, correct
        Margin bins of samples ``(n,)`` and whether the answer was right; they make the confidence table.
    logits
        Of outliers, ``(m, classes)`` int8.
    kind
        ``(m,)``.
    """
    table = np.asarray(confidence_table(bins << 3, correct > 0)) / Q15
    margin, _ = margins(logits)
    sure = table[margin_bins(margin)][:, None] >= _LEVELS
    return np.stack([sure[kind == k].mean(axis=0) for k in np.unique(kind)])


def is_too_sure(shares: F64, limit: F64) -> bool:
    """Return whether an exit is surer of some kind of outlier than the imported one, both as :func:`sure_shares` says."""
    return bool((shares - limit).max() > _TOLERANCE)


def strictest(gates: tuple[Gate, ...], is_cheap: Callable[[Gate], bool]) -> Gate | None:
    """Return the first gate that costs little; None where none does."""
    return next((gate for gate in gates if is_cheap(gate)), None)


def _real(values: Array, source: Quant) -> F64:
    return np.asarray((values.astype(np.float64) - source.zero_point) * source.scale[0])


def _likeness(own: F64, strange: F64, penalty: float | None = None) -> Ridge:
    """Return a row that scores 0 for samples ``(precisions, n, f)`` and 1 for outliers ``(m, f)``."""
    samples = own.reshape(-1, own.shape[2])
    labels = np.repeat([0, 1], [len(samples), len(strange)])
    both = fit(np.concatenate([samples, strange]), labels, 2, penalty)
    return Ridge(weights=both.weights[1:], bias=both.bias[1:], penalty=both.penalty)


def _row(unlike: Ridge, shut: float, width: float, source: Quant) -> IntHead:
    """Return the integer row that is 0 from a score ``shut`` on and ``OPEN`` from ``width`` below it."""
    slope = OPEN / width
    ramp = Ridge(weights=-slope * unlike.weights, bias=slope * (shut - unlike.bias), penalty=unlike.penalty)
    return quantise(ramp, 1.0, source, GATE_QUANT)
