# SPDX-License-Identifier: Apache-2.0
"""Arena offsets by lifetime, with element-wise ops in place.

Time is the step index. Heads may run or be skipped; a lifetime covers both cases because it spans all steps between
the first writer and the last reader, whoever they are. Inputs are written before step 0. Outputs of the model and
answers of exits live to the end of the inference, logits until the step after their exit's last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from joulet.plan.steps import BinaryParams, Lowered, Step

ALIGN_BYTES = 16
BEFORE_START = -1
IN_PLACE = frozenset({"LUT", "ADD", "SUB", "MUL", "SOFTMAX"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """Steps ``first`` to ``last``, both included; ``first`` is -1 for an input of the model."""

    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        """Tell whether some step needs both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Memory that one tensor, or several in place one after the other, use."""

    slots: tuple[int, ...]
    life: Lifetime
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaPlan:
    """``offsets`` has one entry a slot [bytes], None for constants; ``peak_live_bytes`` is the floor of any layout."""

    offsets: tuple[int | None, ...]
    tensor_bytes: int
    peak_live_bytes: int
    buffers: tuple[Buffer, ...]


def lifetimes(lowered: Lowered) -> tuple[Lifetime | None, ...]:
    """Return when each slot must keep its content; None for constants and slots nobody touches."""
    first: dict[int, int] = dict.fromkeys(lowered.inputs, BEFORE_START)
    last: dict[int, int] = dict.fromkeys(lowered.inputs, BEFORE_START)
    for time, step in enumerate(lowered.steps):
        for slot in (*step.inputs, step.output):
            first.setdefault(slot, time)
            last[slot] = time
    end = len(lowered.steps)
    for output in lowered.outputs:
        last[output] = end
    for each in lowered.exits:
        last[each.output] = end
        # one step longer: the confidence is read after the exit's last step, which must not work in place on them
        last[each.logits] = max(last[each.logits], each.last_op + 1)
    result: list[Lifetime | None] = []
    for slot, record in enumerate(lowered.slots):
        alive = record.data is None and slot in first
        result.append(Lifetime(first=first[slot], last=last[slot]) if alive else None)
    return tuple(result)


def plan_arena(lowered: Lowered) -> ArenaPlan:
    """Place every tensor.

    Greedy best fit over several orders of placement; the smallest arena wins, the first of equals. Deterministic.
    """
    lives = lifetimes(lowered)
    buffers = _buffers(lowered, lives)
    orders: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
        lambda b: (-b.bytes, b.life.first, b.slots[0]),
        lambda b: (-b.bytes, -b.life.first, b.slots[0]),
        lambda b: (b.life.first, -b.bytes, b.slots[0]),
        lambda b: (b.life.first - b.life.last, -b.bytes, b.slots[0]),
        lambda b: (-b.bytes * (b.life.last - b.life.first + 1), b.life.first, b.slots[0]),
    )
    best: tuple[int, dict[Buffer, int]] | None = None
    for order in orders:
        placed = _place(sorted(buffers, key=order))
        size = max((offset + buffer.bytes for buffer, offset in placed.items()), default=0)
        if best is None or size < best[0]:
            best = (size, placed)
    assert best is not None
    offsets: list[int | None] = [None] * len(lowered.slots)
    for buffer, offset in best[1].items():
        for slot in buffer.slots:
            offsets[slot] = offset
    return ArenaPlan(
        offsets=tuple(offsets), tensor_bytes=best[0], peak_live_bytes=_peak_live(buffers), buffers=tuple(buffers)
    )


def _align(size: int) -> int:
    return -(-max(size, 1) // ALIGN_BYTES) * ALIGN_BYTES


def _buffers(lowered: Lowered, lives: tuple[Lifetime | None, ...]) -> list[Buffer]:
    """Return one buffer for each chain of tensors that replace each other in place."""
    head: dict[int, int] = {}
    chains: dict[int, list[int]] = {slot: [slot] for slot, life in enumerate(lives) if life is not None}
    for time, step in enumerate(lowered.steps):
        source = _replaced_input(lowered, lives, step, time)
        if source is not None:
            root = head.get(source, source)
            head[step.output] = root
            chains[root].extend(chains.pop(step.output))
    buffers = []
    for slots in chains.values():
        spans = [life for slot in slots if (life := lives[slot]) is not None]
        life = Lifetime(first=min(each.first for each in spans), last=max(each.last for each in spans))
        size = _align(max(lowered.slots[slot].bytes for slot in slots))
        buffers.append(Buffer(slots=tuple(slots), life=life, bytes=size))
    return buffers


def _replaced_input(lowered: Lowered, lives: tuple[Lifetime | None, ...], step: Step, time: int) -> int | None:
    """Return the input whose memory the output of an element-wise step takes over, if there is one."""
    out_life = lives[step.output]
    if step.code not in IN_PLACE or out_life is None or out_life.first != time:
        return None
    for position, slot in enumerate(step.inputs):
        life = lives[slot]
        same_size = lowered.slots[slot].bytes == lowered.slots[step.output].bytes
        if life is None or life.last != time or life.first >= time or not same_size:
            continue
        if isinstance(step.params, BinaryParams) and not _reads_in_step(step.params, position):
            continue
        return slot
    return None


def _reads_in_step(params: BinaryParams, position: int) -> bool:
    """Tell whether element i of this input is read when element i of the output is written, and never later."""
    expected = 1
    strides = params.stride_a if position == 0 else params.stride_b
    for extent, stride in zip(reversed(params.dims), reversed(strides), strict=True):
        if extent > 1 and stride != expected:
            return False
        expected *= extent
    return True


def _place(buffers: Iterable[Buffer]) -> dict[Buffer, int]:
    placed: dict[Buffer, int] = {}
    for buffer in buffers:
        taken = sorted((offset, other.bytes) for other, offset in placed.items() if other.life.overlaps(buffer.life))
        placed[buffer] = _best_gap(taken, buffer.bytes)
    return placed


def _best_gap(taken: list[tuple[int, int]], size: int) -> int:
    """Return the offset of the tightest gap that fits, or the end."""
    best: tuple[int, int] | None = None
    position = 0
    for offset, length in taken:
        gap = offset - position
        if gap >= size and (best is None or gap < best[0]):
            best = (gap, position)
        position = max(position, offset + length)
    return position if best is None else best[1]


def _peak_live(buffers: list[Buffer]) -> int:
    times = {buffer.life.first for buffer in buffers}
    return max((sum(b.bytes for b in buffers if b.life.first <= t <= b.life.last) for t in times), default=0)
