# SPDX-License-Identifier: Apache-2.0
"""Surgery on the graph: where heads can go, pooled features, and heads that repeat the model's own tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulet.exits.gate import GATE_QUANT, OPEN, Gate
from joulet.exits.heads import IntHead, range_quant
from joulet.ir import (
    WEIGHTED,
    Activation,
    Binary,
    Dense,
    DType,
    Exit,
    ExitOrigin,
    Graph,
    Op,
    OpKind,
    Quant,
    Reduce,
    Reshape,
    Tensor,
)
from joulet.passes.macs import macs
from joulet.quant.probe import Array

_MOST_CANDIDATES = 14
_LEAST_FEATURES = 4
_MOST_FEATURES = 1024
_MOST_POOLED = 512
_MOST_REFIT = 4096  # features of the imported head that a re-fit still takes
_EARLIEST_SHARE, _LATEST_SHARE = 0.02, 0.97
_BRANCHES = WEIGHTED | {OpKind.ADD, OpKind.CONCAT, OpKind.UNARY, OpKind.MAX_POOL2D, OpKind.AVG_POOL2D, OpKind.MUL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What follows the features of the imported head: ops ``first..`` of the graph belong to it.

    ``repeat`` are the ops from the logits to the output, repeated by every head. ``refit_source`` is the tensor the
    imported head reads, None where a single linear head cannot replace it. ``fixed_logits`` is the quantisation the
    logits must have because they are the output themselves.
    """

    first: int
    logits: int
    repeat: tuple[int, ...]
    refit_source: int | None
    fixed_logits: Quant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A place for a head: ``layer`` is the tensor it branches from, ``features`` what it reads, ``macs`` up to there.

    ``axes`` are averaged away: all of space, or one direction where the other one matters (time, frequency).
    """

    layer: int
    features: int
    quant: Quant
    macs: int
    after_op: int
    refit: bool
    axes: tuple[int, ...] = ()


def find_tail(graph: Graph) -> Tail | None:
    """Return how the imported head ends, or None where heads cannot repeat it."""
    producers = {op.outputs[0]: index for index, op in enumerate(graph.ops)}
    last = graph.exits[-1]
    repeat: list[int] = []
    tensor = last.output
    while tensor != last.logits:
        index = producers.get(tensor)
        if index is None or len([t for t in graph.ops[index].inputs if graph.tensors[t].data is None]) != 1:
            return None
        repeat.append(index)
        tensor = graph.ops[index].inputs[0]
    first = producers.get(last.logits)
    if first is None:
        return None
    weighted = first
    while graph.ops[weighted].kind is OpKind.RESHAPE and graph.ops[weighted].inputs[0] in producers:
        weighted = producers[graph.ops[weighted].inputs[0]]
    source = _linear_source(graph, weighted)
    start = weighted if source is not None else first
    moves_only = all(graph.ops[index].kind is OpKind.RESHAPE for index in repeat)
    fixed = graph.tensors[last.logits].quant if moves_only else None
    return Tail(
        first=start, logits=last.logits, repeat=tuple(reversed(repeat)), refit_source=source, fixed_logits=fixed
    )


def _linear_source(graph: Graph, index: int) -> int | None:
    op = graph.ops[index]
    source = op.inputs[0]
    width = graph.tensors[op.inputs[1]].shape if op.kind in WEIGHTED else ()
    linear = op.kind is OpKind.FULLY_CONNECTED or (op.kind is OpKind.CONV2D and width[1:3] == (1, 1))
    fits = graph.tensors[source].elements == (width[-1] if width else 0) <= _MOST_REFIT
    if not linear or not fits or source in graph.inputs:
        return None
    return source


def candidates_of(graph: Graph, tail: Tail) -> list[Candidate]:
    """Return the places where a head could go, in execution order, the re-fitted last head at the end."""
    each = macs(graph)
    total = max(1, sum(each))
    spent, by_macs = 0, {}
    refit: list[Candidate] = []
    for index, op in enumerate(graph.ops[: tail.first]):
        spent += each[index]
        tensor = op.outputs[0]
        if tensor == tail.refit_source:
            quant = graph.tensors[tensor].quant or Quant(scale=(1.0,))
            refit = [_candidate(tensor, quant, spent, index, refit=True)]
        if op.kind in _BRANCHES and _can_pool(graph, tensor) and _EARLIEST_SHARE <= spent / total <= _LATEST_SHARE:
            # Of the layers that cost the same, the last one has seen most.
            by_macs[spent] = _candidate(tensor, Quant(scale=(1.0,)), spent, index, refit=False)
    early = list(by_macs.values())
    if len(early) > _MOST_CANDIDATES:
        keep = np.unique(np.linspace(0, len(early) - 1, _MOST_CANDIDATES).round().astype(int))
        early = [early[i] for i in keep]
    return [variant for point in early for variant in _variants(graph, point)] + refit


def _variants(graph: Graph, point: Candidate) -> list[Candidate]:
    """Return the ways to pool one layer, the smallest first."""
    shape = graph.tensors[point.layer].shape
    every = tuple(range(1, len(shape) - 1))
    ways = [every]
    if len(shape) == 4 and min(shape[1:3]) > 1:
        ways += [(axis,) for axis in every if shape[3 - axis] * shape[3] <= _MOST_POOLED]
    return [replace(point, axes=axes) for axes in ways]


def _candidate(tensor: int, quant: Quant, macs: int, op: int, *, refit: bool) -> Candidate:
    return Candidate(layer=tensor, features=tensor, quant=quant, macs=macs, after_op=op, refit=refit)


def _can_pool(graph: Graph, index: int) -> bool:
    tensor = graph.tensors[index]
    channels = tensor.shape[-1] if tensor.shape else 0
    in_range = _LEAST_FEATURES <= channels <= _MOST_FEATURES
    return (
        tensor.dtype is DType.S8
        and tensor.quant is not None
        and 2 <= len(tensor.shape) <= 4
        and (tensor.shape[0] == 1 and in_range)
    )


def pooled_graph(
    graph: Graph, points: Sequence[Candidate], values: Mapping[int, Array]
) -> tuple[Graph, list[Candidate]]:
    """Return the graph with a pooled-feature tensor for every candidate, and the candidates that name them.

    Parameters
    ----------
    graph
        Integer graph.
    points
        Candidates whose ``features`` are still to be made.
    values
        Int8 samples of each candidate's layer, ``(n, *shape[1:])``, for the ranges of the means.
    """
    tensors, ops = list(graph.tensors), list(graph.ops)
    placed = []
    for point in points:
        layer = graph.tensors[point.layer]
        if point.refit or len(layer.shape) == 2:
            placed.append(replace(point, quant=layer.quant or point.quant))
            continue
        ops_made, features, quant = _pool_ops(layer, point, tensors, layer.name, values[point.layer])
        ops.extend(ops_made)
        placed.append(replace(point, features=features, quant=quant))
    return replace(graph, tensors=tuple(tensors), ops=tuple(ops)), placed


def _pool_ops(
    layer: Tensor, point: Candidate, tensors: list[Tensor], name: str, values: Array | None
) -> tuple[list[Op], int, Quant]:
    """Append feature tensors; return the ops that make them, the index of the ``(1, f)`` one and its quantisation.

    The quantisation is ``point``'s own unless ``values`` give the range to choose one from.
    """
    assert layer.quant is not None
    ops: list[Op] = []
    source, quant = point.layer, layer.quant
    if any(layer.shape[axis] > 1 for axis in point.axes):
        quant = point.quant
        if values is not None:
            mean = values.mean(axis=point.axes, dtype=np.float64)
            real = (mean - layer.quant.zero_point) * layer.quant.scale[0]
            quant = range_quant(float(np.percentile(real, 0.02)), float(np.percentile(real, 99.98)))
        shape = tuple(d for axis, d in enumerate(layer.shape) if axis not in point.axes)
        tensors.append(Tensor(name=f"{name}:pooled", shape=shape, dtype=DType.S8, quant=quant))
        attrs = Reduce(axes=point.axes)
        output = len(tensors) - 1
        ops.append(Op(kind=OpKind.MEAN, name=f"{name}:pool", inputs=(source,), outputs=(output,), attrs=attrs))
        source = output
        if len(shape) == 2:
            return ops, source, quant
    elements = tensors[source].elements
    tensors.append(Tensor(name=f"{name}:features", shape=(1, elements), dtype=DType.S8, quant=quant))
    output = len(tensors) - 1
    ops.append(Op(kind=OpKind.RESHAPE, name=f"{name}:flat", inputs=(source,), outputs=(output,), attrs=Reshape()))
    return ops, output, quant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spec:
    """A head to add: its exit's name and origin, where it branches off, and its layer; ``gate`` is None without one."""

    name: str
    origin: ExitOrigin
    point: Candidate
    head: IntHead
    gate: Gate | None = None


