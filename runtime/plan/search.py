# SPDX-License-Identifier: Apache-2.0
"""The search over operating points: which bits, exits, bands and packed copies a model takes on a board, under limits.

A candidate is a container and a path of it. What it takes on the board is not estimated: its image is made, as ``joulet build``
makes it, with as many packed copies as the limit on flash allows and bands where the limit on RAM asks for them. Cycles are the
board's model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.boards import Board
from joulet.container.isa_plan import Arenas, band_groups, fast_bytes
from joulet.container.layout import BACKBONE
from joulet.container.read import Container
from joulet.plan.copies import copies_on, copy_bills
from joulet.plan.cost import board_costs
from joulet.plan.on_board import Room, image_container

LOSS_LIMIT = 0.003
"""Accuracy that a cheaper point may lose against the best one that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a plan may take; None: no limit beyond the board's own.

    Attributes
    ----------
    ram_bytes
        Tensors and scratch [bytes].
    flash_bytes
        The container in the board's slot [bytes].
    energy_nj
        One inference to the last exit, heads on the way included: whatever the input [nJ].
    work_bytes
        RAM that the board's firmware leaves to arena and inputs [bytes].
    """

    ram_bytes: int | None = None
    flash_bytes: int | None = None
    energy_nj: float | None = None
    work_bytes: int | None = None

    @property
    def room(self) -> Room:
        """Those that a container is planned under."""
        return Room(work_bytes=self.work_bytes, ram_bytes=self.ram_bytes, flash_bytes=self.flash_bytes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A path of a container, to its last exit.

    Attributes
    ----------
    data
        The container, without a plan part of the board.
    path
        Index.
    accuracy
        Expected where each exit stops as its confidence says; None where nobody knows.
    shares
        Of inferences that stop at each exit.
    """

    data: bytes
    path: int
    accuracy: float | None
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """A candidate on a board.

    Attributes
    ----------
    candidate
        What was planned.
    image
        The container of the board's image.
    path, exits
        Names.
    weight_bits
        Mean over MACs, of which accuracy is a matter where nothing else is known of it.
    ram_bytes, flash_bytes
        Tensors and scratch, and the container in its slot [bytes].
    exit_cycles
        To stop at each exit, heads on the way included [cycles].
    mean_cycles
        Of an inference that stops as confidences say [cycles].
    mean_nj, worst_nj
        The same, and of one to the last exit [nJ].
    copies
        Packed copies that are stored, and those that the kernels would read.
    bands
        Groups of ops that run in bands.
    """

    candidate: Candidate
    image: bytes
    path: str
    exits: tuple[str, ...]
    weight_bits: float
    ram_bytes: int
    flash_bytes: int
    exit_cycles: tuple[int, ...]
    mean_cycles: float
    mean_nj: float
    worst_nj: float
    copies: tuple[int, int]
    bands: int

    @property
    def score(self) -> float:
        """What is preferred: accuracy where it is known, else the share of eight bits that MACs have."""
        return self.weight_bits / 8 if self.candidate.accuracy is None else self.candidate.accuracy

    def excess(self, limits: Limits) -> dict[str, float]:
        """Return the limits that are missed, each with what is taken over what is allowed."""
        taken = (
            ("ram", self.ram_bytes, limits.ram_bytes),
            ("flash", self.flash_bytes, limits.flash_bytes),
            ("energy", self.worst_nj, limits.energy_nj),
        )
        return {name: amount / max(limit, 1) for name, amount, limit in taken if limit is not None and amount > limit}


def point_of(candidate: Candidate, board: Board, limits: Limits, known: Arenas) -> Point:
    """Return what a candidate takes on a board, as near to the limits as it gets.

    Parameters
    ----------
    candidate, board, limits
        Of the search.
    known
        Arenas of this network that were planned before.
    """
    image = image_container(candidate.data, board, limits.room, known=known).data
    container = Container.from_bytes(image)
    record = container.paths[candidate.path]
    precisions = np.asarray(record["precisions"], np.int64)[container.ops["segment"]]
    cycles = board_costs(container, board).cycles[precisions, np.arange(len(container.ops))].astype(np.int64)
    exit_cycles = tuple(int(cycles[_on_the_way(container, exit)].sum()) for exit in range(len(container.exits)))
    mean = float(np.dot(candidate.shares, exit_cycles))
    bills = copy_bills(container, board, copies_on(container, board))
    nj = board.load.energy_pj_per_cycle / 1e3
    return Point(
        candidate=candidate,
        image=image,
        path=_name(container.meta["paths"][candidate.path]),
        exits=tuple(_name(each) for each in container.meta["exits"]),
        weight_bits=_weight_bits(container, precisions),
        ram_bytes=fast_bytes(image, board.isa),
        flash_bytes=len(image),
        exit_cycles=exit_cycles,
        mean_cycles=mean,
        mean_nj=mean * nj,
        worst_nj=exit_cycles[-1] * nj,
        copies=(sum(bill.stored for bill in bills), len(bills)),
        bands=len(band_groups(image, board.isa)),
    )


def _on_the_way(container: Container, exit: int) -> npt.NDArray[np.bool_]:
    """Tell of each op whether it runs when an inference stops at an exit and every head before it was asked."""
    heads, segments = container.ops["exit"], container.ops["segment"]
    run: npt.NDArray[np.bool_] = np.where(heads == BACKBONE, segments <= exit, heads <= exit)
    return run


def _weight_bits(container: Container, precisions: npt.NDArray[np.int64]) -> float:
    weights = container.ops["weight"].astype(np.int64)
    has = weights < len(container.weights)
    macs = container.ops["macs"].astype(np.float64)[has]
    bits = container.layers["bits"][precisions[has] * len(container.weights) + weights[has]]
    return float((bits * macs).sum() / max(macs.sum(), 1.0))


def _name(entry: object) -> str:
    return str(entry["name"]) if isinstance(entry, dict) else str(entry)


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats: as good in score, mean energy, RAM and flash, and better in one."""

    def beats(a: Point, b: Point) -> bool:
        pairs = [
            (-a.score, -b.score),
            (a.mean_nj, b.mean_nj),
            (a.ram_bytes, b.ram_bytes),
            (a.flash_bytes, b.flash_bytes),
        ]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    left = [point for point in points if not any(beats(other, point) for other in points)]
    return tuple(sorted(left, key=lambda point: (-point.score, point.mean_nj)))


def choose(points: Sequence[Point], limits: Limits) -> Point | None:
    """Return the point of least mean energy among those within all limits that are as good as the best, to 0.3 points.

    None where no point keeps all limits.
    """
    fitting = [point for point in points if not point.excess(limits)]
    if not fitting:
        return None
    best = max(point.score for point in fitting)
    return min(
        (point for point in fitting if point.score >= best - LOSS_LIMIT),
        key=lambda point: (point.mean_nj, point.flash_bytes, point.ram_bytes),
    )


def shares_of(exits: npt.NDArray[np.uint8], n_exits: int) -> tuple[float, ...]:
    """Return the share of inferences that stopped at each exit, of the exits reached ``(n,)``."""
    return tuple(float((exits == exit).mean()) for exit in range(n_exits))
