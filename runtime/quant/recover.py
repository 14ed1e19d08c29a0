# SPDX-License-Identifier: Apache-2.0
"""Recovery of four bits by data-driven rounding of the high plane, layer after layer, without training.

With the low plane as imported, the high plane is u = (q + 128) >> 4 and there is nothing to choose: ``exact`` leaves the
weights alone. ``trade`` chooses u for four bits on the sliced network's own inputs, with a pull towards buckets that
still hold the imported weight, and then re-fits the low plane so that eight bits stay as near as they can. Where there is
a mix, each plane is fitted on the inputs of all networks that read it so: what mix feeds a layer is not what all-w4 does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.ir import DType, Graph, Quant, Tensor
from joulet.quant.bare import weighted_ops
from joulet.quant.bias import Walk, fit_bias
from joulet.quant.nested import all_four, can_slice
from joulet.quant.patches import Block, blocks, patch_rows, positions, weight_matrix, weight_tensor
from joulet.quant.probe import Array, Execute, Setting, full, spread_samples
from joulet.quant.rounding import damped, retargeted, round_high, round_low

RECOVERY_SAMPLES = 1024
RESPECT = 4.0
"""Weight of eight bits in the choice of a high nibble: one step outside its bucket counts as two steps at four bits."""

RESPECT_KEPT = 16.0
"""The same for layers of which mix reads eight bits."""

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
    mix: Mapping[int, int] | None = None,
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
    mix
        Bits by op of a precision that is to gain beside all-four and all-eight.
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
    layers = tuple(sorted(i for i in can_slice(graph) if readers(graph, graph.ops[i].inputs[1]) == 1))
    first = _High(execute, graph, few, layers, mix or {}, respect).run(progress)
    second = _Low(execute, graph, first, few, layers, mix or {}).run(progress)
    before = np.concatenate([weights_of(graph, i).reshape(-1) for i in layers]) if layers else np.zeros(1, np.int64)
    after = np.concatenate([weights_of(second, i).reshape(-1) for i in layers]) if layers else np.zeros(1, np.int64)
    taken = tuple(i for i in layers if not np.array_equal(weights_of(graph, i), weights_of(second, i)))
    return Recovered(
        graph=second,
        layers=taken,
        changed_share=float((before != after).mean()),
        mean_step=float(np.abs(before - after).mean()),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Patches ``a`` that a changed layer reads and the accumulators ``y`` it should give, both without their means."""

    a: _F64
    y: _F64
    held_a: _F64
    held_y: _F64

    @staticmethod
    def split(a: _F64, y: _F64) -> Rows:
        """Set some rows apart to judge by."""
        held = np.arange(len(a)) % _HELD_OUT == 0
        if len(a) < 2 * _HELD_OUT:
            return Rows(a=a, y=y, held_a=a, held_y=y)
        return Rows(a=a[~held], y=y[~held], held_a=a[held], held_y=y[held])

    def target(self, block: Block, rows: _I64) -> tuple[_F64, _F64]:
        """Return (real weights to aim at, damped second moment of the inputs) of a block of outputs."""
        a = self.a[:, block.columns]
        weights = rows.astype(np.float64)
        moment = damped(a.T @ a / len(a), _DAMPING)
        gap = (self.y[:, block.rows] - a @ weights.T).T @ a / len(a)
        return retargeted(weights, moment, gap), moment

    def error(self, block: Block, rows: _I64) -> _F64:
        """Return the mean squared error ``(o,)`` of weights on the rows set apart; the bias takes the mean."""
        return np.asarray((self.held_a[:, block.columns] @ rows.T - self.held_y[:, block.rows]).var(axis=0))


class Pass:
    """One pass through the network: the imported one and the changed one side by side."""

    def __init__(
        self, execute: Execute, before: Graph, after: Graph, feeds: Mapping[int, Array], bits: Mapping[int, int]
    ) -> None:
        self.before = before
        self.bits = bits
        self.bias: dict[int, npt.NDArray[np.int32]] = {}
        storage = {i: "nested" if bits[i] == 4 else "s8" for i in weighted_ops(before)}
        self.imported = Walk(execute, before, full(before), feeds)
        self.changed = Walk(execute, after, Setting(bits=bits, bias=self.bias, storage=storage), feeds)

    def advance(self, index: int) -> None:
        """Advance both to a layer."""
        self.imported.advance(index)
        self.changed.advance(index)

    def go_on_with(self, graph: Graph, index: int) -> None:
        """Take a layer's new weights, and the bias that fits them."""
        self.changed.graph = graph
        fit_bias(self.imported, self.changed, self.bias, index)

    def rows(self, index: int) -> tuple[_F64, _F64]:
        """Return patches that the changed layer reads and the accumulators it should give, both without their means."""
        graph, op = self.before, self.before.ops[index]
        right, own = (walk.read(op.inputs[0]) for walk in (self.imported, self.changed))
        place = positions(graph, op, len(right), _ROWS, np.random.default_rng(0))
        a, b = (patch_rows(graph, op, x, place).astype(np.float64) for x in (own, right))
        q = weights_of(graph, index)
        wanted = np.empty((len(b), len(q)))
        for block in blocks(graph, op):
            wanted[:, block.rows] = b[:, block.columns] @ q[block.rows].T
        return a - a.mean(axis=0), wanted - wanted.mean(axis=0)


