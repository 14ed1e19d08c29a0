# SPDX-License-Identifier: Apache-2.0
"""Random graphs for layouts in non-volatile memory, and a machine that really loses power."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence

from hypothesis import strategies as st

from joulet.plan.nvm_layout import NvmExit, NvmGraph, NvmOp


@st.composite
def nvm_graphs(draw: st.DrawFn) -> NvmGraph:
    """Chains, joins, tensors that several ops write, inputs that are read late, and up to three heads."""
    sizes: list[int | None] = [None]  # tensor 0 is the input
    backbone = [0]
    ops: list[NvmOp] = []
    exits: list[NvmExit] = []
    n_heads = draw(st.integers(0, 3))
    for block in range(n_heads + 1):
        for _ in range(draw(st.integers(1, 4))):
            target = len(sizes)
            sizes.append(draw(st.integers(1, 40)))
            for _ in range(draw(st.integers(1, 2))):
                inputs = tuple(draw(st.lists(st.sampled_from(backbone), min_size=0, max_size=2)))
                ops.append(NvmOp(inputs=inputs, output=target, units=draw(st.integers(1, 3))))
            backbone.append(target)
        if block < n_heads:
            source = backbone[-1]
            for _ in range(draw(st.integers(1, 2))):
                target = len(sizes)
                sizes.append(draw(st.integers(1, 10)))
                ops.append(NvmOp(inputs=(source,), output=target, exit=block))
                source = target
            exits.append(NvmExit(last_op=len(ops) - 1, output=source, logits=source))
    exits.append(NvmExit(last_op=len(ops) - 1, output=backbone[-1], logits=backbone[-1]))
    return NvmGraph(sizes=tuple(sizes), ops=tuple(ops), exits=tuple(exits), outputs=(backbone[-1],))


class Machine:
    """Runs a graph in non-volatile memory only: each byte an op writes depends on all it reads, so that any mistake shows.

    Progress is (op, unit). A cut goes back to the last commit; the memory stays as it is.
    """

    def __init__(self, graph: NvmGraph, offsets: Sequence[int | None], total_bytes: int, wanted: Sequence[int]) -> None:
        self.graph, self.offsets = graph, offsets
        self.memory = bytearray(b"\xaa" * total_bytes)
        end = graph.exits[max(wanted)].last_op
        self.order = [i for i, op in enumerate(graph.ops[: end + 1]) if op.exit is None or op.exit in wanted]
        self.wanted = wanted

    def content(self, tensor: int) -> bytes:
        """Return a tensor as it lies in memory."""
        offset, size = self.offsets[tensor], self.graph.sizes[tensor]
        return b"input" if offset is None or size is None else bytes(self.memory[offset : offset + size])

    def run_unit(self, index: int, unit: int) -> None:
        """Compute one part of an output and write it."""
        op = self.graph.ops[index]
        seed = zlib.crc32(b"|".join(self.content(tensor) for tensor in op.inputs), index)
        offset, size = self.offsets[op.output], self.graph.sizes[op.output]
        assert offset is not None
        assert size is not None
        made = random.Random(seed).randbytes(size)
        start, stop = unit * size // op.units, (unit + 1) * size // op.units
        self.memory[offset + start : offset + stop] = made[start:stop]

    def run(self, chance: random.Random, interval_ops: int, cut: float = 0.0) -> dict[int, bytes]:
        """Run to the last exit wanted; return what each exit answered, read at the end.

        Commits fall anywhere, but before an op that an interval may not reach. ``cut`` is the chance of losing power after
        each unit.
        """
        steps = [(i, unit) for i in self.order for unit in range(self.graph.ops[i].units)]
        committed = position = 0
        budget = 200
        while position < len(steps):
            if steps[position][0] >= steps[committed][0] + interval_ops:
                committed = position
            self.run_unit(*steps[position])
            position += 1
            if budget and chance.random() < cut:
                budget -= 1
                position = committed
            elif chance.random() < 0.3 and position < len(steps):
                committed = position
        return {depth: self.content(self.graph.exits[depth].output) for depth in self.wanted}
