# SPDX-License-Identifier: Apache-2.0
"""Where tensors lie in non-volatile memory, so that what a power cut interrupts can run again.

An interval is what runs between two commits. It may be run twice, so no byte that was read in it may be overwritten in
it. Ops are counted by their index; an interval reaches over ``interval_ops`` of them at the most. A tensor therefore
keeps its place until ``interval_ops`` − 1 ops after its last reader, and no op works in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulet.container.layout import BACKBONE, CODES
from joulet.container.read import Container
from joulet.errors import PlanError

ALIGN_BYTES = 4
_NOT_KEPT = CODES["TensorFlag"]["CONST"] | CODES["TensorFlag"]["INPUT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmOp:
    """One op: tensors it reads and writes, the exit whose head it belongs to, and what it costs.

    ``cycles`` is what it takes without keeping its output, ``units`` the parts of the output that are computed one by one.
    """

    inputs: tuple[int, ...]
    output: int
    exit: int | None = None
    cycles: int = 0
    units: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmExit:
    """An exit: the op after which it is reached, what it answers with, and the tensor whose margin is read then."""

    last_op: int
    output: int
    logits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmGraph:
    """What a layout depends on. ``sizes`` [bytes] has None for constants and inputs, which can be read again."""

    sizes: tuple[int | None, ...]
    ops: tuple[NvmOp, ...]
    exits: tuple[NvmExit, ...]
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmLayout:
    """``offsets`` has one entry a tensor [bytes], None where nothing is kept; ``bytes`` is the end of the last one."""

    offsets: tuple[int | None, ...]
    bytes: int
    interval_ops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmLife:
    """A tensor lives from op ``first``, which writes it, to op ``last``; the number of ops for answers."""

    first: int
    last: int


def graph_of(container: Container, cycles: Sequence[int] | None = None, units: Sequence[int] | None = None) -> NvmGraph:
    """Return the graph of a container, with cycles and units of each op where they are given."""
    sizes: list[int | None] = []
    for index, tensor in enumerate(container.tensors):
        kept = not int(tensor["flags"]) & _NOT_KEPT
        sizes.append(_width(container, index) * int(tensor["elements"]) if kept else None)
    ops = tuple(
        NvmOp(
            inputs=tuple(int(tensor) for tensor in op["inputs"][: int(op["n_inputs"])]),
            output=int(op["output"]),
            exit=None if int(op["exit"]) == BACKBONE else int(op["exit"]),
            cycles=0 if cycles is None else int(cycles[index]),
            units=1 if units is None else int(units[index]),
        )
        for index, op in enumerate(container.ops)
    )
    exits = tuple(
        NvmExit(
            last_op=int(each["last_op"]),
            output=int(each["output"]),
            logits=int(each["logits"]) if int(each["n_classes"]) else None,
        )
        for each in container.exits
    )
    outputs = tuple(int(i) for i in container.model["outputs"][: int(container.model["n_outputs"])])
    return NvmGraph(sizes=tuple(sizes), ops=ops, exits=exits, outputs=outputs)


def _width(container: Container, tensor: int) -> int:
    return 1 if int(container.tensors[tensor]["dtype"]) == CODES["DType"]["S8"] else 4


def nvm_lives(graph: NvmGraph) -> tuple[NvmLife | None, ...]:
    """Return the life of each tensor that may be kept; None for constants, inputs and what no op writes."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for time, op in enumerate(graph.ops):
        first.setdefault(op.output, time)
        for tensor in (*op.inputs, op.output):
            last[tensor] = time
    for each in graph.exits:
        if each.logits is not None and each.logits in first:
            last[each.logits] = max(last[each.logits], each.last_op)
    for tensor in (*graph.outputs, *(each.output for each in graph.exits)):
        last[tensor] = len(graph.ops)
    return tuple(
        None if size is None or tensor not in first else NvmLife(first=first[tensor], last=last[tensor])
        for tensor, size in enumerate(graph.sizes)
    )


def outlives_an_exit(graph: NvmGraph, life: NvmLife) -> bool:
    """Tell whether a tensor is needed after an exit that it was written before."""
    return any(life.first <= each.last_op < life.last for each in graph.exits)


def layout_for(graph: NvmGraph, interval_ops: int, *, only_exits: bool = False) -> NvmLayout:
    """Place every tensor for intervals that reach over ``interval_ops`` ops.

    Best fit in several orders, the smallest result wins. ``only_exits`` leaves out what no exit has to keep.

    Raises
    ------
    PlanError
        If an op reads its own output: it could never run again.
    """
    for index, op in enumerate(graph.ops):
        if op.output in op.inputs:
            raise PlanError(f"op {index} reads what it writes and cannot be run again; compile the model again")
    lives = nvm_lives(graph)
    spans = {
        tensor: (life.first, life.last + interval_ops - 1, -(-(graph.sizes[tensor] or 0) // ALIGN_BYTES) * ALIGN_BYTES)
        for tensor, life in enumerate(lives)
        if life is not None and (not only_exits or outlives_an_exit(graph, life))
    }
    orders = (
        lambda t: (-spans[t][2], spans[t][0], t),
        lambda t: (spans[t][0], -spans[t][2], t),
        lambda t: (spans[t][0] - spans[t][1], -spans[t][2], t),
        lambda t: (-spans[t][2] * (spans[t][1] - spans[t][0] + 1), t),
    )
    best: dict[int, int] = {}
    size = -1
    for order in orders:
        placed = _place(sorted(spans, key=order), spans)
        end = max((at + spans[tensor][2] for tensor, at in placed.items()), default=0)
        if size < 0 or end < size:
            best, size = placed, end
    return NvmLayout(
        offsets=tuple(best.get(tensor) for tensor in range(len(graph.sizes))), bytes=size, interval_ops=interval_ops
    )


def _place(order: list[int], spans: dict[int, tuple[int, int, int]]) -> dict[int, int]:
    placed: dict[int, int] = {}
    for tensor in order:
        first, last, size = spans[tensor]
        position = 0
        for start, end in sorted(
            (placed[other], placed[other] + spans[other][2])
            for other in placed
            if spans[other][0] <= last and first <= spans[other][1]
        ):
            if start - position >= size:
                break
            position = max(position, end)
        placed[tensor] = position
    return placed


def plan_layout(graph: NvmGraph, room_bytes: int) -> NvmLayout:
    """Return the layout with the longest intervals that fits: a place of its own for every tensor at best, else sharing.

    Raises
    ------
    PlanError
        If not even intervals within one op fit.
    """
    low, high = 1, max(len(graph.ops), 1)
    tight = layout_for(graph, 1)
    if tight.bytes > room_bytes:
        raise PlanError(
            f"tensors that live at the same time take {tight.bytes:,} bytes of NVM, there are {room_bytes:,}: take a larger "
            "memory, a smaller model, or the strategy restart-from-exit"
        )
    best = tight
    while (
        low < high
    ):  # longer intervals take more; where best fit does worse than that, the answer is sound all the same
        middle = (low + high + 1) // 2
        candidate = layout_for(graph, middle)
        if candidate.bytes <= room_bytes:
            low, best = middle, candidate
        else:
            high = middle - 1
    return best
