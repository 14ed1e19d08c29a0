# SPDX-License-Identifier: Apache-2.0
"""Whether a layout in non-volatile memory survives power cuts: a replay, byte by byte, that knows nothing of how it was made.

Every choice of exits is replayed (all of them for up to eight exits; beyond, each alone, all, and every pair). Each byte
holds the tensor written to it last. An op must find its inputs as they were written, whole. Then the intervals: from a
commit before any op on, over as many ops as one may reach over. Within the first op the commit may lie between any two
parts of the output and the cut between any two later ones, so the op is taken to read all its inputs before it writes
and after; a byte read since the commit must not be written, unless the interval had written it before it was read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from joulet.plan.nvm_layout import NvmGraph

_ALL_UP_TO = 8
_NOTHING = -1


def verify_nvm(graph: NvmGraph, offsets: Sequence[int | None], total_bytes: int, interval_ops: int) -> tuple[str, ...]:
    """Return what is wrong with a layout; empty when it is sound.

    Parameters
    ----------
    graph
        Ops, tensors and exits.
    offsets
        One a tensor [bytes]; None for what is not kept.
    total_bytes
        Of the memory.
    interval_ops
        Ops, by index, that an interval may reach over.
    """
    faults: dict[str, None] = {}
    if interval_ops < 1:
        return ("an interval of no op makes no progress",)
    for tensor, offset in enumerate(offsets):
        size = graph.sizes[tensor]
        if size is None and offset is not None:
            faults[f"tensor {tensor} is read again, not kept, but has a place"] = None
        if size is not None and offset is not None and not 0 <= offset <= total_bytes - size:
            faults[f"tensor {tensor} lies outside of the memory"] = None
    written = {op.output for op in graph.ops}
    for tensor in sorted(written):
        if graph.sizes[tensor] is not None and offsets[tensor] is None:
            faults[f"tensor {tensor} has no place"] = None
    if faults:
        return tuple(faults)
    for wanted in _choices(len(graph.exits)):
        for fault in itertools.chain(
            _replay(graph, offsets, total_bytes, wanted), _intervals(graph, offsets, total_bytes, wanted, interval_ops)
        ):
            faults[fault] = None
    return tuple(faults)


def _choices(n_exits: int) -> Iterator[frozenset[int]]:
    """Yield which exits are asked for; the deepest of them ends the run."""
    depths = range(n_exits)
    for count in range(1, n_exits + 1):
        if n_exits <= _ALL_UP_TO or count in (1, 2, n_exits):
            yield from (frozenset(chosen) for chosen in itertools.combinations(depths, count))


def _runs(graph: NvmGraph, wanted: frozenset[int]) -> Iterator[int]:
    end = graph.exits[max(wanted)].last_op
    for index, op in enumerate(graph.ops[: end + 1]):
        if op.exit is None or op.exit in wanted:
            yield index


def _bytes_of(graph: NvmGraph, offsets: Sequence[int | None], tensor: int) -> slice:
    offset, size = offsets[tensor], graph.sizes[tensor]
    return slice(0, 0) if offset is None or size is None else slice(offset, offset + size)


def _replay(graph: NvmGraph, offsets: Sequence[int | None], total: int, wanted: frozenset[int]) -> Iterator[str]:
    """What is read is there: written before, by an op of this run, and not written over since."""
    memory: npt.NDArray[np.int32] = np.full(total, _NOTHING, np.int32)
    answers: list[int] = []

    def broken(tensor: int) -> bool:
        content = memory[_bytes_of(graph, offsets, tensor)]
        return graph.sizes[tensor] is not None and bool((content != tensor).any())

    for index in _runs(graph, wanted):
        op = graph.ops[index]
        for tensor in op.inputs:
            if broken(tensor):
                yield f"op {index} does not find tensor {tensor} whole"
        memory[_bytes_of(graph, offsets, op.output)] = op.output
        for depth in wanted:
            each = graph.exits[depth]
            if each.last_op != index:
                continue
            answers.append(each.output)
            if each.logits is not None and broken(each.logits):
                yield f"exit {depth} does not find its logits"
        for tensor in answers:
            if broken(tensor):
                yield f"the answer in tensor {tensor} is lost by op {index}"


def _intervals(
    graph: NvmGraph, offsets: Sequence[int | None], total: int, wanted: frozenset[int], interval_ops: int
) -> Iterator[str]:
    """No byte read since the commit is written over, wherever the commit was."""
    order = list(_runs(graph, wanted))
    for position, start in enumerate(order):
        read: npt.NDArray[np.bool_] = np.zeros(total, np.bool_)
        fresh: npt.NDArray[np.bool_] = np.zeros(total, np.bool_)  # written in this interval before anything read it
        for index in order[position:]:
            if index >= start + interval_ops:
                break
            op = graph.ops[index]
            for tensor in op.inputs:
                span = _bytes_of(graph, offsets, tensor)
                read[span] |= ~fresh[span]
            target = _bytes_of(graph, offsets, op.output)
            if read[target].any():
                yield f"op {index} overwrites what was read since a commit in op {start}"
            if index != start:  # of the first op, parts may have been committed and are not written again
                fresh[target] = ~read[target]


def verify_copies(graph: NvmGraph, offsets: Sequence[int | None], copy_bytes: int) -> tuple[str, ...]:
    """Return what is wrong with a copy made at exits; empty when it holds all that is needed afterwards, apart."""
    faults: dict[str, None] = {}
    for depth, each in enumerate(graph.exits):
        before = {op.output for op in graph.ops[: each.last_op + 1]}
        after = {tensor for op in graph.ops[each.last_op + 1 :] for tensor in (*op.inputs, op.output)}
        answers = {*graph.outputs, *(exit.output for exit in graph.exits)}
        owner: npt.NDArray[np.int32] = np.full(copy_bytes, _NOTHING, np.int32)
        for tensor in sorted(before & (after | answers)):
            offset, size = offsets[tensor], graph.sizes[tensor]
            if size is None:
                continue
            if offset is None or not 0 <= offset <= copy_bytes - size:
                faults[f"exit {depth} does not keep tensor {tensor}"] = None
                continue
            others = owner[offset : offset + size]
            if (others != _NOTHING).any():
                faults[f"exit {depth} keeps tensor {tensor} over tensor {int(others.max())}"] = None
            others[:] = tensor
    return tuple(faults)
