# SPDX-License-Identifier: Apache-2.0
"""Band groups: ops that run band by band, so that what they hand on is never whole; FORMAT.md §6.

What a group holds, and whether its ops may be one, is asked of the C side (``csrc/core/bands.h``), whose engine will walk it. Here
is the choice: whole tensors where they fit, else groups, and of these what costs fewest cycles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from joulet._core import ffi, lib
from joulet.container.checked import Checked
from joulet.container.layout import MAX_BAND_OPS
from joulet.plan.overlap import Overlap
from joulet.plan.overlap_arena import END_ALIGN_BYTES, ArenaOp, ArenaTensor, OverlapPlan, plan_overlapping, shared_bytes
from joulet.records import BandPrices

Tensors = tuple[ArenaTensor | None, ...]
Ops = tuple[ArenaOp, ...]
M4_PRICES = BandPrices(call_cycles=2560.0, moved_byte_cycles=4.7)
"""Where no board is named: what ``make fit-bands`` finds on the virtual M4; boards have theirs in ``cycles.bands``."""

_TRIES = 12
_EXCHANGES = 4000
_MOST_ROWS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BandGroup:
    """Ops that run band by band.

    Attributes
    ----------
    first
        Index of the first op.
    rows
        For each op, rows of its output that the arena holds; for the last one, rows in a band.
    room_bytes
        What these rows take for all but the last op [bytes].
    moved_bytes
        Copied inside the arena during one inference [bytes].
    calls
        Of kernels during one inference.
    distances
        For each tensor that is read from outside, by how much the output must begin below it to lie over it [bytes].
    """

    first: int
    rows: tuple[int, ...]
    room_bytes: tuple[int, ...]
    moved_bytes: int
    calls: int
    distances: tuple[tuple[int, int], ...]

    @property
    def last(self) -> int:
        """Index of the last op."""
        return self.first + len(self.rows) - 1

    def cycles(self, prices: BandPrices) -> float:
        """Return what it takes beyond whole tensors [core cycles]; by this groups are compared."""
        return prices.cycles(self.calls - len(self.rows), self.moved_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandPlan:
    """An arena and the groups that it is for, in the order of their ops; none where whole tensors fit."""

    arena: OverlapPlan
    groups: tuple[BandGroup, ...]


def plan_banded(
    checked: Checked,
    isa: int,
    problem: tuple[Tensors, Ops],
    limit_bytes: int,
    *,
    whole: OverlapPlan,
    prices: BandPrices = M4_PRICES,
) -> BandPlan:
    """Bring an arena under a limit by groups; whole tensors where they fit, and as near as it gets where nothing does.

    Parameters
    ----------
    checked : Checked
        The container.
    isa : int
        Whose kernels run: a code of ``layout.CODES["Isa"]``.
    problem : tuple
        Tensors and ops of :func:`joulet.container.arena_problem.arena_problem`.
    limit_bytes : int
        Most that tensors and scratch may take [bytes].
    whole : OverlapPlan
        The arena of whole tensors.
    prices : BandPrices
        Of the core.
    """
    best = BandPlan(arena=whole, groups=())
    if whole.arena_bytes <= limit_bytes:
        return best
    search = _Search(checked, isa, problem, prices)
    target = limit_bytes
    for _ in range(_TRIES):
        groups = search.cheapest(max(target, search.least_bytes))
        arena = plan_overlapping(*contracted(problem, groups), exchanges=_EXCHANGES)
        if arena.arena_bytes < best.arena.arena_bytes:
            best = BandPlan(arena=arena, groups=groups)
        if arena.arena_bytes <= limit_bytes or target <= search.least_bytes:
            break
        target -= max(arena.arena_bytes - limit_bytes, target // 32)
    return best


def contracted(problem: tuple[Tensors, Ops], groups: Sequence[BandGroup]) -> tuple[Tensors, Ops]:
    """Return the problem with each group as one op, and what is between its ops as large as the rows that it holds."""
    tensors, ops = list(problem[0]), problem[1]
    times = list(range(len(ops) + 2))  # of old ops, and of what lives on past the last
    merged: list[ArenaOp] = []
    starts = {group.first: group for group in groups}
    at = 0
    while at < len(ops):
        group = starts.get(at)
        stop = at + 1 if group is None else group.last + 1
        times[at:stop] = [len(merged)] * (stop - at)
        merged.append(ops[at] if group is None else _as_one(ops, group))
        if group is not None:
            for op, size in zip(ops[at : stop - 1], group.room_bytes, strict=True):
                inner = tensors[op.output]
                assert inner is not None
                tensors[op.output] = replace(inner, bytes=size)
        at = stop
    times[len(ops) :] = [len(merged), len(merged) + 1]
    return tuple(
        None
        if each is None
        else replace(
            each,
            first=each.first if each.first < 0 else times[each.first],
            last=each.last if each.last < 0 else times[each.last],
        )
        for each in tensors
    ), tuple(merged)


def _as_one(ops: Ops, group: BandGroup) -> ArenaOp:
    members = ops[group.first : group.last + 1]
    return ArenaOp(
        inputs=tuple((tensor, Overlap(distance=distance, by_pixel=distance)) for tensor, distance in group.distances),
        output=members[-1].output,
        scratch_bytes=max(op.scratch_bytes for op in members),
    )


class _Search:
    """What all limits share: which ops may be a group, and what each holds with bands of so many rows."""

    def __init__(self, checked: Checked, isa: int, problem: tuple[Tensors, Ops], prices: BandPrices) -> None:
        self.prices = prices
        self.tensors, self.ops = problem
        self.view = ffi.new("jlt_container_t *", checked.view[0])
        self.view.isa = isa
        self.groups = {first: list(self._groups_at(first)) for first in range(len(self.ops))}

    def _groups_at(self, first: int) -> Iterator[list[BandGroup]]:
        """Give the groups that begin at an op: for each length, by falling rows of a band."""
        rows_of = ffi.new("jlt_band_axis_t *")
        for count in range(1, MAX_BAND_OPS + 1):
            if first + count > len(self.ops) or not lib.jlt_band_axis(
                self.view, self.view.ops + first + count - 1, rows_of
            ):
                return
            if count < 2:
                continue
            found = [self._group(first, count, band) for band in _bands(int(rows_of.out_rows))]
            sound = [group for group in found if group is not None]
            if sound:
                yield sound

    def _group(self, first: int, count: int, band: int) -> BandGroup | None:
        walked = walk_group(self.view, first, (*[0] * (count - 1), band))
        if max(walked.rows) >= _MOST_ROWS:
            return None
        record = _record(first, walked.rows)
        self.view.bands, self.view.n_bands = record, 1
        status = lib.jlt_check_bands(self.view)
        self.view.bands, self.view.n_bands = ffi.NULL, 0
        return None if status else walked

    @cached_property
    def least_bytes(self) -> int:
        """What no choice gets below [bytes], as far as ops are looked at one by one."""
        low, high = 0, max((self._alone_bytes(op) for op in range(len(self.ops))), default=0)
        while low < high:
            middle = (low + high) // 2
            if self._choose(middle) is None:
                low = middle + 1
            else:
                high = middle
        return low

    def cheapest(self, limit_bytes: int) -> tuple[BandGroup, ...]:
        """Return the groups that cost least and keep what lives at one time under a limit, which must not be below the least."""
        chosen = self._choose(limit_bytes)
        assert chosen is not None
        return chosen

    def _choose(self, limit_bytes: int) -> tuple[BandGroup, ...] | None:
        """Return the cheapest groups, None where some op takes more than the limit whatever group it is in."""
        best: list[tuple[float, int, tuple[BandGroup, ...]] | None] = [None] * (len(self.ops) + 1)
        best[0] = (0.0, 0, ())
        for at in range(len(self.ops)):
            before = best[at]
            if before is None:
                continue
            steps: list[BandGroup | None] = [None] if self._alone_bytes(at) <= limit_bytes else []
            for sizes in self.groups[at]:
                fits = [group for group in sizes if self._group_bytes(group) <= limit_bytes]
                steps += fits[:1]  # the most rows that fit: fewest calls, least copied
            for group in steps:
                stop = at + 1 if group is None else group.last + 1
                more = before[2] if group is None else (*before[2], group)
                cost = (before[0] + (0.0 if group is None else group.cycles(self.prices)), len(more), more)
                known = best[stop]
                if known is None or cost[:2] < known[:2]:
                    best[stop] = cost
        end = best[-1]
        return None if end is None else end[2]

    def _alone_bytes(self, op: int) -> int:
        """Return what lives while an op runs with whole tensors, its output over an input where it may [bytes]."""
        return self._living(op, op, frozenset(), self.ops[op])

    def _group_bytes(self, group: BandGroup) -> int:
        inner = frozenset(op.output for op in self.ops[group.first : group.last])
        return sum(group.room_bytes) + self._living(group.first, group.last, inner, _as_one(self.ops, group))

    def _living(self, first: int, last: int, inner: frozenset[int], op: ArenaOp) -> int:
        lives = {
            index: each
            for index, each in enumerate(self.tensors)
            if each is not None and index not in inner and each.first <= last and each.last >= first
        }
        total = sum(each.bytes for each in lives.values())
        output = lives[op.output]
        shared = 0
        for tensor, rule in op.inputs:
            source = lives.get(tensor)
            if source is None or first <= source.first <= last or source.last > last or output.first < first:
                continue
            shared = max(shared, shared_bytes(source, output, rule))
        return total - shared + -(-op.scratch_bytes // END_ALIGN_BYTES) * END_ALIGN_BYTES


def _bands(rows: int) -> list[int]:
    """Return rows of a band that are worth a look, from many to few."""
    return sorted({band for power in range(17) for band in (1 << power, 3 << power) if band < rows}, reverse=True)


def _record(first: int, rows: Sequence[int]) -> Any:
    return ffi.new(
        "jlt_band_group_t *",
        {"first_op": first, "n_ops": len(rows), "rows": [*rows, *[0] * (MAX_BAND_OPS - len(rows))]},
    )


def walk_group(view: Any, first: int, rows: Sequence[int]) -> BandGroup:
    """Return what a walk of the C side takes.

    Parameters
    ----------
    view
        ``jlt_container_t *``.
    first : int
        Index of the group's first op.
    rows : sequence of int
        Of the ops, of which the last one's alone is looked at: rows in a band.
    """
    count = len(rows)
    record = _record(first, rows)
    walk = ffi.new("jlt_band_walk_t *", lib.jlt_band_start(view, record))
    call = ffi.new("jlt_band_call_t *")
    held, row_bytes = [0] * count, [0] * count
    inner = {int(view.ops[first + member].output) for member in range(count - 1)}
    distances: dict[int, int] = {}
    moved = calls = written = 0
    while lib.jlt_band_next(walk, call):
        member = call.op - (view.ops + first)
        calls += 1
        moved += call.kept * call.axis.out_row_bytes if call.dropped else 0
        held[member] = max(held[member], call.to - call.base)
        row_bytes[member] = call.axis.out_row_bytes
        for tensor in {int(call.op.inputs[k]) for k in range(call.op.n_inputs)} - inner:
            distance = written - call.in_from * call.axis.in_row_bytes
            distances[tensor] = max(distances.get(tensor, distance), distance)
        if member == count - 1:
            written = call.to * call.axis.out_row_bytes
    held[-1] = rows[-1]
    return BandGroup(
        first=first,
        rows=tuple(held),
        room_bytes=tuple(each * width for each, width in zip(held[:-1], row_bytes[:-1], strict=True)),
        moved_bytes=moved,
        calls=calls,
        distances=tuple(sorted(distances.items())),
    )
