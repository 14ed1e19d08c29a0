# SPDX-License-Identifier: Apache-2.0
"""A container as a board gets it: weights packed for its kernels, an arena that fits, and what its image adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from joulet.boards import Board, load_board
from joulet.container.isa_plan import Arenas, arena_bytes, band_groups, fast_bytes, with_isa_plan
from joulet.container.needs import Copies, stored_copies
from joulet.container.parts import with_board, with_nvm_plan, without_measured
from joulet.container.ram import input_room_bytes
from joulet.container.read import Container
from joulet.errors import UsageError
from joulet.plan.accesses import tensor_waits
from joulet.plan.copies import Copy, planned_copies, scratch_relief
from joulet.plan.cost import board_costs
from joulet.plan.memories import TwoMemories
from joulet.plan.nvm import plan_nvm
from joulet.plan.nvm_comparison import NvmComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContainer:
    """The container of a board's image, and how its power cuts were planned (None where nothing outlives one)."""

    data: bytes
    cuts: NvmComparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a container may take on a board beyond what its slot allows; None: no limit.

    Attributes
    ----------
    work_bytes
        RAM that the board's firmware leaves to arena and inputs [bytes]; of two memories its board.toml says that.
    ram_bytes
        Most that tensors and scratch may take, of two memories in the fast one [bytes].
    flash_bytes
        Most that the container may take [bytes].
    """

    work_bytes: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None


def planned_for(
    container: bytes, board: str | Board, *, work_bytes: int | None = None, ram_limit: int | None = None
) -> bytes:
    """Return a container as a board gets it: with those weights packed for its kernels that fit its slot and save most.

    What was planned under a limit before stays: of the packed copies that a container brings none are added, and its arena does
    not grow.

    Parameters
    ----------
    container : bytes
        A .jlt container.
    board : str or Board
        The board.
    work_bytes : int, optional
        RAM that its firmware leaves to arena and inputs: ops run in bands where whole tensors do not fit.
    ram_limit : int, optional
        Most that tensors and scratch may take [bytes].

    Raises
    ------
    UsageError
        When ``ram_limit`` cannot be kept.
    """
    chosen = board if isinstance(board, Board) else load_board(board)
    planned = nearest(container, chosen, Room(work_bytes=work_bytes, ram_bytes=ram_limit))
    keep_ram(planned, chosen, ram_limit)
    return planned


def keep_ram(planned: bytes, board: Board, limit_bytes: int | None) -> None:
    """Refuse a limit on tensors and scratch that could not be kept [bytes].

    Raises
    ------
    UsageError
        Naming the least there is.
    """
    taken = fast_bytes(planned, board.isa)
    if limit_bytes is not None and taken > limit_bytes:
        raise UsageError(
            f"--ram-limit {limit_bytes}: tensors and scratch take {taken:,} bytes on {board.name} at the least; "
            "give that, or a model with a smaller input"
        )


def nearest(container: bytes, board: Board, room: Room, known: Arenas | None = None) -> bytes:
    """Return a container as a board gets it, as near to the limits as it gets where they cannot be kept.

    Parameters
    ----------
    container : bytes
        A .jlt container.
    board : Board
        The board.
    room : Room
        The limits.
    known : dict, optional
        Arenas of this network that were planned before.
    """
    container = without_measured(container)
    limits = []
    if room.work_bytes is not None:
        limits.append(room.work_bytes - input_room_bytes(Container.from_bytes(container)))
    if room.ram_bytes is not None:
        limits.append(room.ram_bytes)
    elif band_groups(container, board.isa):  # it was compiled under a limit
        limits.append(arena_bytes(container, board.isa))
    if board.isa == "REF":
        return container
    if board.slow is not None:
        limits = [board.slow.fast_arena_bytes, *([] if room.ram_bytes is None else [room.ram_bytes])]
    ram_bytes = max(min(limits), 0) if limits else None
    return _packed(container, within_flash(board, room.flash_bytes), ram_bytes, known)


def within_flash(board: Board, limit_bytes: int | None) -> Board:
    """Return a board whose slot for the model has no more than a limit [bytes]; None: the board as it is."""
    if limit_bytes is None or (board.model_bytes is not None and board.model_bytes <= limit_bytes):
        return board
    return replace(board, model_bytes=limit_bytes)


def image_container(
    container: bytes,
    board: Board,
    room: Room,
    *,
    capacitor_f: float | None = None,
    strategy: str | None = None,
    known: Arenas | None = None,
) -> ImageContainer:
    """Return the container of a board's image: planned for it, with its costs and its plan for power cuts.

    Parameters
    ----------
    container : bytes
        A .jlt container.
    board : Board
        The board.
    room : Room
        Limits, which are missed where they cannot be kept.
    capacitor_f, strategy
        As :func:`joulet.plan.nvm.plan_nvm` has them.
    known : dict, optional
        Arenas of this network that were planned before.

    Raises
    ------
    UsageError
        When the strategy does not work.
    """
    decoded = Container.from_bytes(container)
    priced = with_board(container, board_costs(decoded, board))
    planned = nearest(priced, board, room, known)
    cuts = None
    if board.nvm is not None or capacitor_f is not None or strategy is not None:
        groups = [(first, len(rows)) for first, rows in band_groups(planned, board.isa)]
        cuts = plan_nvm(decoded, board, capacitor_f=capacitor_f, strategy=strategy, groups=groups)
        if cuts.plan is not None:
            planned = nearest(with_nvm_plan(priced, cuts.plan), board, room, known)  # packed weights give way
    data = with_board(planned, board_costs(Container.from_bytes(planned), board))  # as it was packed
    return ImageContainer(data=data, cuts=cuts)


def two_memories(container: bytes, board: Board, copies: Copies, limit_bytes: int | None = None) -> TwoMemories | None:
    """Return what a board's two memories have for an arena, and what each tensor would wait in the slow one; None with one memory.

    Parameters
    ----------
    container : bytes
        A .jlt container.
    board : Board
        The board.
    copies : frozenset
        Packed weights that there will be.
    limit_bytes : int, optional
        Most that may lie in the fast memory [bytes].
    """
    if board.slow is None:
        return None
    decoded = Container.from_bytes(container)
    there = board.slow.fast_arena_bytes
    return TwoMemories(
        fast_bytes=there if limit_bytes is None else min(there, limit_bytes),
        slow_bytes=board.slow.bytes - input_room_bytes(decoded),
        wait_cycles=tensor_waits(decoded, board, copies),
    )


def _packed(container: bytes, board: Board, ram_bytes: int | None, known: Arenas | None) -> bytes:
    """Return a container with its plan part for a board.

    Where RAM falls short because reference kernels stand in for what has no copy, and want more scratch, copies of those go first.
    """
    planned = _with_copies(container, board, ram_bytes, known, {})
    if ram_bytes is None or fast_bytes(planned, board.isa) <= ram_bytes:
        return planned
    decoded = Container.from_bytes(planned)
    first = scratch_relief(decoded, board, stored_copies(decoded, board.isa) or frozenset())
    if not first:
        return planned
    other = _with_copies(container, board, ram_bytes, known, first)
    return min((planned, other), key=lambda each: fast_bytes(each, board.isa))


def _with_copies(
    container: bytes, board: Board, ram_bytes: int | None, known: Arenas | None, first: Mapping[Copy, float]
) -> bytes:
    """Return a container with its plan part, of which packed weights give way to the rest where the slot is short."""
    spare_bytes = 0
    while True:
        copies = planned_copies(Container.from_bytes(container), board, spare_bytes=spare_bytes, first=first)
        if copies is None:
            return container
        planned = with_isa_plan(
            container,
            board.isa,
            copies=copies,
            ram_bytes=ram_bytes,
            prices=board.cycles.bands,
            memories=two_memories(container, board, copies, ram_bytes),
            known=known,
        )
        over = 0 if board.model_bytes is None else len(planned) - board.model_bytes
        if over <= 0:
            return planned
        spare_bytes += over  # groups of bands take room too
