# SPDX-License-Identifier: Apache-2.0
"""A container as a board gets it: weights packed for its kernels, an arena that fits, and what its image adds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from joulet.boards import Board, load_board
from joulet.container.isa_plan import arena_bytes, band_groups, with_isa_plan
from joulet.container.parts import with_board, with_nvm_plan, without_measured
from joulet.container.ram import input_room_bytes
from joulet.container.read import Container
from joulet.errors import UsageError
from joulet.plan.copies import planned_copies
from joulet.plan.cost import board_costs
from joulet.plan.nvm import plan_nvm
from joulet.plan.nvm_comparison import NvmComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContainer:
    """The container of a board's image, and how its power cuts were planned (None where nothing outlives one)."""

    data: bytes
    cuts: NvmComparison | None


def planned_for(
    container: bytes,
    board: str | Board,
    *,
    work_bytes: int | None = None,
    ram_limit: int | None = None,
    flash_limit: int | None = None,
) -> bytes:
    """Return a container as a board gets it: with those weights packed for its kernels that fit its slot and save most.

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
    flash_limit : int, optional
        Most that the container may take [bytes]; the board's slot where that is smaller.

    Raises
    ------
    UsageError
        When a limit cannot be kept.
    """
    container = without_measured(container)
    chosen = board if isinstance(board, Board) else load_board(board)
    isa = chosen.isa
    limits = [] if work_bytes is None else [work_bytes - input_room_bytes(Container.from_bytes(container))]
    if ram_limit is not None:
        limits.append(ram_limit)
    elif band_groups(container, isa):  # it was compiled under a limit
        limits.append(arena_bytes(container, isa))
    ram_bytes = max(min(limits), 0) if limits else None
    planned = container
    if isa != "REF":
        planned = _packed(container, within_flash(chosen, flash_limit), ram_bytes)
    if ram_limit is not None and arena_bytes(planned, isa) > ram_limit:
        raise UsageError(
            f"--ram-limit {ram_limit}: tensors and scratch take {arena_bytes(planned, isa):,} bytes on {chosen.name} at the "
            "least; give that, or a model with a smaller input"
        )
    if flash_limit is not None and len(planned) > flash_limit:
        raise UsageError(
            f"--flash-limit {flash_limit}: the container takes {len(planned):,} bytes on {chosen.name} at the least; give that, "
            "or compile with fewer precisions or exits"
        )
    return planned


def within_flash(board: Board, limit_bytes: int | None) -> Board:
    """Return a board whose slot for the model has no more than a limit [bytes]; None: the board as it is."""
    if limit_bytes is None or (board.model_bytes is not None and board.model_bytes <= limit_bytes):
        return board
    return replace(board, model_bytes=limit_bytes)


def image_container(
    container: bytes,
    board: Board,
    *,
    work_bytes: int | None = None,
    ram_limit: int | None = None,
    flash_limit: int | None = None,
    capacitor_f: float | None = None,
    strategy: str | None = None,
) -> ImageContainer:
    """Return the container of a board's image: planned for it, with its costs and its plan for power cuts.

    Parameters
    ----------
    container, board, work_bytes, ram_limit, flash_limit
        As :func:`planned_for` has them.
    capacitor_f, strategy
        As :func:`joulet.plan.nvm.plan_nvm` has them.

    Raises
    ------
    UsageError
        When a limit cannot be kept, or the strategy does not work.
    """

    def plan(content: bytes) -> bytes:
        return planned_for(content, board, work_bytes=work_bytes, ram_limit=ram_limit, flash_limit=flash_limit)

    decoded = Container.from_bytes(container)
    priced = with_board(container, board_costs(decoded, board))
    planned = plan(priced)
    cuts = None
    if board.nvm is not None or capacitor_f is not None or strategy is not None:
        groups = [(first, len(rows)) for first, rows in band_groups(planned, board.isa)]
        cuts = plan_nvm(decoded, board, capacitor_f=capacitor_f, strategy=strategy, groups=groups)
        if cuts.plan is not None:
            planned = plan(with_nvm_plan(priced, cuts.plan))  # packed weights give way
    data = with_board(planned, board_costs(Container.from_bytes(planned), board))  # as it was packed
    return ImageContainer(data=data, cuts=cuts)


def _packed(container: bytes, board: Board, ram_bytes: int | None) -> bytes:
    """Return a container with its plan part for a board, of which packed weights give way to the rest where the slot is short."""
    spare_bytes = 0
    while True:
        copies = planned_copies(Container.from_bytes(container), board, spare_bytes=spare_bytes)
        if copies is None:
            return container
        planned = with_isa_plan(container, board.isa, copies=copies, ram_bytes=ram_bytes)
        over = 0 if board.model_bytes is None else len(planned) - board.model_bytes
        if over <= 0:
            return planned
        spare_bytes += over  # groups of bands take room too
