# SPDX-License-Identifier: Apache-2.0
"""Which weights get a packed copy where flash is short: those that save most cycles, as an exact knapsack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulet.boards import Board
from joulet.container.assemble import assembled_bytes
from joulet.container.layout import CODES, NO_INDEX, dtype
from joulet.container.needs import Copies, isa_needs, isa_part, stored_copies, wanted_copies
from joulet.container.read import Container
from joulet.plan.kernel_costs import op_cycles
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

    Where the container brings copies for the board's kernels none are added: somebody may have left out the others for a limit.
    None where not even a plan part without copies fits.

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
    wanted = wanted_copies(container, isa_needs(container, CODES["Isa"][board.isa]))
    brought = stored_copies(container, board.isa)
    if brought is not None:
        wanted = {copy: n_bytes for copy, n_bytes in wanted.items() if copy in brought}
    everything = frozenset(wanted)
    if board.model_bytes is None:
        return everything
    room = board.model_bytes - spare_bytes - _planned_bytes(container, board) - ALIGN_BYTES
    if room < 0:
        return None
    sizes = {copy: -(-n_bytes // ALIGN_BYTES) for copy, n_bytes in wanted.items()}
    if sum(sizes.values()) <= room // ALIGN_BYTES:
        return everything
    values = saved_cycles(container, board, everything)
    every_cycle = sum(max(value, 0.0) for value in values.values()) + 1.0
    for copy, weight in (first or {}).items():
        if copy in values:
            values[copy] = max(values[copy], 0.0) + every_cycle * weight
    return best_copies(values, sizes, room // ALIGN_BYTES)


def scratch_relief(container: Container, board: Board, copies: Copies) -> dict[Copy, float]:
    """Return the copies left out whose reference kernels ask for more scratch than any kernel with a copy does [bytes]."""
    needs = isa_needs(container, CODES["Isa"][board.isa])
    reference = isa_needs(container, CODES["Isa"]["REF"])
    most = max((need.scratch_bytes for need in needs if need.taken), default=0)
    left = wanted_copies(container, needs).keys() - copies
    found: dict[Copy, float] = {}
    for op, record in enumerate(container.ops):
        over = float(reference[op].scratch_bytes - most)
        for copy in left:
            if copy[0] == int(record["weight"]) and over > 0:
                found[copy] = max(found.get(copy, 0.0), over)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyBill:
    """One packed copy that a board's kernels would read: of the weights of ``op`` (by name), and whether it is stored.

    Attributes
    ----------
    bytes
        Of flash [bytes].
    saved_cycles
        Of a mean inference, over the reference kernel [cycles].
    """

    op: str
    bits: int
    bytes: int
    saved_cycles: int
    stored: bool


def copy_bills(container: Container, board: Board, stored: Copies | None) -> tuple[CopyBill, ...]:
    """Return every packed copy that the board's kernels would read, those that save most of a byte first.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    if board.isa == "REF":
        return ()
    wanted = wanted_copies(container, isa_needs(container, CODES["Isa"][board.isa]))
    saved = saved_cycles(container, board, frozenset(wanted))
    owner = {int(record["weight"]): op for op, record in reversed(list(enumerate(container.ops)))}
    bills = [
        CopyBill(
            op=op_name(container, owner[weight]),
            bits=bits,
            bytes=n_bytes,
            saved_cycles=round(saved[weight, bits]),
            stored=stored is not None and (weight, bits) in stored,
        )
        for (weight, bits), n_bytes in wanted.items()
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
        text += f"\n  {bill.op[-40:]}, {bill.bits} bits: {bill.bytes:,} bytes would save {bill.saved_cycles:,} cycles"
    return text


def _planned_bytes(container: Container, board: Board) -> int:
    """Return the size of a container with a plan part without copies, in place of the one that it has for the board's kernels."""
    replaced = isa_part(container, board.isa)
    kept = [section for section in container.sections if section.part == 0 or section.part != replaced]
    arena = dtype("Arena").itemsize + 4 * len(container.tensors)
    packed = dtype("Packed").itemsize + 8 * len(container.weights)
    return assembled_bytes(
        [*kept, replace(kept[0], name="ARENA", size_bytes=arena), replace(kept[0], name="PACKED", size_bytes=packed)]
    )


def saved_cycles(container: Container, board: Board, copies: Copies) -> dict[Copy, float]:
    """Return what each packed copy saves of a mean inference [cycles]: integer paths count alike, to their last exits."""
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
            copy = (int(record["weight"]), int(layers[precision, int(record["weight"])]["bits"]))
            if copy in saved:
                saved[copy] += gained[precision, op] / len(paths)
    return saved


def best_copies(values: Mapping[Copy, float], sizes: Mapping[Copy, int], room: int) -> Copies:
    """Return the copies of greatest value in all whose sizes add up to ``room`` or less; exact, in time room x copies.

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
    taken = np.zeros((len(wanted), room + 1), bool)
    for row, copy in enumerate(wanted):
        size = sizes[copy]
        tried = best[: room + 1 - size] + values[copy]
        taken[row, size:] = tried > best[size:]
        best[size:] = np.maximum(best[size:], tried)
    chosen = set()
    for row in reversed(range(len(wanted))):
        if taken[row, room]:
            chosen.add(wanted[row])
            room -= sizes[wanted[row]]
    return frozenset(chosen)
