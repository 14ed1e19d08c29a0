# SPDX-License-Identifier: Apache-2.0
"""In which order blocks of a layer's weights can be spared, and what the weights that stay become: optimal brain surgeon.

The loss is the squared error of the layer's outputs, (w - v) H (w - v)', H the second moment of its inputs. What taking a block b
of a row out costs, all others of the row making up for it, is w_b [H^-1]_bb^-1 w_b' (Hassibi and Stork 1993, for blocks: Frantar
and Alistarh 2022); rows that share blocks add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.quant.rounding import F64, I64

_AT_ONCE = 16  # one block in so many goes at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockShape:
    """Rows (output channels) and elements of a block."""

    rows: int
    elements: int


def sparing_order(weights: F64, moment: F64, importance: F64, shape: BlockShape) -> I64:
    """Return all blocks as (group of rows, place in the row), ``(n, 2)``, those first that cost least to be without.

    Parameters
    ----------
    weights
        ``(o, k)``, whole blocks.
    moment
        Damped second moment of the inputs, ``(k, k)``.
    importance
        What a squared error of each output counts, ``(o,)``.
    shape
        Of a block.
    """
    inverse = np.linalg.inv(moment)
    found: list[tuple[float, int, int, int]] = []
    for group, rows in enumerate(_groups(len(weights), shape.rows)):
        price = 0.0
        for step, (block, cost) in enumerate(
            _group_order(weights[rows], np.asarray(inverse, np.float64), importance[rows], shape.elements)
        ):
            price = max(price, cost)  # a block cannot go before those that went before it
            found.append((price, step, group, block))
    found.sort()
    return np.array([(group, block) for _, _, group, block in found], np.int64).reshape(-1, 2)


def _groups(rows: int, together: int) -> list[slice]:
    return [slice(first, first + together) for first in range(0, rows, together)]


def _group_order(weights: F64, inverse: F64, importance: F64, elements: int) -> list[tuple[int, float]]:
    """Return the blocks of rows that share them, each with what it costs where those before it are gone."""
    w, h = weights, inverse  # of what is left
    blocks = np.arange(w.shape[1] // elements)
    found: list[tuple[int, float]] = []
    while len(blocks) > 0:
        columns = np.arange(w.shape[1]).reshape(-1, elements)
        own = np.linalg.inv(h[columns[:, :, None], columns[:, None, :]])  # (left, e, e)
        values = w[:, columns]  # (rows, left, e)
        costs = np.maximum(np.einsum("rbe,rbe,r->b", np.einsum("rbe,bef->rbf", values, own), values, importance), 0.0)
        order = np.argsort(costs, kind="stable")
        best = order[: max(1, len(blocks) // _AT_ONCE)]
        found += zip(blocks[best].tolist(), costs[best].tolist(), strict=True)
        stay = np.sort(order[len(best) :])
        w, h = _without(w, h, columns[best].reshape(-1), columns[stay].reshape(-1))
        blocks = blocks[stay]
    return found


def _without(w: F64, h: F64, gone: I64, stay: I64) -> tuple[F64, F64]:
    """Return weights and inverse moment of the columns that stay, which make up for those that are gone."""
    share = np.linalg.solve(h[np.ix_(gone, gone)], h[np.ix_(gone, stay)])
    return w[:, stay] - w[:, gone] @ share, h[np.ix_(stay, stay)] - h[np.ix_(stay, gone)] @ share


def presence(order: I64, absent: int, weights_shape: tuple[int, int], shape: BlockShape) -> npt.NDArray[np.bool_]:
    """Return which weights ``(o, k)`` stay when the first ``absent`` blocks of an order go."""
    blocks = np.ones((weights_shape[0] // shape.rows, weights_shape[1] // shape.elements), np.bool_)
    blocks[order[:absent, 0], order[:absent, 1]] = False
    return np.asarray(blocks.repeat(shape.rows, axis=0).repeat(shape.elements, axis=1))


def made_up(target: F64, moment: F64, present: npt.NDArray[np.bool_], shape: BlockShape) -> F64:
    """Return real weights ``(o, k)`` that act like ``target`` without those that are absent: least squares of the rest."""
    result = np.zeros_like(target)
    for rows in _groups(len(target), shape.rows):
        there = np.flatnonzero(present[rows.start])
        if len(there) > 0:
            wanted = target[rows] @ moment[:, there]
            result[rows, there] = np.linalg.solve(moment[np.ix_(there, there)], wanted.T).T
    return result
