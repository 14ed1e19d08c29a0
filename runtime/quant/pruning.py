# SPDX-License-Identifier: Apache-2.0
"""Block pruning without training: which blocks of which convolutions go, under a limit of answers that may change.

Every layer's blocks are put in the order in which they can be spared (:mod:`joulet.quant.block_order`). What a layer's loss costs
is foretold by its error on the calibration inputs times what an error of that size in it alone does to the logits. Steps of layers,
those first that save most cycles for what they are foretold to cost, make one row of ever sparser networks; the sparsest that keeps
the limit on samples set apart is found by halving. Each is made anew, layer after layer, on the inputs that the sparser network
itself sees: the weights that stay make up for those that went, in closed form, and are rounded with what is still free making up
for it; later layers that could be pruned make up for what is left, where rows set apart agree; biases take the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.ir import Conv, Graph, OpKind
from joulet.quant.bare import weighted_ops
from joulet.quant.block_order import BlockShape, made_up, presence, sparing_order
from joulet.quant.patches import blocks
from joulet.quant.probe import Array, Execute, full, probe, spread_samples
from joulet.quant.recover import Pass, Passes, Rows, readers, weights_of, with_biases
from joulet.quant.rounding import F64, I64, damped, round_present

FIT_SAMPLES = 384
JUDGE_SAMPLES = 512
LEVELS = tuple(step / 8 for step in range(1, 8))
"""Shares of a layer's blocks that may be absent."""

