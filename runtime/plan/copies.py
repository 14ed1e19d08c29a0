# SPDX-License-Identifier: Apache-2.0
"""Which weights get a packed copy where flash is short: those that save most cycles, as an exact knapsack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulet.boards import Board
from joulet.container.assemble import assembled_bytes
from joulet.container.layout import CODES, NO_INDEX, dtype
from joulet.container.needs import SPARSE, Copies, copy_read, isa_needs, isa_part, stored_copies, wanted_copies
from joulet.container.read import Container
from joulet.container.sparse import sparse_copies
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


def planned_copies(container: Container, board: Board, *, spare_bytes: int = 0) -> Copies | None:
    """Return the packed copies that fit the board's slot beside the container and save most cycles.

    None where not even a plan part without copies fits.

    Parameters
    ----------
    container : Container
        What else lies in the slot.
    board : Board
        Whose slot and kernels.
    spare_bytes : int
        Of the slot, to be left alone [bytes].

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    wanted = copies_wanted(container, board)
    everything = frozenset(wanted)
    if board.model_bytes is None:
        return everything
    sparse = any(bits == SPARSE for _, bits in wanted)
    room = board.model_bytes - spare_bytes - _planned_bytes(container, board, sparse=sparse) - ALIGN_BYTES
    if room < 0:
        return None
    sizes = {copy: -(-n_bytes // ALIGN_BYTES) for copy, n_bytes in wanted.items()}
    if sum(sizes.values()) <= room // ALIGN_BYTES:
        return everything
    return best_copies(saved_cycles(container, board, everything), sizes, room // ALIGN_BYTES)


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

    @property
    def kind(self) -> str:
        """Bits, in words."""
        return "8 bits, sparse" if self.bits == SPARSE else f"{self.bits} bits"


def copy_bills(container: Container, board: Board, stored: Copies | None) -> tuple[CopyBill, ...]:
    """Return every packed copy that the board's kernels would read, those that save most of a byte first.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    if board.isa == "REF":
        return ()
    wanted = copies_wanted(container, board)
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
            weight = int(record["weight"])
            read = copy_read(copies, weight, int(layers[precision, weight]["bits"]))
            if read is not None:
                saved[weight, read] += gained[precision, op] / len(paths)
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
