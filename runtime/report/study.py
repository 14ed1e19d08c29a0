# SPDX-License-Identifier: Apache-2.0
"""Simulation records ordered for comparison: which belong to one cell, and which cells are averaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulet.errors import DataError
from joulet.records import SimulationRecord
from joulet.units import format_quantity

# A cell in which even the optimum gets fewer events right than this says little; it is shown and not averaged.
FEW_RIGHT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The conditions that policies are compared under; the fields are those of :class:`SimulationRecord`."""

    model: str
    board: str
    trace: str
    family: str
    capacitor_f: float
    arrivals: str
    harvest_ratio: float | None
    store_inferences: float

    @property
    def name(self) -> str:
        """The conditions in one line."""
        ratio = "" if self.harvest_ratio is None else f", harvest {self.harvest_ratio:g} × demand"
        store = f"{format_quantity(self.capacitor_f, 'F')} ({self.store_inferences:.3g} inferences)"
        return f"{self.model}, {self.family}/{self.trace}, {store}, {self.arrivals}{ratio}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Records by cell and policy.

    Attributes
    ----------
    policies
        In order of appearance.
    cells
        Per cell, the record of each policy that was run there.
    counted
        Cells that enter the averages: all but those of ``thin``, or all if every cell is thin.
    thin
        Cells in which the optimum gets fewer than :data:`FEW_RIGHT` events right.
    """

    policies: tuple[str, ...]
    cells: Mapping[Cell, Mapping[str, SimulationRecord]]
    counted: tuple[Cell, ...]
    thin: tuple[Cell, ...]

    @property
    def all_thin(self) -> bool:
        """True if no cell is large enough, so that all of them are averaged nonetheless."""
        return len(self.thin) == len(self.cells)

    @property
    def families(self) -> tuple[str, ...]:
        """Families of the counted cells, in order of appearance."""
        return tuple(dict.fromkeys(cell.family for cell in self.counted))

    @property
    def ratios(self) -> tuple[float, ...]:
        """Harvest ratios of the counted cells, rising; none unless every counted cell has one."""
        found = {cell.harvest_ratio for cell in self.counted}
        return tuple(sorted(ratio for ratio in found if ratio is not None)) if None not in found else ()

    @property
    def stores(self) -> tuple[float, ...]:
        """Store sizes of the counted cells in inferences, rising, to two digits."""
        return tuple(sorted({store_size(cell) for cell in self.counted}))

    @property
    def complete(self) -> bool:
        """True if every policy was run in every counted cell."""
        return all(len(self.cells[cell]) == len(self.policies) for cell in self.counted)

    def of(self, policy: str, cells: Sequence[Cell] | None = None) -> list[SimulationRecord]:
        """Return the records of ``policy`` in ``cells``, the counted ones unless given."""
        chosen = self.counted if cells is None else cells
        return [self.cells[cell][policy] for cell in chosen if policy in self.cells[cell]]


def store_size(cell: Cell) -> float:
    """Return the size of a cell's store [inferences] to two digits; models differ a little in what a store holds."""
    return float(f"{cell.store_inferences:.2g}")


def cell_of(record: SimulationRecord) -> Cell:
    """Return the conditions of a record."""
    return Cell(
        model=record.model, board=record.board, trace=record.trace, family=record.family,
        capacitor_f=record.capacitor_f, arrivals=record.arrivals, harvest_ratio=record.harvest_ratio,
        store_inferences=record.store_inferences,
    )  # fmt: skip


def study_of(records: Sequence[SimulationRecord]) -> Study:
    """Return ``records`` by cell and policy.

    Raises
    ------
    DataError
        If there is no record, two of one policy in one cell, or blocks that do not add up to a record's counts.
    """
    if not records:
        raise DataError("a comparison needs at least one simulation record; run joulet simulate or joulet sweep first")
    cells: dict[Cell, dict[str, SimulationRecord]] = {}
    for record in records:
        _check_blocks(record)
        found = cells.setdefault(cell_of(record), {})
        if record.policy in found:
            message = f"two records of policy '{record.policy}' in one cell ({cell_of(record).name})"
            raise DataError(f"{message}; give them different policy names or leave one out")
        found[record.policy] = record
    thin = tuple(cell for cell, found in cells.items() if optimum_right(found) < FEW_RIGHT)
    few = set(thin)
    counted = tuple(cell for cell in cells if cell not in few) or tuple(cells)
    return Study(policies=tuple(dict.fromkeys(r.policy for r in records)), cells=cells, counted=counted, thin=thin)


def _check_blocks(record: SimulationRecord) -> None:
    arrived, correct = sum(b.arrived for b in record.blocks), sum(b.correct for b in record.blocks)
    if (arrived, correct) != (record.arrived, record.correct_on_time):
        message = f"policy '{record.policy}' in {cell_of(record).name}: blocks hold {correct:,} of {arrived:,} events"
        raise DataError(
            f"{message}, the record {record.correct_on_time:,} of {record.arrived:,}; they must be the same"
        )


def optimum_right(found: Mapping[str, SimulationRecord]) -> float:
    """Return how many events the energy optimum of a cell gets right; at most the arrived ones where it is not known."""
    arrived = max(record.arrived for record in found.values())
    known = [r.oracle_energy_score for r in found.values() if r.oracle_energy_score is not None]
    return arrived * (max(known) if known else 1.0)


def is_adaptive(policy: str) -> bool:
    """Return False for the policies that stay at one operating point and for the clairvoyant bounds."""
    return not policy.startswith(("fixed", "best-fixed", "oracle"))


def best_policy(study: Study) -> str:
    """Return the adaptive policy with the best mean score over the most cells, or the best of all without one."""
    runs = Counter({policy: len(study.of(policy)) for policy in study.policies})
    candidates = [policy for policy in study.policies if is_adaptive(policy) and runs[policy]]
    candidates = candidates or [policy for policy in study.policies if runs[policy]]
    most = max(runs[policy] for policy in candidates)
    full = [policy for policy in candidates if runs[policy] == most]
    return max(full, key=lambda policy: sum(record.score for record in study.of(policy)))