_HELD_OUT = 4  # one sample in so many judges
_DAMPING = 0.01
_TRIED_LEVEL = 0.25  # at which a layer's effect on the logits is measured
_Progress = Callable[[str, int, int], None]
CyclesOf = Callable[[int, float], float]
"""Cycles of a layer, by op index, with a share of its blocks absent; 0: as it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pruned:
    """A graph with absent blocks.

    Attributes
    ----------
    graph
        With other weights and biases.
    absent
        Share of the blocks of each pruned layer that is 0, by op index.
    loss
        Share of the answers on samples set apart that differ from the imported model's.
    saved_cycles, cycles
        Foretold, and of the layers that could be pruned as they are [cycles].
    """

    graph: Graph
    absent: dict[int, float]
    loss: float
    saved_cycles: float
    cycles: float

    def note(self, limit: float) -> str:
        """Return what went and what it cost, for people."""
        if not self.absent:
            return (
                f"sparse: no layer can be without blocks that pay where {100 * limit:.1f} % of the answers may change"
            )
        share = 100 * self.saved_cycles / max(1.0, self.cycles)
        least, most = (100 * pick(self.absent.values()) for pick in (min, max))
        return (
            f"sparse: {len(self.absent)} layers are without {least:.0f} to {most:.0f} % of their blocks, foretold to save "
            f"{self.saved_cycles:,.0f} cycles ({share:.0f} % of the layers that could be); {100 * self.loss:.1f} % of the answers "
            f"on samples set apart changed, {100 * limit:.1f} % may; these layers have 8 bits at every precision, and w8 is no "
            "longer the imported model to the byte"
        )


def prunable(graph: Graph, shape: BlockShape) -> tuple[int, ...]:
    """Return the convolutions whose weights come in whole blocks: one group, no dilation, read by nobody else, zero point 0."""
    found = []
    for index in weighted_ops(graph):
        op = graph.ops[index]
        weights = graph.tensors[op.inputs[1]]
        plain = (
            op.kind is OpKind.CONV2D
            and isinstance(op.attrs, Conv)
            and op.attrs.groups == 1
            and op.attrs.dilation == (1, 1)
        )
        if not plain or weights.shape[0] % shape.rows or weights.shape[3] % shape.elements:
            continue
        if (weights.quant is None or weights.quant.zero_point == 0) and readers(graph, op.inputs[1]) == 1:
            found.append(index)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layer:
    """What pruning needs of one layer of the imported network: its order, and the relative error of its outputs at each level."""

    order: I64
    errors: tuple[float, ...]


def pruned(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    *,
    shape: BlockShape,
    cycles_of: CyclesOf,
    layers: Sequence[int],
    limit: float,
    progress: _Progress | None = None,
) -> Pruned:
    """Take out as many blocks as pay and as a limit allows.

    Parameters
    ----------
    execute
        Runs probes.
    graph
        Integer graph with one exit.
    feeds
        Calibration inputs ``(n, *shape[1:])`` by tensor index; every fourth sample judges; at most 512 do, and 384 fit.
    shape
        Of a block, as the board's kernels skip it.
    cycles_of
        What a layer costs.
    layers
        Out of :func:`prunable`, those that the board's kernels could skip blocks of.
    limit
        Share of answers that may differ from the imported model's, 0 to 1; without classes, squared error of the output over its
        variance.
    progress
        Called with (what, done, total).
    """
    held = np.arange(len(next(iter(feeds.values())))) % _HELD_OUT == 0
    fit, judge = (
        spread_samples({t: x[rows] for t, x in feeds.items()}, most)
        for rows, most in ((~held, FIT_SAMPLES), (held, JUDGE_SAMPLES))
    )
    known = _layers(execute, graph, fit, layers, shape, progress)
    weight_of = _sensitivities(execute, graph, fit, known, shape, progress)
    row = _row(known, weight_of, cycles_of)
    answers = _Answers(execute, graph, judge)
    place, best, loss = 0, graph, 0.0
    high = len(row) - 1
    while place < high:
        middle = (place + high + 1) // 2
        tried = _made(execute, graph, fit, known, row[middle], shape)
        changed = answers.changed(tried)
        if changed <= limit:
            place, best, loss = middle, tried, changed
        else:
            high = middle - 1
        if progress:
            progress("pruning: the sparsest network within the limit", int(place >= high), 1)
    chosen = {index: LEVELS[level - 1] for index, level in row[place].items() if level > 0}
    return Pruned(
        graph=best,
        absent=chosen,
        loss=loss,
        saved_cycles=sum(cycles_of(i, 0.0) - cycles_of(i, share) for i, share in chosen.items()),
        cycles=sum(cycles_of(i, 0.0) for i in layers),
    )


def _layers(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    layers: Sequence[int],
    shape: BlockShape,
    progress: _Progress | None,
) -> dict[int, _Layer]:
    """Walk through the imported network and put each layer's blocks in order."""
    found: dict[int, _Layer] = {}

    def look(index: int, rows: Rows) -> I64:
        q = weights_of(graph, index)
        weights, moment = q.astype(np.float64), damped(rows.a.T @ rows.a / len(rows.a), _DAMPING)
        importance = _importance(graph, index)
        order = sparing_order(weights, moment, importance, shape)
        whole = _error(weights, moment, importance)
        errors = []
        for level in LEVELS:
            present = presence(order, round(level * len(order)), q.shape, shape)
            errors.append(_error(weights - made_up(weights, moment, present, shape), moment, importance) / whole)
        found[index] = _Layer(order=order, errors=tuple(errors))
        return q

    every = weighted_ops(graph)
    walk = Passes([Pass(execute, graph, graph, feeds, dict.fromkeys(every, 8))], graph, 8)
    for done, index in enumerate(every):
        walk.layer(index, look if index in layers else None)
        if progress:
            progress("pruning: order of the blocks", done + 1, len(every))
    return found


def _importance(graph: Graph, index: int) -> F64:
    """Return what a squared error of each channel's accumulator counts: in steps of the output."""
    q = weights_of(graph, index)
    quant = graph.tensors[graph.ops[index].inputs[1]].quant
    scale = np.asarray(quant.scale if quant else (1.0,), np.float64)
    return np.broadcast_to(scale, (len(q),)) ** 2 / float(np.mean(scale**2))


def _error(gap: F64, moment: F64, importance: F64) -> float:
    return float(np.einsum("ok,kl,ol,o->", gap, moment, gap, importance, optimize=True)) + 1e-12


