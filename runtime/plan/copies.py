# SPDX-License-Identifier: Apache-2.0
"""Which weights get packed copies where flash is short, one a precision or one for both: those that save most cycles, exactly."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulet.boards import Board
from joulet.container.assemble import assembled_bytes
from joulet.container.layout import CODES, NO_INDEX, dtype
from joulet.container.needs import (
    SHARED,
    SPARSE,
    Copies,
    IsaNeeds,
    bits_of,
    copy_read,
    isa_needs,
    isa_part,
    stored_copies,
    wanted_copies,
)
from joulet.container.read import Container
from joulet.container.sparse import sparse_copies
from joulet.container.values import weight_values
from joulet.plan.kernel_costs import op_cycles
from joulet.plan.packings import is_shareable
from joulet.plan.work import op_name

ALIGN_BYTES = 64  # of a copy, and of a section
Copy = tuple[int, int]


def copies_on(container: Container, board: Board) -> Copies | None:
    """Return the packed copies that a container has on a board: in its plan part, or in the one that joulet build would add.

    None where the reference kernels run all of it: on boards without others, and without the low planes, where what lacks cannot be
    laid out again.
    """
    if board.isa == "REF":
        return None
    stored = stored_copies(container, board.isa)
    if stored is not None:
        return stored
    if not all(section.present for section in container.sections):
        return None
    return planned_copies(container, board)


def planned_copies(
    container: Container, board: Board, *, spare_bytes: int = 0, first: Mapping[Copy, float] | None = None
) -> Copies | None:
    """Return the packed copies that fit the board's slot beside the container and save most cycles.

    A copy for each precision where all of them fit; else some weights may share one. Where the container brings copies for the
    board's kernels none are added: somebody may have left out the others for a limit. None where not even a plan part without
    copies fits.

    Parameters
    ----------
    container : Container
        What else lies in the slot.
    board : Board
        Whose slot and kernels.
    spare_bytes : int
        Of the slot, to be left alone [bytes].
    first : mapping, optional
        Copies that go before all others, whatever cycles they save, each with how much it matters.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    needs = isa_needs(container, CODES["Isa"][board.isa])
    wanted = copies_wanted(container, board)
    brought = stored_copies(container, board.isa)
    if brought is not None:
        known = wanted_copies(container, needs) | wanted | shared_copies(container, board.isa, needs)
        wanted = {copy: n_bytes for copy, n_bytes in known.items() if copy in brought}
    everything = frozenset(wanted)
    if board.model_bytes is None:
        return everything
    sparse = any(bits == SPARSE for _, bits in wanted)
    room = board.model_bytes - spare_bytes - _planned_bytes(container, board, sparse=sparse) - ALIGN_BYTES
    if room < 0:
        return None
    sizes = _in_units(wanted)
    if sum(sizes.values()) <= room // ALIGN_BYTES:
        return everything
    shared = shared_copies(container, board.isa, needs) if brought is None else {}
    values = saved_cycles(container, board, everything) | saved_cycles(container, board, frozenset(shared))
    every_cycle = sum(max(value, 0.0) for value in values.values()) + 1.0
    for copy, weight in (first or {}).items():
        for serving in (copy, (copy[0], SHARED)):
            if serving in values:
                values[serving] = max(values[serving], 0.0) + every_cycle * weight
    return best_copies(values, sizes | _in_units(shared), room // ALIGN_BYTES)


def shared_copies(container: Container, isa: str, needs: Sequence[IsaNeeds]) -> dict[Copy, int]:
    """Return every packed copy that could serve both precisions of a weight, and its bytes.

    Parameters
    ----------
    container
        With all its planes.
    isa, needs
        Instruction set, and what :func:`joulet.container.needs.isa_needs` says of it.
    """
    sizes: dict[Copy, int] = {}
    barred: set[int] = set()
    for op, need in enumerate(needs):
        weight = int(container.ops[op]["weight"])
        if weight == NO_INDEX or bits_of(container, weight) != {8, 4}:
            continue
        sizes.setdefault((weight, SHARED), need.packed[SHARED])
        if not need.packed[SHARED] or not is_shareable(isa, weight_values(container, weight)):
            barred.add(weight)
    return {copy: n_bytes for copy, n_bytes in sizes.items() if copy[0] not in barred}


def _in_units(sizes: Mapping[Copy, int]) -> dict[Copy, int]:
    return {copy: -(-n_bytes // ALIGN_BYTES) for copy, n_bytes in sizes.items()}


def scratch_relief(container: Container, board: Board, copies: Copies) -> dict[Copy, float]:
    """Return the copies left out whose reference kernels ask for more scratch than any kernel with a copy does [bytes]."""
    needs = isa_needs(container, CODES["Isa"][board.isa])
    reference = isa_needs(container, CODES["Isa"]["REF"])
    most = max((need.scratch_bytes for need in needs if need.taken), default=0)
    left = [copy for copy in wanted_copies(container, needs) if copy_read(copies, *copy) is None]
    found: dict[Copy, float] = {}
    for op, record in enumerate(container.ops):
        over = float(reference[op].scratch_bytes - most)
        for copy in left:
            if copy[0] == int(record["weight"]) and over > 0:
                found[copy] = max(found.get(copy, 0.0), over)
    return found


def copies_wanted(container: Container, board: Board) -> dict[Copy, int]:
    """Return every copy that the board's kernels would read, and its bytes: the sparse one at 8 bits where it takes fewer cycles.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    needs = isa_needs(container, CODES["Isa"][board.isa])
    wanted = wanted_copies(container, needs)
    counted = any(board.cycles.has(board.isa, work, "sparse") for work in ("conv", "conv1x1"))
    candidates = sparse_copies(container, board.isa, needs) if counted else {}
    if not candidates:
        return wanted
    dense = op_cycles(container, board.cycles, board.isa, frozenset(wanted))
    sparse = op_cycles(
        container, board.cycles, board.isa, frozenset(wanted) | frozenset((weight, SPARSE) for weight in candidates)
    )
    gained = (dense - sparse).max(axis=0)  # over precisions: those at 4 bits gain nothing
    weights = container.ops["weight"]
    better = [weight for weight in candidates if gained[weights == weight].sum() > 0]
    for weight in better:
        wanted.pop((weight, 8), None)
        wanted[weight, SPARSE] = len(candidates[weight])
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyBill:
    """One packed copy that a board's kernels would read: of the weights of ``op`` (by name), and whether it is stored.

    Attributes
    ----------
    bits
        Precisions that it serves.
    sparse
        Whether it lacks the blocks that are all zeros.
    bytes
        Of flash [bytes].
    saved_cycles
        Of a mean inference, over the reference kernel [cycles].
    """

    op: str
    bits: tuple[int, ...]
    bytes: int
    saved_cycles: int
    stored: bool
    sparse: bool = False

    @property
    def kind(self) -> str:
        """Bits, in words."""
        bits = " and ".join(str(each) for each in self.bits)
        return f"{bits} bits, sparse" if self.sparse else f"{bits} bits"


def copy_bills(container: Container, board: Board, stored: Copies | None) -> tuple[CopyBill, ...]:
    """Return every packed copy that the board's kernels would read, those that save most of a byte first.

    Of a weight whose stored copy serves both precisions, that one alone.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    if board.isa == "REF":
        return ()
    needs = isa_needs(container, CODES["Isa"][board.isa])
    there = frozenset[Copy]() if stored is None else stored
    both = {copy: n_bytes for copy, n_bytes in shared_copies(container, board.isa, needs).items() if copy in there}
    each = {copy: n_bytes for copy, n_bytes in copies_wanted(container, board).items() if (copy[0], SHARED) not in both}
    saved = saved_cycles(container, board, frozenset(each)) | saved_cycles(container, board, frozenset(both))
    owner = {int(record["weight"]): op for op, record in reversed(list(enumerate(container.ops)))}
    bills = [
        CopyBill(
            op=op_name(container, owner[weight]),
            bits={SHARED: (8, 4), SPARSE: (8,)}.get(bits, (bits,)),
            sparse=bits == SPARSE,
            bytes=n_bytes,
            saved_cycles=round(saved[weight, bits]),
            stored=(weight, bits) in there,
        )
        for (weight, bits), n_bytes in (each | both).items()
    ]
    return tuple(sorted(bills, key=lambda bill: -bill.saved_cycles / bill.bytes))


def copies_text(bills: Sequence[CopyBill], board: Board) -> str:
    """Return what was packed, and what was not and why, in words; empty for a board without kernels of its own."""
    if not bills:
        return ""
    there = [bill for bill in bills if bill.stored]
    text = (
        f"packed for {board.isa}: {len(there)} of {len(bills)} copies, {sum(b.bytes for b in there):,} of "
        f"{sum(b.bytes for b in bills):,} bytes, saving {sum(b.saved_cycles for b in there):,} of "
        f"{sum(b.saved_cycles for b in bills):,} cycles of a mean inference"
    )
    left = [bill for bill in bills if not bill.stored]
    if left:
        slot = "" if board.model_bytes is None else f" in the slot of {board.model_bytes:,} bytes"
        text += f"\nleft to the reference kernels, for others save more{slot}:"
    for bill in left:
        text += f"\n  {bill.op[-40:]}, {bill.kind}: {bill.bytes:,} bytes would save {bill.saved_cycles:,} cycles"
    return text


def _planned_bytes(container: Container, board: Board, *, sparse: bool) -> int:
    """Return the size of a container with a plan part without copies, in place of the one that it has for the board's kernels.

    ``sparse``: it has the head of a section for sparse ones.
    """
    replaced = isa_part(container, board.isa)
    kept = [section for section in container.sections if section.part == 0 or section.part != replaced]
    arena = dtype("Arena").itemsize + 4 * len(container.tensors)
    packed = dtype("Packed").itemsize + 8 * len(container.weights)
    sizes = {"ARENA": arena, "PACKED": packed}
    if sparse:
        sizes["SPARSE"] = dtype("Sparse").itemsize + 4 * len(container.weights)
    return assembled_bytes([*kept, *(replace(kept[0], name=name, size_bytes=size) for name, size in sizes.items())])


def saved_cycles(container: Container, board: Board, copies: Copies) -> dict[Copy, float]:
    """Return what each packed copy saves of a mean inference [cycles]: integer paths count alike, to their last exits.

    ``copies`` has either one for both precisions of a weight or one for each.
    """
    if not copies:
        return {}
    without = op_cycles(container, board.cycles, board.isa, frozenset())
    gained = without - op_cycles(container, board.cycles, board.isa, copies)
    layers = container.layers.reshape(len(container.precisions), len(container.weights))
    segments = container.ops["segment"]
    paths = [path for path in container.paths if not container.precisions[int(path["precisions"][0])]["is_f32"]]
    saved = dict.fromkeys(copies, 0.0)
    for path in paths:
        for op, record in enumerate(container.ops):
            if int(record["weight"]) == NO_INDEX:
                continue
            precision = int(path["precisions"][int(segments[op])])
            weight = int(record["weight"])
            read = copy_read(copies, weight, int(layers[precision, weight]["bits"]))
            if read is not None:
                saved[weight, read] += gained[precision, op] / len(paths)
    return saved


def best_copies(values: Mapping[Copy, float], sizes: Mapping[Copy, int], room: int) -> Copies:
    """Return the copies of greatest value in all whose sizes add up to ``room`` or less; exact, in time room x copies.

    Of one weight either the copy for both precisions is taken, or any of the others.

    Parameters
    ----------
    values
        Of each copy; what is worth nothing is not taken.
    sizes, room
        In one unit, whole numbers.
    """
    wanted = sorted(copy for copy in values if values[copy] > 0 and sizes[copy] <= room)
    room = min(room, sum(sizes[copy] for copy in wanted))
    best = np.zeros(room + 1)  # by room
    taken: list[tuple[list[Copies], np.ndarray]] = []
    for _, group in itertools.groupby(wanted, key=lambda copy: copy[0]):
        choices = list(_choices(list(group)))
        worth = np.full((len(choices), room + 1), -np.inf)
        for row, choice in enumerate(choices):
            size = sum(sizes[copy] for copy in choice)
            if size <= room:
                worth[row, size:] = best[: room + 1 - size] + sum(values[copy] for copy in choice)
        taken.append((choices, worth.argmax(axis=0)))
        best = worth.max(axis=0)
    chosen: set[Copy] = set()
    for choices, rows in reversed(taken):
        choice = choices[rows[room]]
        chosen |= choice
        room -= sum(sizes[copy] for copy in choice)
    return frozenset(chosen)


def _choices(copies: Sequence[Copy]) -> Iterator[Copies]:
    """Yield what may be taken of one weight's copies: first nothing."""
    own = [copy for copy in copies if copy[1] != SHARED]
    for count in range(len(own) + 1):
        yield from map(frozenset, itertools.combinations(own, count))
    yield from (frozenset({copy}) for copy in copies if copy[1] == SHARED)
