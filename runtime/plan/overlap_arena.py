# SPDX-License-Identifier: Apache-2.0
"""The arena of a plan part: outputs over inputs that nothing needs any more, scratch where no tensor is needed; FORMAT.md §6.

Tensors are placed one after the other, each as low as those already placed let it lie, or as high. What an order of placement
is worth is known only when all are placed, so many are tried: a few by rule, then random exchanges that are kept when they do no
harm. Deterministic; the check in C is the judge of what comes out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from joulet.plan.overlap import NEVER, NOWHERE, Overlap

ALIGN_BYTES = 4
END_ALIGN_BYTES = 16
BEFORE_START = -1
_EXCHANGES = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaTensor:
    """A tensor of ``bytes`` that must keep its content from op ``first`` (-1 for an input) to op ``last``."""

    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaOp:
    """An op. ``inputs`` names each input tensor with where the output may lie over it; ``scratch_bytes`` [bytes]."""

    inputs: tuple[tuple[int, Overlap], ...]
    output: int
    scratch_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapPlan:
    """``offsets`` has one entry a tensor [bytes], None where there is none.

    ``tensor_bytes`` is the end of the last tensor, ``arena_bytes`` that of the arena, scratch included. The first ``slow_bytes``
    lie in another memory than the rest.
    """

    offsets: tuple[int | None, ...]
    tensor_bytes: int
    arena_bytes: int
    slow_bytes: int = 0

    @property
    def scratch_bytes(self) -> int:
        """The record's field: what the arena has beyond its tensors [bytes]."""
        return self.arena_bytes - _up(self.tensor_bytes, END_ALIGN_BYTES)


@dataclass(slots=True)
class _Neighbour:
    """A tensor that lives at the same time. ``over``: it is the output of an op and this one an input; ``under``: the reverse."""

    tensor: int
    over: Overlap = field(default=NOWHERE)
    under: Overlap = field(default=NOWHERE)


def plan_overlapping(
    tensors: Sequence[ArenaTensor | None],
    ops: Sequence[ArenaOp],
    *,
    exchanges: int = _EXCHANGES,
    enough_bytes: int = 0,
) -> OverlapPlan:
    """Place every tensor; None for those without memory.

    Parameters
    ----------
    tensors, ops
        In the order of the container.
    exchanges : int
        Random exchanges to try after the orders by rule.
    enough_bytes : int
        Size of an arena that is small enough: nothing better is looked for.
    """
    search = _Search(tensors, ops)
    if not search.placed:
        scratch = max((_up(op.scratch_bytes, END_ALIGN_BYTES) for op in ops), default=0)
        return OverlapPlan(offsets=(None,) * len(tensors), tensor_bytes=0, arena_bytes=scratch)
    candidates = [(search.cost(at), order, high, at) for order, high, at in search.by_rule()]
    best, order, high, offsets = min(candidates, key=lambda each: each[0])
    rng = random.Random(0)
    for _ in range(exchanges if len(order) > 2 else 0):
        if best[0] <= enough_bytes:
            break
        tried = list(order)
        a, b = rng.sample(range(len(tried)), 2)
        if rng.random() < 0.5:
            tried[a], tried[b] = tried[b], tried[a]
        else:
            tried.insert(b, tried.pop(a))
        at = search.place(tried, high)
        cost = search.cost(at)
        if cost <= best:
            best, order, offsets = cost, tried, at
    return OverlapPlan(
        offsets=tuple(offsets.get(tensor) for tensor in range(len(tensors))), tensor_bytes=best[1], arena_bytes=best[0]
    )


def shared_bytes(source: ArenaTensor, output: ArenaTensor, rule: Overlap) -> int:
    """Return the most that an input and the output that may lie over it have in common [bytes]."""
    if rule == NOWHERE:
        return 0
    lead = max(min(rule.distance, rule.by_pixel), 0)
    return source.bytes + output.bytes - max(lead + source.bytes, output.bytes)