def _sensitivities(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    known: Mapping[int, _Layer],
    shape: BlockShape,
    progress: _Progress | None,
) -> dict[int, float]:
    """Return how far a relative error of 1 in each layer alone would move the logits, squared."""
    few = spread_samples(feeds, 96)
    logits = graph.exits[-1].logits
    right = probe(execute, graph, full(graph), few, (logits,))[logits].astype(np.float64)
    level = LEVELS.index(_TRIED_LEVEL) + 1
    found = {}
    for done, index in enumerate(known):
        tried = _made(execute, graph, few, known, {index: level}, shape)
        got = probe(execute, tried, full(tried), few, (logits,))[logits]
        found[index] = float(np.mean((got - right) ** 2)) / known[index].errors[level - 1]
        if progress:
            progress("pruning: what each layer's error does", done + 1, len(known))
    return found


def _row(known: Mapping[int, _Layer], weight_of: Mapping[int, float], cycles_of: CyclesOf) -> list[dict[int, int]]:
    """Return ever sparser choices of levels (0: none), each step the one that saves most cycles for what it is foretold to cost."""
    levels = dict.fromkeys(known, 0)
    row = [dict(levels)]
    while True:
        steps = []
        for index, layer in known.items():
            here = levels[index]
            before = layer.errors[here - 1] if here else 0.0
            spent = cycles_of(index, LEVELS[here - 1] if here else 0.0)
            for there in range(here + 1, len(LEVELS) + 1):
                saved = spent - cycles_of(index, LEVELS[there - 1])
                cost = weight_of[index] * (layer.errors[there - 1] - before)
                if saved > 0:
                    steps.append((saved / max(cost, 1e-12), index, there))
        if not steps:
            return row
        _, index, there = max(steps)
        levels[index] = there
        row.append(dict(levels))


def _made(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    known: Mapping[int, _Layer],
    levels: Mapping[int, int],
    shape: BlockShape,
) -> Graph:
    """Return the graph without the blocks that are to go, the rest making up for them."""

    first = min((index for index, level in levels.items() if level > 0), default=None)
    if first is None:
        return graph

    def fitted(index: int, rows: Rows) -> I64:
        q = weights_of(graph, index)
        block = blocks(graph, graph.ops[index])[0]
        target, moment = rows.target(block, q)
        absent = levels.get(index, 0)
        if absent == 0:  # it makes up for those before it, where that is better on rows set apart
            tried = round_present(target, moment, np.ones(q.shape, np.bool_))
            return np.where((rows.error(block, tried) < rows.error(block, q))[:, None], tried, q)
        order = known[index].order
        present = presence(order, round(LEVELS[absent - 1] * len(order)), q.shape, shape)
        return round_present(made_up(target, moment, present, shape), moment, present)

    whole = Pass(execute, graph, graph, feeds, dict.fromkeys(weighted_ops(graph), 8))
    walk = Passes([whole], graph, 8)
    for index in weighted_ops(graph):
        walk.layer(index, fitted if index in known and index >= first else None)
    return with_biases(walk.after, whole.bias)


class _Answers:
    """The imported model's answers on some samples, and how many of a changed one's differ."""

    def __init__(self, execute: Execute, graph: Graph, feeds: Mapping[int, Array]) -> None:
        self.execute = execute
        self.feeds = feeds
        self.has_classes = graph.exits[-1].n_classes > 0
        self.right = self._logits(graph)

    def _logits(self, graph: Graph) -> npt.NDArray[np.float64]:
        logits = graph.exits[-1].logits if self.has_classes else graph.exits[-1].output
        found = probe(self.execute, graph, full(graph), self.feeds, (logits,))[logits]
        return found.reshape(len(found), -1).astype(np.float64)

    def changed(self, graph: Graph) -> float:
        """Return the share of answers that differ; without classes, the squared error over the variance."""
        found = self._logits(graph)
        if self.has_classes:
            return float((found.argmax(axis=1) != self.right.argmax(axis=1)).mean())
        return float(((found - self.right) ** 2).mean() / max(1e-12, float(self.right.var())))