def graft(graph: Graph, specs: Sequence[Spec], tail: Tail) -> tuple[Graph, tuple[int, ...]]:
    """Return the graph with the heads of ``specs`` (in order of depth), and the features tensor of each.

    Heads stand right after the op they branch from. The imported head stays last, byte for byte.
    """
    tensors = list(graph.tensors)
    after: dict[int, list[Op]] = {}
    exits, features = [], []
    for number, spec in enumerate(specs):
        ops, source, logits, output = _head_ops(graph, tensors, number, spec, tail)
        after.setdefault(spec.point.after_op, []).extend(ops)
        features.append(source)
        n_classes = graph.exits[-1].n_classes
        exits.append(Exit(name=spec.name, origin=spec.origin, logits=logits, output=output, n_classes=n_classes))
    ops_out: list[Op] = []
    last = len(specs)
    for index, op in enumerate(graph.ops):
        ops_out.append(replace(op, exit=last) if index >= tail.first else op)
        ops_out.extend(after.get(index, ()))
    done = replace(graph, tensors=tuple(tensors), ops=tuple(ops_out), exits=(*exits, graph.exits[-1]))
    return done, tuple(features)


def _head_ops(
    graph: Graph, tensors: list[Tensor], number: int, spec: Spec, tail: Tail
) -> tuple[list[Op], int, int, int]:
    """Append a head's tensors; return its ops, its features, the logits that its confidence is read from, its output."""
    ops: list[Op] = []
    layer = graph.tensors[spec.point.layer]
    source = spec.point.layer
    if not spec.point.refit and len(layer.shape) > 2:
        ops, source, _ = _pool_ops(layer, spec.point, tensors, spec.name, None)
    own = replace(graph.tensors[tail.logits], name=f"{spec.name}:logits", quant=spec.head.logits, border=None)
    ops.append(_dense(tensors, f"{spec.name}:dense", source, spec.head, own, Dense()))
    tensor = deciding = len(tensors) - 1
    if spec.gate is not None:
        ops.extend(_gate_ops(tensors, spec.name, source, tensor, spec.gate))
        deciding = len(tensors) - 1
    for index in tail.repeat:
        op = graph.ops[index]
        name = f"{spec.name}:{op.kind.value}"
        tensors.append(replace(graph.tensors[op.outputs[0]], name=name, border=None))
        ops.append(replace(op, name=name, inputs=(tensor, *op.inputs[1:]), outputs=(len(tensors) - 1,)))
        tensor = len(tensors) - 1
    return [replace(op, exit=number) for op in ops], source, deciding, tensor


