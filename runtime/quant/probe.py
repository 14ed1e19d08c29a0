# SPDX-License-Identifier: Apache-2.0
"""Looking inside a network: run any part of an integer graph at any precision and read any tensor.

The engine answers only with a model's outputs. A probe is a small graph cut out of a larger one, whose inputs are
the tensors that are fed and whose outputs are the tensors that are wanted, so that calibration sees exactly the
integers that the engine will see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError
from joulet.ir import (
    WEIGHTED,
    Exit,
    ExitOrigin,
    Graph,
    Op,
    OpKind,
    Path,
    Precision,
    QuantGraph,
    Reshape,
    Tensor,
)

Array = npt.NDArray[Any]
Execute = Callable[[QuantGraph, Sequence[Array]], Sequence[Array]]
"""Runs the only path of a quantised graph: arrays ``(n, *shape[1:])`` in, one a graph input; one a graph output out."""

_MOST_OUTPUTS = 16
_MOST_INPUTS = 8
_BATCH_BYTES = 64 << 20  # of the fed and wanted tensors together


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How weighted ops run in a probe: bits and biases by index in ``Graph.ops``, and how each is stored."""

    bits: Mapping[int, int]
    bias: Mapping[int, npt.NDArray[np.int32]]
    storage: Mapping[int, str]


def setting(precision: Precision, storage: Mapping[int, str]) -> Setting:
    """Return the setting of one precision for the whole graph."""
    return Setting(bits=precision.bits, bias=precision.bias, storage=storage)


def full(graph: Graph) -> Setting:
    """Return the setting that runs a graph as it was imported: 8 bits everywhere."""
    weighted = [index for index, op in enumerate(graph.ops) if op.kind in WEIGHTED]
    return Setting(bits=dict.fromkeys(weighted, 8), bias={}, storage=dict.fromkeys(weighted, "s8"))


def spread_samples(feeds: Mapping[int, Array], most: int) -> dict[int, Array]:
    """Return at most ``most`` samples, evenly spread, because data sets are often sorted by class."""
    n = len(next(iter(feeds.values())))
    index = np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
    return {t: a[index] for t, a in feeds.items()}


