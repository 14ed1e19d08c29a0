# SPDX-License-Identifier: Apache-2.0
"""Models that come with several classifiers: their outputs become exits, in order of depth.

Keras, torch and ONNX models with early exits answer with all of them at once. Here what only one output needs becomes
its head, which runs when that exit is asked for; what the deepest one needs is the backbone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from joulet.exits.graft import find_tail
from joulet.ir import WEIGHTED, DType, Exit, ExitOrigin, Graph, Op, OpKind, Tensor, Unary, UnaryKind
from joulet.numerics import unary_table
from joulet.passes.macs import macs
from joulet.quant.bare import find_logits
from joulet.quant.probe import needed_ops


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """One output: its logits, its classes, the ops it needs, what they cost."""

    output: int
    logits: int
    n_classes: int
    needs: frozenset[int]
    macs: int


def imported_exits(graph: Graph, *, scored: bool) -> Graph:
    """Return an integer graph whose outputs are exits, or the graph as it is where they are something else.

    Parameters
    ----------
    graph
        Integer graph without exits.
    scored
        Labels are there: outputs that end in no softmax are then taken for scores.

    Returns
    -------
    Graph
        One output, the deepest; one exit an output. Outputs are exits if each is a vector of as many scores, in one
        type, with weights of its own, and every one costs more than the one before.
    """
    if graph.exits or len(graph.outputs) < 2:
        return graph
    heads = _heads(graph, scored)
    if not _is_ladder(graph, heads):
        return graph
    tensors, ops = list(graph.tensors), list(graph.ops)
    exits, owner = [], dict[int, int]()
    last = len(heads) - 1
    for k, head in enumerate(heads):
        output = head.output
        if k < last:
            output = _on_grid(tensors, ops, head.output, heads[-1].output, k)
            others = frozenset[int]().union(*(h.needs for h in heads if h is not head))
            owner.update(dict.fromkeys(head.needs - others, k))
        name = "final" if k == last else f"exit{k}"
        origin = ExitOrigin.IMPORTED
        exits.append(Exit(name=name, origin=origin, logits=head.logits, output=output, n_classes=head.n_classes))
    ops = [replace(op, exit=owner.get(i, op.exit)) for i, op in enumerate(ops)]
    made = replace(
        graph, tensors=tuple(tensors), ops=tuple(ops), outputs=(heads[-1].output,), exits=tuple(exits)
    )  # fmt: skip
    return _with_last_head(_ordered(made))


def _heads(graph: Graph, scored: bool) -> list[_Head]:
    """Return the outputs by cost; fewer than there are where one is no classifier."""
    each = macs(graph)
    heads = []
    for output in graph.outputs:
        logits, n_classes = find_logits(graph, output)
        if n_classes < 2 and scored:
            logits, n_classes = _scores(graph, output)
        if n_classes < 2:
            return []
        needs = frozenset(needed_ops(graph, graph.inputs, (output,)))
        cost = sum(each[i] for i in needs)
        heads.append(_Head(output=output, logits=logits, n_classes=n_classes, needs=needs, macs=cost))
    return sorted(heads, key=lambda h: h.macs)


def _scores(graph: Graph, output: int) -> tuple[int, int]:
    """Return the int8 vector that an output is, and its length; a length of 0 where it is none."""
    makers = {op.outputs[0]: op for op in graph.ops}
    while output in makers and makers[output].kind in (OpKind.DEQUANTIZE, OpKind.RESHAPE):
        output = makers[output].inputs[0]
    tensor = graph.tensors[output]
    width = tensor.shape[-1] if tensor.shape else 1
    vector = tensor.dtype is DType.S8 and tensor.elements == width and output in makers
    return output, width if vector else 0


def _is_ladder(graph: Graph, heads: list[_Head]) -> bool:
    if len(heads) != len(graph.outputs) or len({h.n_classes for h in heads}) != 1:
        return False
    answers = [graph.tensors[h.output] for h in heads]
    if len({(t.elements, t.dtype, t.border) for t in answers}) != 1:
        return False
    for head, deeper in itertools.pairwise(heads):
        own = head.needs - frozenset[int]().union(*(h.needs for h in heads if h is not head))
        if head.macs >= deeper.macs or not any(graph.ops[i].kind in WEIGHTED for i in own):
            return False
    return True


def _on_grid(tensors: list[Tensor], ops: list[Op], output: int, like: int, exit_index: int) -> int:
    """Return an early answer in the quantisation of the last one, and without a border of its own."""
    have, want = tensors[output], tensors[like]
    if have.dtype is not DType.S8 or have.quant == want.quant or have.quant is None or want.quant is None:
        tensors[output] = replace(have, border=None)
        return output
    tensors.append(replace(have, name=f"{have.name}:on_grid", quant=want.quant, border=None))
    table = unary_table(UnaryKind.REQUANTIZE, 0.0, have.quant, want.quant)
    attrs = Unary(kind=UnaryKind.REQUANTIZE, table=table)
    made = len(tensors) - 1
    name = tensors[made].name
    ops.append(Op(kind=OpKind.UNARY, name=name, inputs=(output,), outputs=(made,), attrs=attrs, exit=exit_index))
    return made


def _ordered(graph: Graph) -> Graph:
    """Return the graph with every head right after what it reads, in order of depth."""
    last = len(graph.exits) - 1
    waiting = [[op for op in graph.ops if op.exit == k] for k in range(last)]
    ready = {*graph.inputs, *(i for i, t in enumerate(graph.tensors) if t.data is not None)}
    ops: list[Op] = []
    for op in graph.ops:
        if op.exit is not None:
            continue
        ops.append(op)
        ready.update(op.outputs)
        while waiting:
            made = {t for head in waiting[0] for t in head.outputs}
            if not {t for head in waiting[0] for t in head.inputs} - made <= ready:
                break
            ops.extend(waiting.pop(0))
    return graph.with_ops((*ops, *(op for head in waiting for op in head)))


def _with_last_head(graph: Graph) -> Graph:
    """Mark the layers of the last head, from its last weights on."""
    tail = find_tail(graph)
    if tail is None:
        return graph
    needed = needed_ops(graph, graph.inputs, (graph.exits[-1].output,))
    last = len(graph.exits) - 1
    own = {i for i in needed if i >= tail.first and graph.ops[i].exit is None}
    return graph.with_ops(tuple(replace(op, exit=last) if i in own else op for i, op in enumerate(graph.ops)))