def _dense(tensors: list[Tensor], name: str, source: int, layer: IntHead, output: Tensor, attrs: Dense) -> Op:
    """Append a layer's weights, biases and output; return its op."""
    exit_name = name.removesuffix(":dense")
    weights = Quant(scale=layer.scales, axis=0)
    bias = Quant(scale=tuple(layer.source.scale[0] * s for s in layer.scales), axis=0)
    tensors.append(
        Tensor(
            name=f"{exit_name}:weights", shape=layer.weights.shape, dtype=DType.S8, quant=weights, data=layer.weights
        )
    )
    tensors.append(
        Tensor(name=f"{exit_name}:bias", shape=layer.bias.shape, dtype=DType.S32, quant=bias, data=layer.bias)
    )
    tensors.append(output)
    made = len(tensors) - 1
    return Op(kind=OpKind.FULLY_CONNECTED, name=name, inputs=(source, made - 2, made - 1), outputs=(made,), attrs=attrs)


def _gate_ops(tensors: list[Tensor], name: str, source: int, logits: int, gate: Gate) -> list[Op]:
    """Append a gate and the logits behind it, the last tensor; return the ops that make them."""
    own = tensors[logits]
    assert own.quant is not None
    share = Tensor(name=f"{name}:gate", shape=(1, 1), dtype=DType.S8, quant=GATE_QUANT)
    row = _dense(tensors, f"{name}:gate:dense", source, gate.row, share, Dense(activation=Activation.RELU6))
    # An open gate leaves every step of the logits as it is.
    quant = replace(own.quant, scale=(own.quant.scale[0] * OPEN,))
    tensors.append(replace(own, name=f"{name}:gated", quant=quant))
    made = len(tensors) - 1
    times = Op(kind=OpKind.MUL, name=f"{name}:gate:mul", inputs=(logits, made - 1), outputs=(made,), attrs=Binary())
    return [row, times]