class Passes:
    """Passes at several precisions through the same new weights, of which ``bits`` are being chosen."""

    def __init__(self, passes: Sequence[Pass], after: Graph, bits: int) -> None:
        self.passes = passes
        self.after = after
        self.bits = bits

    def layer(self, index: int, choose: Callable[[int, Rows], _I64] | None) -> None:
        """Advance to a layer and give it new weights, chosen on what those feed it who read so many bits of it."""
        for one in self.passes:
            one.advance(index)
        if choose is not None:
            parts = [one.rows(index) for one in self.passes if one.bits[index] == self.bits]
            a, y = (np.concatenate(each) for each in zip(*parts, strict=True))
            self.after = with_weights(self.after, index, choose(index, Rows.split(a, y)))
        for one in self.passes:
            one.go_on_with(self.after, index)


class _High:
    """Chooses the high planes on the inputs that four bits see."""

    def __init__(
        self,
        execute: Execute,
        graph: Graph,
        feeds: Mapping[int, Array],
        layers: Sequence[int],
        mix: Mapping[int, int],
        respect: float,
    ) -> None:
        self.graph = graph
        self.layers = set(layers)
        self.respect = {i: max(respect, RESPECT_KEPT) if mix.get(i) == 8 else respect for i in layers}
        together = [all_four(graph).bits, *([mix] if mix else [])]
        self.walk = Passes([Pass(execute, graph, graph, feeds, bits) for bits in together], graph, 4)

    def run(self, progress: _Progress | None) -> Graph:
        """Return the graph with new high planes; low planes hold what is nearest to the imported weights."""
        every = weighted_ops(self.graph)
        for done, index in enumerate(every):
            self.walk.layer(index, self._choose if index in self.layers else None)
            if progress:
                progress("recovery: rounding of the high plane", done + 1, len(every))
        return self.walk.after

    def _choose(self, index: int, rows: Rows) -> _I64:
        q = weights_of(self.graph, index)
        high = (q + 128) >> 4
        for block in blocks(self.graph, self.graph.ops[index]):
            target, moment = rows.target(block, q[block.rows])
            tried = round_high(target, moment, q[block.rows], self.respect[index])
            better = rows.error(block, 16 * tried - 120) < rows.error(block, 16 * high[block.rows] - 120)
            high[block.rows] = np.where(better[:, None], tried, high[block.rows])
        return np.asarray(16 * high - 128 + np.clip(q - (16 * high - 128), 0, 15))


class _Low:
    """Re-fits the low planes on the inputs that eight bits see."""

    def __init__(
        self,
        execute: Execute,
        before: Graph,
        after: Graph,
        feeds: Mapping[int, Array],
        layers: Sequence[int],
        mix: Mapping[int, int],
    ) -> None:
        self.graph = before
        self.layers = set(layers)
        self.whole = Pass(execute, before, after, feeds, dict.fromkeys(weighted_ops(before), 8))
        passes = [self.whole, *([Pass(execute, before, after, feeds, mix)] if mix else [])]
        self.walk = Passes(passes, after, 8)

    def run(self, progress: _Progress | None) -> Graph:
        """Return the graph with new low planes, and biases that fit eight bits."""
        every = weighted_ops(self.graph)
        for done, index in enumerate(every):
            self.walk.layer(index, self._choose if index in self.layers else None)
            if progress:
                progress("recovery: fit of the low plane", done + 1, len(every))
        return with_biases(self.walk.after, self.whole.bias)

    def _choose(self, index: int, rows: Rows) -> _I64:
        q, result = weights_of(self.graph, index), weights_of(self.walk.after, index)
        for block in blocks(self.graph, self.graph.ops[index]):
            near = result[block.rows]
            target, moment = rows.target(block, q[block.rows])
            high = (near + 128) >> 4
            tried = 16 * high - 128 + round_low(target, moment, high)
            better = rows.error(block, tried) < rows.error(block, near)
            result[block.rows] = np.where(better[:, None], tried, near)
        return result


def weights_of(graph: Graph, index: int) -> _I64:
    """Return the weights of a layer, ``(o, k)``."""
    op = graph.ops[index]
    data: Any = graph.tensors[op.inputs[1]].data
    return weight_matrix(op, data)


def readers(graph: Graph, tensor: int) -> int:
    """Return how many ops read a tensor."""
    return sum(tensor in op.inputs for op in graph.ops)


def with_weights(graph: Graph, index: int, matrix: _I64) -> Graph:
    """Return a graph in which a layer has other weights, ``(o, k)``."""
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
        if len(op.inputs) > 2 and readers(graph, op.inputs[2]) == 1:
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