class _Search:
    """What all placements of one network share."""

    def __init__(self, tensors: Sequence[ArenaTensor | None], ops: Sequence[ArenaOp]) -> None:
        self.tensors = {index: tensor for index, tensor in enumerate(tensors) if tensor is not None}
        self.placed = sorted(self.tensors)
        self.scratch = [_up(op.scratch_bytes, END_ALIGN_BYTES) for op in ops]
        self.neighbours = {a: [self._pair(a, b, ops) for b in self.placed if self._meet(a, b)] for a in self.placed}

    def _meet(self, a: int, b: int) -> bool:
        one, other = self.tensors[a], self.tensors[b]
        return a != b and one.first <= other.last and other.first <= one.last

    def _pair(self, a: int, b: int, ops: Sequence[ArenaOp]) -> _Neighbour:
        return _Neighbour(b, over=self._rule(a, b, ops), under=self._rule(b, a, ops))

    def _rule(self, source: int, output: int, ops: Sequence[ArenaOp]) -> Overlap:
        """Return where ``output`` may lie over ``source``: an op writes it first that is the last to use the other."""
        time = self.tensors[output].first
        if time < 0 or self.tensors[source].last != time or ops[time].output != output:
            return NOWHERE
        rules = [rule for tensor, rule in ops[time].inputs if tensor == source]
        if len(rules) == 1:
            return rules[0]
        distance = max((rule.distance for rule in rules), default=NEVER)
        return Overlap(distance=distance, by_pixel=distance)

    def by_rule(self) -> list[tuple[list[int], bool, dict[int, int]]]:
        """Return orders of placement, whether each places high, and what comes of it."""
        t = self.tensors
        keys = (
            lambda i: (-t[i].first, -t[i].bytes, i),
            lambda i: (t[i].first, -t[i].bytes, i),
            lambda i: (-t[i].last, -t[i].bytes, i),
            lambda i: (-t[i].bytes, -t[i].first, i),
            lambda i: (-t[i].bytes, t[i].first, i),
            lambda i: (t[i].first - t[i].last, -t[i].bytes, i),
            lambda i: (-t[i].bytes * (t[i].last - t[i].first + 1), -t[i].first, i),
        )
        orders = [sorted(self.placed, key=key) for key in keys]
        return [(order, high, self.place(order, high)) for order in orders for high in (False, True)]

    def place(self, order: Sequence[int], high: bool) -> dict[int, int]:
        """Return offsets, the lowest being 0. ``high``: each tensor as high as the others let it, else as low."""
        at: dict[int, int] = {}
        for tensor in order:
            at[tensor] = self._lowest(tensor, at) if not high else self._highest(tensor, at)
        lowest = min(at.values())
        return {tensor: offset - lowest for tensor, offset in at.items()}

    def _lowest(self, tensor: int, at: dict[int, int]) -> int:
        return min(spot for spot in self._spots(tensor, at, 0) if spot >= 0 and self._fits(tensor, spot, at))

    def _highest(self, tensor: int, at: dict[int, int]) -> int:
        top = -_up(self.tensors[tensor].bytes, ALIGN_BYTES)
        spots = self._spots(tensor, at, top)
        return max(spot for spot in spots if spot <= top and self._fits(tensor, spot, at))

    def _spots(self, tensor: int, at: dict[int, int], edge: int) -> list[int]:
        """Offsets that are worth a look: at an edge, and as close to each neighbour as may be, on all its sides."""
        size = _up(self.tensors[tensor].bytes, ALIGN_BYTES)
        spots = {edge}
        for each in self.neighbours[tensor]:
            if each.tensor not in at:
                continue
            other = at[each.tensor]
            spots |= {other, other - size, other + _up(self.tensors[each.tensor].bytes, ALIGN_BYTES)}
            for rule, sign in ((each.over, 1), (each.under, -1)):
                for distance, step in ((rule.distance, 1), (rule.by_pixel, rule.pixel_bytes)):
                    if abs(distance) < NEVER:
                        spots.add(other + sign * _up(distance, math.lcm(ALIGN_BYTES, step)))
        return sorted(spots)

    def _fits(self, tensor: int, spot: int, at: dict[int, int]) -> bool:
        end = spot + self.tensors[tensor].bytes
        for each in self.neighbours[tensor]:
            other = at.get(each.tensor)
            if other is None or other >= end or other + self.tensors[each.tensor].bytes <= spot:
                continue
            if not (each.over.allows(spot - other) or each.under.allows(other - spot)):
                return False
        return True

    def cost(self, at: dict[int, int]) -> tuple[int, int]:
        """Return the bytes of the arena with scratch, and those of tensors."""
        tops = [0] * len(self.scratch)
        end = 0
        for tensor, offset in at.items():
            life = self.tensors[tensor]
            top = offset + life.bytes
            end = max(end, top)
            for time in range(max(life.first, 0), min(life.last + 1, len(tops))):
                tops[time] = max(tops[time], top)
        needed = [_up(top, END_ALIGN_BYTES) + scratch for top, scratch in zip(tops, self.scratch, strict=True)]
        return max([_up(end, END_ALIGN_BYTES), *needed]), end


def _up(value: int, to: int) -> int:
    return -(-value // to) * to