def needed_ops(graph: Graph, sources: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """Return the indices of the ops between ``sources`` and ``wanted``, in execution order."""
    stop = set(sources)
    open_tensors = set(wanted) - stop
    needed: list[int] = []
    for index in range(len(graph.ops) - 1, -1, -1):
        op = graph.ops[index]
        if open_tensors.intersection(op.outputs):
            needed.append(index)
            open_tensors.difference_update(op.outputs)
            open_tensors.update(t for t in op.inputs if graph.tensors[t].data is None and t not in stop)
    if open_tensors:
        names = ", ".join(graph.tensors[t].name for t in sorted(open_tensors))
        raise DataError(f"tensors {names} cannot be computed from what is fed; feed them or an input before them")
    return tuple(reversed(needed))


def live_at(graph: Graph, op: int, wanted: Sequence[int]) -> tuple[int, ...]:
    """Return the activations computed before op index ``op`` that ops from there on, or ``wanted``, still read."""
    before = set(graph.inputs)
    for done in graph.ops[:op]:
        before.update(done.outputs)
    read = set(wanted)
    for later in graph.ops[op:]:
        read.update(later.inputs)
    return tuple(sorted(t for t in before & read if graph.tensors[t].data is None))


def probe(
    execute: Execute,
    graph: Graph,
    how: Setting,
    feeds: Mapping[int, Array],
    wanted: Sequence[int],
) -> dict[int, Array]:
    """Return the wanted tensors of a graph for a batch.

    Parameters
    ----------
    execute
        What runs the cut-out graph: the C engine, or an oracle in tests.
    graph
        The integer graph to look into.
    how
        Bits and biases of its weighted ops.
    feeds
        Arrays ``(n, *shape[1:])`` by tensor index; every wanted tensor must follow from them.
    wanted
        Tensor indices.

    Returns
    -------
    dict[int, Array]
        ``(n, *shape[1:])`` by tensor index; ``(n, *shape)`` where the first extent of the tensor is not 1.
    """
    found: dict[int, Array] = {t: feeds[t] for t in wanted if t in feeds}
    rest = sorted(set(wanted) - set(found), key=lambda t: _produced_at(graph, t))
    for start in range(0, len(rest), _MOST_OUTPUTS):
        chunk = rest[start : start + _MOST_OUTPUTS]
        found.update(_probe_chunk(execute, graph, how, feeds, chunk))
    return found


def _produced_at(graph: Graph, tensor: int) -> int:
    return next((index for index, op in enumerate(graph.ops) if tensor in op.outputs), -1)


def _probe_chunk(
    execute: Execute, graph: Graph, how: Setting, feeds: Mapping[int, Array], wanted: Sequence[int]
) -> dict[int, Array]:
    ops = needed_ops(graph, tuple(feeds), wanted)
    read = {t for index in ops for t in graph.ops[index].inputs}
    sources = tuple(t for t in feeds if t in read)
    if len(sources) > _MOST_INPUTS:
        raise DataError(
            f"a probe of {graph.name!r} would need {len(sources)} inputs; feed a point with fewer live tensors"
        )
    cut = _cut(graph, how, ops, sources, wanted)
    n = len(feeds[sources[0]])
    per_sample = sum(graph.tensors[t].elements for t in (*sources, *wanted))
    batch = max(1, min(n, _BATCH_BYTES // max(1, per_sample)))
    parts = [execute(cut, [feeds[t][i : i + batch] for t in sources]) for i in range(0, n, batch)]
    order = [wanted[-1], *wanted[:-1]]
    return {t: np.concatenate([np.asarray(part[i]) for part in parts]) for i, t in enumerate(order)}


class _Builder:
    """Collects the tensors and ops of a cut-out graph under new indices."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.index: dict[int, int] = {}

    def tensor(self, old: int) -> int:
        if old not in self.index:
            self.index[old] = self.add(replace(self.graph.tensors[old], border=None))
        return self.index[old]

    def add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def reshape(self, source: int, output: int) -> None:
        name = f"{self.tensors[source].name}:as_batch"
        self.ops.append(Op(kind=OpKind.RESHAPE, name=name, inputs=(source,), outputs=(output,), attrs=Reshape()))


def _cut(graph: Graph, how: Setting, ops: Sequence[int], sources: Sequence[int], wanted: Sequence[int]) -> QuantGraph:
    builder = _Builder(graph)
    inputs = []
    for source in sources:
        tensor = replace(graph.tensors[source], border=None)
        if tensor.shape[:1] == (1,):
            inputs.append(builder.tensor(source))
            continue
        inputs.append(builder.add(replace(tensor, name=f"{tensor.name}:batch", shape=(1, *tensor.shape))))
        builder.reshape(inputs[-1], builder.tensor(source))
    new_index = {}
    for old in ops:
        op = graph.ops[old]
        new_index[old] = len(builder.ops)
        moved = {"inputs": tuple(map(builder.tensor, op.inputs)), "outputs": tuple(map(builder.tensor, op.outputs))}
        builder.ops.append(replace(op, exit=None, inputs=moved["inputs"], outputs=moved["outputs"]))
    outputs = []
    for t in wanted:
        tensor = graph.tensors[t]
        if tensor.shape[:1] == (1,):
            outputs.append(builder.tensor(t))
            continue
        outputs.append(builder.add(replace(tensor, name=f"{tensor.name}:out", shape=(1, *tensor.shape), border=None)))
        builder.reshape(builder.tensor(t), outputs[-1])
    # The answer of the single exit is output 0, so the tensor that is ready last comes first.
    outputs = [outputs[-1], *outputs[:-1]]
    answer = Exit(name="probe", origin=ExitOrigin.IMPORTED, logits=outputs[0], output=outputs[0], n_classes=0)
    cut = Graph(
        name=f"{graph.name}:probe",
        tensors=tuple(builder.tensors),
        ops=tuple(builder.ops),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        exits=(answer,),
    )
    return _quantised(graph, cut, how, new_index)


def _quantised(graph: Graph, cut: Graph, how: Setting, new_index: Mapping[int, int]) -> QuantGraph:
    weighted = {old: new for old, new in new_index.items() if graph.ops[old].kind in WEIGHTED}
    precision = Precision(
        name="probe",
        bits={new: how.bits.get(old, 8) for old, new in weighted.items()},
        bias={new: how.bias[old] for old, new in weighted.items() if old in how.bias},
    )
    path = Path(
        name="probe",
        precisions=(0,),
        confidence_q15=((32767,) * 32,),
        accuracy_q15=(32767,),
        auto_threshold_q15=(0,),
    )
    storage = {new: how.storage.get(old, "s8") for old, new in weighted.items()}
    return QuantGraph(graph=cut, precisions=(precision,), storage=storage, paths=(path,))
