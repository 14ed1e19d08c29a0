# SPDX-License-Identifier: Apache-2.0
"""From the planner's choice of a strategy to what a session's plan says of it."""

from __future__ import annotations

import math

from joulet.boards import Board
from joulet.container.read import Container
from joulet.energy.capacitor import Capacitor
from joulet.energy.seam import Storage
from joulet.errors import UsageError
from joulet.live.run import Survival
from joulet.plan.nvm import plan_nvm
from joulet.plan.nvm_strategies import Discharge

_UNIT_CYCLES = 50_000  # between two looks at the store, where nothing is known of it
_LOOK_CYCLES = 400_000  # at most, where nothing is written in between
_LOOKS = 16  # a discharge, at least
_LARGEST_RESERVE = 0.5  # of a discharge, that in-nvm keeps for catching up


def survival_for(container: Container, board: Board, storage: Storage, how: str | None) -> Survival:
    """Return what survives a power cut.

    Parameters
    ----------
    container, board
        What runs, and where.
    storage : Storage
        The capacitor.
    how : str or None
        ``auto``, a strategy's name, or None for nothing.

    Raises
    ------
    UsageError
        If the store is no capacitor, or ``auto`` finds no strategy that makes progress from it.
    """
    if how is None:
        return Survival()
    if not isinstance(storage, Capacitor):
        raise UsageError("--survive reads the store by voltage: give --capacitor, not --battery")
    wanted = None if how == "auto" else how
    try:
        comparison = plan_nvm(container, board, capacitor_f=storage.capacitance_f, strategy=wanted)
    except UsageError:
        if how == "auto":
            raise
        # the planner, which is careful, expects no progress; who names a strategy wants to see for himself
        return Survival(strategy=_code(how), commit_cycles=_UNIT_CYCLES, warn_mv=_warn_mv(board, how))
    plan = comparison.plan
    if plan is None:
        reasons = "; ".join(" ".join(line.split()) for line in str(comparison).splitlines()[1:])
        raise UsageError(f"no strategy makes progress from this store: {reasons}")
    discharge = comparison.discharge
    # what a copy of all that lives takes, at most; the planner counts on a look at the store after every unit
    reserve = next(each.reserve_cycles for each in comparison.strategies if each.name == "jit-copy")
    look_cycles = max(1, min(_LOOK_CYCLES, int(discharge.budget / _LOOKS)))
    warn_mv = plan.warn_mv
    if plan.strategy == "jit-copy":
        warn_mv = math.ceil(1e3 * discharge.voltage_v(reserve + look_cycles))
    elif plan.strategy == "in-nvm":
        warn_mv = relaxing_mv(discharge, reserve, plan.commit_cycles)
    return Survival(strategy=_code(plan.strategy), commit_cycles=plan.commit_cycles or look_cycles, warn_mv=warn_mv)


def relaxing_mv(discharge: Discharge, reserve_cycles: float, commit_cycles: int) -> int:
    """Return the voltage from which on memory may fall behind, 0 where the store is too small for it [mV].

    At that voltage there is enough for one more interval and for catching up; above it the firmware computes for as long as
    the store pays for.
    """
    needed = reserve_cycles + commit_cycles
    return math.ceil(1e3 * discharge.voltage_v(needed)) if needed < discharge.budget * _LARGEST_RESERVE else 0


def _code(strategy: str) -> str:
    return strategy.upper().replace("-", "_")


def _warn_mv(board: Board, how: str) -> int:
    load = board.load
    return round(1e3 * (load.off_v + load.on_v) / 2.0) if how == "jit-copy" else 0
