# SPDX-License-Identifier: Apache-2.0
"""Data-driven rounding: weights take levels of a grid one column after the other, and what is still free makes up for it.

The loss is the squared error of the layer's outputs, (w − v) H (w − v)ᵀ with H the second moment of its inputs. After a
column is fixed, the best values of the free ones follow from the inverse of H (optimal brain surgeon, GPTQ). Then each
column is chosen again with all others fixed (coordinate descent), which a greedy order alone does not reach.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_SWEEPS = 4


def damped(moment: F64, share: float) -> F64:
    """Return a second moment ``(k, k)`` with ``share`` of its mean diagonal added to the diagonal."""
    level = max(float(np.diag(moment).mean()), 1e-6)
    return np.asarray(moment + share * level * np.eye(len(moment)))


def retargeted(weights: F64, moment: F64, gap: F64) -> F64:
    """Return real weights ``(o, k)`` that, on changed inputs, come nearest to the outputs that are wanted.

    Parameters
    ----------
    weights
        Weights as imported.
    moment
        E[aᵀa] of the changed inputs a, damped; ``(k, k)``.
    gap
        E[(y − weights · a) aᵀ] of the wanted outputs y, ``(o, k)``.
    """
    return np.asarray(weights + np.linalg.solve(moment, gap.T).T)


def round_high(target: F64, moment: F64, q: I64, respect: float) -> I64:
    """Return high nibbles u ``(o, k)`` that make 16 u − 120 act like ``target``.

    Parameters
    ----------
    target
        Real weights ``(o, k)``.
    moment
        Damped second moment of the inputs ``(k, k)``.
    q
        The int8 weights that 8 bits should still be able to express.
    respect
        Weight of the squared distance of q from the bucket of 16 that u opens; 0 looks at four bits only.
    """

    def choose(column: int, wanted: F64) -> I64:
        nearest = np.rint((wanted + 120) / 16).astype(np.int64)
        own = (q[:, column] + 128) >> 4
        tried = np.clip(np.stack([nearest, nearest - 1, nearest + 1, own]), 0, 15)
        bottom = 16 * tried - 128
        apart = np.maximum(0, np.maximum(bottom - q[:, column], q[:, column] - bottom - 15))
        cost = (wanted - (16 * tried - 120)) ** 2 + respect * apart**2
        return np.asarray(np.take_along_axis(tried, cost.argmin(axis=0)[None], axis=0)[0])

    return _columns(target, moment, choose, lambda u: np.asarray(16.0 * u - 120.0, np.float64))


def round_low(target: F64, moment: F64, high: I64) -> I64:
    """Return low nibbles l ``(o, k)``, 0 to 15, that make 16 u + l − 128 act like ``target`` for given u."""

    def choose(column: int, wanted: F64) -> I64:
        bottom = 16 * high[:, column] - 128
        return bottom + np.clip(np.rint(wanted - bottom), 0, 15).astype(np.int64)

    return _columns(target, moment, choose, lambda q: q.astype(np.float64)) - (16 * high - 128)


def round_present(target: F64, moment: F64, present: npt.NDArray[np.bool_]) -> I64:
    """Return weights ``(o, k)``, -127 to 127 where ``present`` and 0 elsewhere, that act like ``target``."""

    def choose(column: int, wanted: F64) -> I64:
        return np.clip(np.rint(wanted), -127, 127).astype(np.int64) * present[:, column]

    return _columns(target, moment, choose, lambda q: q.astype(np.float64))


def _columns(target: F64, moment: F64, choose: Callable[[int, F64], I64], value: Callable[[I64], F64]) -> I64:
    """Fix columns from the input with most energy to that with least, then look at each again given all others."""
    order = np.argsort(-np.diag(moment), kind="stable")
    free = target[:, order].copy()
    upper = np.linalg.cholesky(np.linalg.inv(moment[np.ix_(order, order)])).T
    chosen = np.zeros(target.shape, np.int64)
    for k, column in enumerate(order.tolist()):
        chosen[:, column] = choose(column, free[:, k])
        error = (free[:, k] - value(chosen[:, column])) / upper[k, k]
        free[:, k + 1 :] -= error[:, None] * upper[k, k + 1 :]
    pull = (target - value(chosen)) @ moment
    for _ in range(_SWEEPS):
        before = chosen.copy()
        for column in order.tolist():
            old = value(chosen[:, column])
            chosen[:, column] = choose(column, old + pull[:, column] / moment[column, column])
            pull -= (value(chosen[:, column]) - old)[:, None] * moment[column]
        if np.array_equal(before, chosen):
            break
    return chosen
