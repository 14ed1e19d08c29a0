# SPDX-License-Identifier: Apache-2.0
"""The ways of surviving power cuts side by side, as text and as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from joulet.boards import NvmFigures
from joulet.container.nvm_plan import NvmPlan
from joulet.plan.nvm_strategies import DAYS_A_YEAR, Discharge, StrategyCost
from joulet.units import format_quantity

STRATEGY_NAMES = ("in-nvm", "jit-copy", "restart-from-exit")
_SHORT_YEARS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmComparison:
    """The strategies side by side.

    Attributes
    ----------
    board
        Name.
    nvm
        The memory.
    discharge
        What one discharge of the store gives.
    strategies
        One for each of :data:`STRATEGY_NAMES`.
    reasons
        Why each was taken or not, in the same order.
    plan
        What goes into the container; None where no strategy makes progress.
    inference_cycles
        Of the ops alone.
    per_day
        Inferences, for the wear.
    """

    board: str
    nvm: NvmFigures
    discharge: Discharge
    strategies: tuple[StrategyCost, ...]
    reasons: tuple[str, ...]
    plan: NvmPlan | None
    inference_cycles: int
    per_day: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; what is infinite is None."""

        def number(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "board": self.board,
            "memory": self.nvm.kind,
            "usable_j": self.discharge.usable_j,
            "capacitor_f": self.discharge.capacitor_f,
            "cycles_a_discharge": self.discharge.budget,
            "inference_cycles": self.inference_cycles,
            "taken": None if self.plan is None else self.plan.strategy,
            "nvm_bytes": None if self.plan is None else self.plan.total_bytes,
            "strategies": [
                {
                    "name": each.name,
                    "reason": reason,
                    "cycles": number(each.cycles),
                    "steady_cycles": each.steady_cycles,
                    "needed_cycles": each.needed_cycles,
                    "commit_cycles": each.commit_cycles,
                    "commit_share": each.commit_share,
                    "warn_v": each.warn_v,
                    "writes": each.writes,
                    "writes_a_day": each.writes * self.per_day,
                    "years": number(each.years(self.nvm, self.per_day)),
                }
                for each, reason in zip(self.strategies, self.reasons, strict=True)
            ],
        }

    def __str__(self) -> str:
        """Return a table for people."""
        store = self.discharge
        lines = [
            f"power cuts on {self.board}: {format_quantity(store.capacitor_f, 'F')} from {store.on_v:g} to {store.off_v:g} V "
            f"= {format_quantity(store.usable_j, 'J')} = {store.budget:,.0f} cycles a discharge; the model takes "
            f"{self.inference_cycles:,}"
        ]
        for each, reason in zip(self.strategies, self.reasons, strict=True):
            cycles = f"{each.cycles:>16,.0f} cycles" if math.isfinite(each.cycles) else f"{'-':>23}"
            lines.append(f"  {each.name:<18}{cycles}  {reason}")
        if self.plan is not None:
            taken = self.strategies[STRATEGY_NAMES.index(self.plan.strategy)]
            lines.append(f"  {self._summary(self.plan, taken)}")
        return "\n".join(lines)

    def _summary(self, plan: NvmPlan, taken: StrategyCost) -> str:
        parts = [f"{plan.total_bytes:,} bytes of {self.nvm.kind}"]
        if plan.commit_cycles:
            parts.append(f"a commit every {plan.commit_cycles:,} cycles, {taken.commit_share:.1%} of them")
        if plan.warn_mv:
            parts.append(f"warning at {plan.warn_mv / 1000:.3f} V")
        years = taken.years(self.nvm, self.per_day)
        wear = f"{taken.writes:.3g} writes an inference"
        if years < _SHORT_YEARS:
            wear += f": at {self.per_day:g} a day it wears out in {DAYS_A_YEAR * years:.0f} days"
        return "; ".join([*parts, wear])
