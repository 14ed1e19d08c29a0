# SPDX-License-Identifier: Apache-2.0
"""Integer heads: a real linear head as int8 weights, int32 bias and int8 logits, and its exact arithmetic in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.exits.ridge import F64, Ridge
from joulet.ir import Quant

I32 = npt.NDArray[np.int32]
_TAIL = 0.05  # percent of the logits that may saturate on each side


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntHead:
    """A quantised head: weights int8 ``(classes, features)`` with ``scales`` a class, bias int32 ``(classes,)``."""

    weights: npt.NDArray[np.int8]
    scales: tuple[float, ...]
    bias: I32
    source: Quant
    logits: Quant

    def accumulate(self, features: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the accumulators ``(n, classes)`` for int8 features ``(n, f)``."""
        x = features.astype(np.float64) - self.source.zero_point
        return np.asarray(np.rint(x @ self.weights.T.astype(np.float64)).astype(np.int64) + self.bias)

    def answer(self, features: npt.NDArray[Any], correction: npt.NDArray[Any] | int = 0) -> npt.NDArray[np.int64]:
        """Return int8 logits ``(n, classes)``; ``correction`` is added to the accumulators [accumulator units]."""
        factor = np.asarray(self.scales) * self.source.scale[0] / self.logits.scale[0]
        q = np.rint((self.accumulate(features) + correction) * factor) + self.logits.zero_point
        return np.asarray(np.clip(q, -128, 127), np.int64)


def answers_out_of_fold(
    without_fold: Sequence[IntHead], features: npt.NDArray[Any], fold: npt.NDArray[np.int64], corrections: Any = None
) -> npt.NDArray[np.int64]:
    """Return int8 logits ``(n, classes)`` of heads each of which was fitted without one fold, for the samples of that fold.

    Parameters
    ----------
    without_fold
        A head for each fold.
    features
        ``(n, f)`` int8.
    fold
        Of each sample, ``(n,)``.
    corrections
        Of each head, as :meth:`IntHead.answer` takes them; None for none.
    """
    answers = np.zeros((len(features), len(without_fold[0].bias)), np.int64)
    for f, head in enumerate(without_fold):
        answers[fold == f] = head.answer(features[fold == f], 0 if corrections is None else corrections[f])
    return answers


def range_quant(low: float, high: float) -> Quant:
    """Return the int8 grid that covers ``low`` to ``high`` and 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / 255.0, 1e-8)))
    return Quant(scale=(scale,), zero_point=int(np.clip(round(-128 - low / scale), -128, 127)))


def logits_quant(scores: F64) -> Quant:
    """Return the int8 grid of logits from calibration scores ``(n, classes)``; the outermost 0.05 % saturate."""
    low, high = np.percentile(scores, [_TAIL, 100.0 - _TAIL])
    return range_quant(float(low), float(high))


def quantise(head: Ridge, factor: float, source: Quant, logits: Quant) -> IntHead:
    """Return the integer form of ``factor × head`` that reads ``source`` features and writes ``logits``."""
    weights = head.weights * factor
    scales = np.maximum(np.abs(weights).max(axis=1) / 127.0, 1e-10)
    # A bias must fit 32 bits: a class with tiny weights gets a coarser scale.
    scales = np.maximum(scales, np.abs(head.bias * factor) / (source.scale[0] * 2.0**30))
    scales = scales.astype(np.float32).astype(np.float64)
    q = np.clip(np.rint(weights / scales[:, None]), -127, 127).astype(np.int8)
    # Rounding the weights moves the mean answer; features are non-negative mostly, so it is left to bias correction.
    bias = np.rint(head.bias * factor / (source.scale[0] * scales)).astype(np.int64)
    return IntHead(
        weights=q,
        scales=tuple(float(s) for s in scales),
        bias=bias.astype(np.int32),
        source=source,
        logits=logits,
    )


def margins(logits: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (top-1 minus top-2 in 0..255, class) of int8 logits ``(n, classes)``, each ``(n,)``; the first maximum wins."""
    z = logits.astype(np.int64)
    top = np.partition(z, -2, axis=1)
    return top[:, -1] - top[:, -2], z.argmax(axis=1)
