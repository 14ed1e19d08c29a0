# SPDX-License-Identifier: Apache-2.0
"""An arena in two memories: which tensors lie in the slower one, so that the rest fits the fast one and waits are fewest.

What a choice needs of the fast memory is bounded from below op by op: what lives while the op runs, its output over its inputs
where it may, and its scratch. Choices are looked at in the order of the cycles that they add, without any that breaks the bound
(:func:`_Search.by_cost`); the first one that the arena planner places is taken. So no cheaper choice fits, as far as that planner
can tell; where it fails too often the bound is tightened, and the result is said not to be proved.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations

from joulet.plan.overlap_arena import END_ALIGN_BYTES, ArenaOp, ArenaTensor, OverlapPlan, plan_overlapping, shared_bytes

Problem = tuple[tuple[ArenaTensor | None, ...], tuple[ArenaOp, ...]]
_TRIES = 12
_ROUNDS = 8
_EXCHANGES = 150
_NEVER = float("inf")
_MOST_ALIVE = 14  # tensors at one op whose places are looked at together


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoMemories:
    """What a plan for two memories is made of.

    Attributes
    ----------
    fast_bytes, slow_bytes
        Room for the arena in each [bytes].
    wait_cycles
        For each tensor: what an inference takes more if that lies in the slow memory [core cycles].
    slow
        Tensors that are to lie there, whatever it costs; None: those that cost least.
    """

    fast_bytes: int
    slow_bytes: int
    wait_cycles: tuple[float, ...]
    slow: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """An arena in two memories.

    ``slow`` are the tensors in the slower one, ``wait_cycles`` what they cost an inference. ``proved``: no choice that costs less
    fits, as far as the arena planner can place it.
    """

    arena: OverlapPlan
    slow: frozenset[int]
    wait_cycles: float
    proved: bool


def plan_in_two(problem: Problem, memories: TwoMemories) -> Placement | None:
    """Return the placement that costs fewest cycles; None where nothing fits.

    Parameters
    ----------
    problem : tuple
        Tensors and ops of :func:`joulet.container.arena_problem.arena_problem`.
    memories : TwoMemories
        Room and prices.
    """
    if memories.slow is not None:
        return _placed(problem, memories, memories.slow, proved=False)
    search = _Search(problem, memories)
    limit = memories.fast_bytes
    for attempt in range(_ROUNDS):
        for tried, slow in enumerate(search.by_cost(limit)):
            found = _placed(problem, memories, slow, proved=attempt == 0 and not search.fixed)
            if found is not None:
                return found
            if tried + 1 == _TRIES:
                break
        limit -= max(memories.fast_bytes // 24, END_ALIGN_BYTES)
    everything = frozenset(index for index, tensor in enumerate(problem[0]) if tensor is not None)
    return _placed(problem, memories, everything, proved=False)


def in_two(problem: Problem, slow: frozenset[int], *, fast_bytes: int = 0, slow_bytes: int = 0) -> OverlapPlan:
    """Return the arena of a choice: slow tensors first, then the fast ones and scratch.

    Parameters
    ----------
    problem : tuple
        As for :func:`plan_in_two`.
    slow : frozenset of int
        Tensors in the slow memory.
    fast_bytes, slow_bytes : int
        Sizes that are small enough: nothing better is looked for [bytes].
    """
    tensors, ops = problem
    outside = tuple(tensor if index in slow else None for index, tensor in enumerate(tensors))
    inside = tuple(None if index in slow else tensor for index, tensor in enumerate(tensors))
    low = plan_overlapping(
        outside, [replace(op, scratch_bytes=0) for op in ops], exchanges=_EXCHANGES, enough_bytes=slow_bytes
    )
    high = plan_overlapping(inside, ops, exchanges=_EXCHANGES, enough_bytes=fast_bytes)
    border = low.arena_bytes
    return OverlapPlan(
        offsets=tuple(
            a if a is not None else None if b is None else border + b
            for a, b in zip(low.offsets, high.offsets, strict=True)
        ),
        tensor_bytes=border + high.tensor_bytes,
        arena_bytes=border + high.arena_bytes,
        slow_bytes=border,
    )


def _placed(problem: Problem, memories: TwoMemories, slow: frozenset[int], *, proved: bool) -> Placement | None:
    arena = in_two(problem, slow, fast_bytes=memories.fast_bytes, slow_bytes=memories.slow_bytes)
    if arena.slow_bytes > memories.slow_bytes or arena.arena_bytes - arena.slow_bytes > memories.fast_bytes:
        return None
    cycles = sum(memories.wait_cycles[tensor] for tensor in slow)
    return Placement(arena=arena, slow=slow, wait_cycles=cycles, proved=proved)


class _Search:
    """Choices of slow tensors by what they cost, bounded op by op.

    At each op the tensors that come alive are given a place; what is decided about those that live on is all that later ops see.
    """

    def __init__(self, problem: Problem, memories: TwoMemories) -> None:
        self.tensors = {index: tensor for index, tensor in enumerate(problem[0]) if tensor is not None}
        self.ops = problem[1]
        self.cycles = memories.wait_cycles
        self.alive = [
            frozenset(index for index, each in self.tensors.items() if each.first <= time <= each.last)
            for time in range(len(self.ops))
        ]
        self.fixed = self._fixed()
        self.new = [
            sorted(index for index in alive - self.fixed if max(self.tensors[index].first, 0) == time)
            for time, alive in enumerate(self.alive)
        ]

    def _fixed(self) -> frozenset[int]:
        """Return tensors that are left in the slow memory unasked: the smallest, where very many live at once."""
        fixed: set[int] = set()
        for alive in self.alive:
            free = sorted(alive - fixed, key=lambda index: (-self.tensors[index].bytes, index))
            fixed.update(free[_MOST_ALIVE:])
        return frozenset(fixed)

    def least_bytes(self, time: int, slow: frozenset[int]) -> int:
        """Return what an op needs of the fast memory at the least [bytes]."""
        op = self.ops[time]
        fast = {index: self.tensors[index] for index in self.alive[time] - slow - self.fixed}
        output = fast.get(op.output)
        shared = 0
        if output is not None and output.first == time:
            inputs = ((fast[tensor], rule) for tensor, rule in op.inputs if tensor in fast and tensor != op.output)
            shared = sum(shared_bytes(source, output, rule) for source, rule in inputs if source.last == time)
            shared = min(shared, output.bytes)
        total = sum(each.bytes for each in fast.values()) - shared
        return total + -(-op.scratch_bytes // END_ALIGN_BYTES) * END_ALIGN_BYTES

    def by_cost(self, limit_bytes: int) -> Iterator[frozenset[int]]:
        """Yield choices that keep the bound, the cheapest first."""
        steps = self._steps(limit_bytes)
        ahead = _ahead(steps)
        nothing: frozenset[int] = frozenset()
        heap = [(ahead[0][nothing], 0, 0, nothing, self.fixed, 0.0)]
        count = 0
        while heap:
            total, _, time, before, slow, spent = heapq.heappop(heap)
            if total == _NEVER:
                return
            if time == len(steps):
                yield slow
                continue
            for step in steps[time][before]:
                count += 1
                cost = spent + step.cycles
                rest = ahead[time + 1][step.after]
                heapq.heappush(heap, (cost + rest, count, time + 1, step.after, slow | step.chosen, cost))

    def _steps(self, limit_bytes: int) -> list[dict[frozenset[int], tuple[_Step, ...]]]:
        """Return for each op what may be chosen there, by what is slow of the tensors that live on from before it."""
        steps: list[dict[frozenset[int], tuple[_Step, ...]]] = []
        states: set[frozenset[int]] = {frozenset()}
        for time, new in enumerate(self.new):
            later: frozenset[int] = self.alive[time + 1] if time + 1 < len(self.alive) else frozenset()
            steps.append({before: tuple(self._choices(time, new, before, later, limit_bytes)) for before in states})
            states = {step.after for each in steps[-1].values() for step in each}
        return steps

    def _choices(
        self, time: int, new: Sequence[int], before: frozenset[int], later: frozenset[int], limit_bytes: int
    ) -> Iterator[_Step]:
        for chosen in map(frozenset, _subsets(new)):
            if self.least_bytes(time, before | chosen) <= limit_bytes:
                cycles = sum(self.cycles[tensor] for tensor in chosen)
                yield _Step(cycles=cycles, chosen=chosen, after=(before | chosen) & later)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A choice at one op: what it costs, the tensors that come alive there and are slow, and all slow ones that live on."""

    cycles: float
    chosen: frozenset[int]
    after: frozenset[int]


def _ahead(steps: Sequence[dict[frozenset[int], tuple[_Step, ...]]]) -> list[dict[frozenset[int], float]]:
    """Return for each op, and past the last, the fewest cycles from there on, by what is slow of what lives on."""
    last = {step.after: 0.0 for each in steps[-1].values() for step in each} if steps else {frozenset[int](): 0.0}
    ahead = [last]
    for choices in reversed(steps):
        after = ahead[0]
        ahead.insert(
            0,
            {
                before: min((step.cycles + after[step.after] for step in found), default=_NEVER)
                for before, found in choices.items()
            },
        )
    return ahead


def _subsets(items: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(items, count) for count in range(len(items) + 1))
