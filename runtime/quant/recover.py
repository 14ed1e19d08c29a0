# SPDX-License-Identifier: Apache-2.0
"""Recovery of four bits by data-driven rounding of the high plane, layer after layer, without training.

With the low plane as imported, the high plane is u = (q + 128) >> 4 and there is nothing to choose: ``exact`` leaves the
weights alone. ``trade`` chooses u for four bits on the sliced network's own inputs, with a pull towards buckets that
still hold the imported weight, and then re-fits the low plane so that eight bits stay as near as they can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.ir import DType, Graph, Op, Quant, Tensor
from joulet.quant.bare import weighted_ops
from joulet.quant.bias import Walk, fit_bias
from joulet.quant.nested import can_slice
from joulet.quant.patches import blocks, patch_rows, weight_matrix, weight_tensor
from joulet.quant.probe import Array, Execute, Setting, full, spread_samples
from joulet.quant.rounding import damped, retargeted, round_high, round_low

RECOVERY_SAMPLES = 1024
RESPECT = 4.0
"""Weight of eight bits in the choice of a high nibble: one step outside its bucket counts as two steps at four bits."""

MODES = ("exact", "trade")

_ROWS = 16384  # patches a layer
_DAMPING = 0.01
_HELD_OUT = 8  # one row in so many judges a layer's new weights
_Progress = Callable[[str, int, int], None]
_F64 = npt.NDArray[np.float64]
_I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recovered:
    """A graph with other weights and the biases of its eight bits; layers taken; how w8 differs from the imported one."""

    graph: Graph
    layers: tuple[int, ...]
    changed_share: float
    mean_step: float

    def note(self) -> str:
        """Return what the trade cost, for people."""
        return (
            f"recover trade: {len(self.layers)} layers re-rounded for four bits; w8 is no longer the imported model to the "
            f"byte: {100 * self.changed_share:.1f} % of the weights differ, by {self.mean_step:.2f} of 256 steps on average"
        )


def recovered(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    *,
    respect: float = RESPECT,
    progress: _Progress | None = None,
) -> Recovered:
    """Re-round every layer that can be sliced.

    Parameters
    ----------
    execute
        Runs probes.
    graph
        Integer graph.
    feeds
        Calibration inputs ``(n, *shape[1:])`` by tensor index; at most 1,024 samples are used.
    respect
        Pull towards buckets that hold the imported weight; 0 looks at four bits only.
    progress
        Called with (what, done, total).

    Returns
    -------
    Recovered
        A layer keeps its weights where new ones are no better on patches that were not used to choose them.
    """
    few = spread_samples(feeds, RECOVERY_SAMPLES)
    layers = tuple(sorted(i for i in can_slice(graph) if _readers(graph, graph.ops[i].inputs[1]) == 1))
    first = _High(execute, graph, few, layers, respect).run(progress)
    second = _Low(execute, graph, first, few, layers).run(progress)
    before = np.concatenate([_weights(graph, i).reshape(-1) for i in layers]) if layers else np.zeros(1, np.int64)
    after = np.concatenate([_weights(second, i).reshape(-1) for i in layers]) if layers else np.zeros(1, np.int64)
    taken = tuple(i for i in layers if not np.array_equal(_weights(graph, i), _weights(second, i)))
    return Recovered(
        graph=second,
        layers=taken,
        changed_share=float((before != after).mean()),
        mean_step=float(np.abs(before - after).mean()),
    )


class _Pass:
    """One pass through the network: the imported one and the changed one side by side."""

    def __init__(self, execute: Execute, before: Graph, after: Graph, feeds: Mapping[int, Array], bits: int) -> None:
        self.execute = execute
        self.before = before
        self.after = after
        self.weighted = weighted_ops(before)
        self.sliced = can_slice(before)
        self.bits = {i: bits if i in self.sliced else 8 for i in self.weighted}
        storage = {i: "nested" if self.bits[i] == 4 else "s8" for i in self.weighted}
        self.bias: dict[int, npt.NDArray[np.int32]] = {}
        self.imported = Walk(execute, before, full(before), feeds)
        self.changed = Walk(execute, after, Setting(bits=self.bits, bias=self.bias, storage=storage), feeds)

    def layer(self, index: int, matrix: Callable[[int, Array, Array], _I64] | None) -> None:
        """Advance both to a layer, give it new weights, then the bias that fits them."""
        self.imported.advance(index)
        self.changed.advance(index)
        if matrix is not None:
            source = self.before.ops[index].inputs[0]
            chosen = matrix(index, self.imported.read(source), self.changed.read(source))
            self.after = _with_weights(self.after, index, chosen)
            self.changed.graph = self.after
        fit_bias(self.imported, self.changed, self.bias, index)


class _High:
    """Chooses the high planes on the inputs that four bits see."""

    def __init__(
        self, execute: Execute, graph: Graph, feeds: Mapping[int, Array], layers: Sequence[int], respect: float
    ) -> None:
        self.graph = graph
        self.layers = set(layers)
        self.respect = respect
        self.walk = _Pass(execute, graph, graph, feeds, 4)

    def run(self, progress: _Progress | None) -> Graph:
        """Return the graph with new high planes; low planes hold what is nearest to the imported weights."""
        every = self.walk.weighted
        for done, index in enumerate(every):
            self.walk.layer(index, self._matrix if index in self.layers else None)
            if progress:
                progress("recovery: rounding of the high plane", done + 1, len(every))
        return self.walk.after

    def _matrix(self, index: int, right: Array, own: Array) -> _I64:
        op = self.graph.ops[index]
        q = _weights(self.graph, index)
        a, b, held_a, held_b = _rows(self.graph, op, own, right)
        high = (q + 128) >> 4
        for block in blocks(self.graph, op):
            rows = q[block.rows]
            moment, cross = _moments(a[:, block.columns], b[:, block.columns])
            target = retargeted(rows.astype(np.float64), moment, cross)
            tried = round_high(target, moment, rows, self.respect)
            left, wanted = held_a[:, block.columns], held_b[:, block.columns] @ rows.T
            old = _spread(left @ (16 * high[block.rows] - 120).T - wanted)
            new = _spread(left @ (16 * tried - 120).T - wanted)
            high[block.rows] = np.where((new < old)[:, None], tried, high[block.rows])
        return 16 * high - 128 + np.clip(q - (16 * high - 128), 0, 15)


class _Low:
    """Re-fits the low planes on the inputs that eight bits see."""

    def __init__(
        self, execute: Execute, before: Graph, after: Graph, feeds: Mapping[int, Array], layers: Sequence[int]
    ) -> None:
        self.graph = before
        self.layers = set(layers)
        self.walk = _Pass(execute, before, after, feeds, 8)

    def run(self, progress: _Progress | None) -> Graph:
        """Return the graph with new low planes, and biases that fit eight bits."""
        every = self.walk.weighted
        for done, index in enumerate(every):
            self.walk.layer(index, self._matrix if index in self.layers else None)
            if progress:
                progress("recovery: fit of the low plane", done + 1, len(every))
        return with_biases(self.walk.after, self.walk.bias)

    def _matrix(self, index: int, right: Array, own: Array) -> _I64:
        op = self.graph.ops[index]
        q, near = _weights(self.graph, index), _weights(self.walk.after, index)
        a, b, held_a, held_b = _rows(self.graph, op, own, right)
        result = near.copy()
        for block in blocks(self.graph, op):
            rows = q[block.rows]
            moment, cross = _moments(a[:, block.columns], b[:, block.columns])
            target = retargeted(rows.astype(np.float64), moment, cross)
            high = (near[block.rows] + 128) >> 4
            tried = 16 * high - 128 + round_low(target, moment, high)
            left, wanted = held_a[:, block.columns], held_b[:, block.columns] @ rows.T
            better = _spread(left @ tried.T - wanted) < _spread(left @ near[block.rows].T - wanted)
            result[block.rows] = np.where(better[:, None], tried, near[block.rows])
        return result


def _rows(graph: Graph, op: Op, own: Array, right: Array) -> tuple[_F64, _F64, _F64, _F64]:
    """Return (changed, right) patches without their means to fit on, and the same of others to judge by."""
    a, b = (patch_rows(graph, op, x, _ROWS, np.random.default_rng(0)).astype(np.float64) for x in (own, right))
    a -= a.mean(axis=0)
    b -= b.mean(axis=0)
    held = np.arange(len(a)) % _HELD_OUT == 0 if len(a) >= 2 * _HELD_OUT else np.zeros(len(a), bool)
    if not held.any():
        return a, b, a, b
    return a[~held], b[~held], a[held], b[held]


def _moments(a: _F64, b: _F64) -> tuple[_F64, _F64]:
    return damped(a.T @ a / len(a), _DAMPING), (b - a).T @ a / len(a)


def _spread(error: _F64) -> _F64:
    """Return the mean squared error ``(o,)`` around its mean, because the bias takes the mean."""
    return np.asarray(error.var(axis=0))


def _weights(graph: Graph, index: int) -> _I64:
    op = graph.ops[index]
    data: Any = graph.tensors[op.inputs[1]].data
    return weight_matrix(op, data)


def _readers(graph: Graph, tensor: int) -> int:
    return sum(tensor in op.inputs for op in graph.ops)


def _with_weights(graph: Graph, index: int, matrix: _I64) -> Graph:
    op = graph.ops[index]
    tensors = list(graph.tensors)
    old = tensors[op.inputs[1]]
    tensors[op.inputs[1]] = replace(old, data=weight_tensor(op, matrix, old.shape))
    return replace(graph, tensors=tuple(tensors))


def with_biases(graph: Graph, bias: Mapping[int, npt.NDArray[np.int32]]) -> Graph:
    """Return a graph whose own biases are these, by op index; layers without a bias get one."""
    tensors, ops = list(graph.tensors), list(graph.ops)
    for index, values in bias.items():
        op = ops[index]
        if len(op.inputs) > 2 and _readers(graph, op.inputs[2]) == 1:
            tensors[op.inputs[2]] = replace(tensors[op.inputs[2]], data=values.reshape(tensors[op.inputs[2]].shape))
            continue
        source, weights = graph.tensors[op.inputs[0]].quant, graph.tensors[op.inputs[1]].quant
        assert source is not None
        assert weights is not None
        scale = tuple(source.scale[0] * s for s in weights.scale)
        quant = Quant(scale=scale, axis=0 if len(scale) > 1 else None)
        tensors.append(Tensor(name=f"{op.name}:bias", shape=values.shape, dtype=DType.S32, quant=quant, data=values))
        ops[index] = replace(op, inputs=(*op.inputs[:2], len(tensors) - 1))
    return replace(graph, tensors=tuple(tensors), ops=tuple(ops))
