# SPDX-License-Identifier: Apache-2.0
"""Which way of surviving power cuts a container takes on a board, and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from joulet._core import lib
from joulet.boards import Board, NvmFigures
from joulet.container.checked import Checked
from joulet.container.nvm_plan import NvmPlan
from joulet.container.read import Container
from joulet.errors import PlanError, UsageError
from joulet.plan.cost import board_costs
from joulet.plan.nvm_comparison import STRATEGY_NAMES, NvmComparison
from joulet.plan.nvm_layout import ALIGN_BYTES, NvmGraph, NvmLayout, graph_of, layout_for, plan_layout
from joulet.plan.nvm_strategies import Discharge, StrategyCost, in_nvm, jit_copy, restart_from_exit
from joulet.plan.nvm_verify import verify_copies, verify_nvm

DEFAULT_CAPACITOR_F = 1e-3
DEFAULT_PER_DAY = 1440.0  # one inference a minute


def discharge_of(
    board: Board, *, capacitor_f: float | None = None, usable_j: float | None = None, commit_share: float = 0.05
) -> Discharge:
    """Return what one discharge gives on a board, of a capacitor or of a known energy (1 mF without either).

    Raises
    ------
    UsageError
        For a board without non-volatile memory, or for both at once.
    """
    if board.nvm is None:
        raise UsageError(f"board '{board.name}' keeps nothing over a power cut: its board.toml has no [nvm]")
    if capacitor_f is not None and usable_j is not None:
        raise UsageError("a capacitor and a usable energy exclude each other; give one of them")
    load = board.load
    if usable_j is None:
        usable_j = 0.5 * (capacitor_f or DEFAULT_CAPACITOR_F) * (load.on_v**2 - load.off_v**2)
    return Discharge(
        usable_j=usable_j,
        on_v=load.on_v,
        off_v=load.off_v,
        pj_per_cycle=load.energy_pj_per_cycle,
        boot_cycles=board.nvm.boot_cycles,
        commit_share=commit_share,
    )


def plan_nvm(
    container: Container,
    board: Board,
    *,
    capacitor_f: float | None = None,
    usable_j: float | None = None,
    strategy: str | None = None,
    commit_share: float = 0.05,
    per_day: float = DEFAULT_PER_DAY,
    path: int | None = None,
    groups: Sequence[tuple[int, int]] = (),
) -> NvmComparison:
    """Compare the strategies for a container on a board and pick the cheapest that makes progress.

    Parameters
    ----------
    container
        Decoded container.
    board
        Board with ``[nvm]``.
    capacitor_f, usable_j
        The store: a capacitor between the board's voltages [F], or its usable energy [J]. 1 mF without either.
    strategy
        Take this one, whatever the others cost.
    commit_share
        Most of the cycles that commits may take while power lasts.
    per_day
        Inferences a day, for the wear.
    path
        Whose precisions the cycles are counted at; the first that is not float without.
    groups
        First op and number of ops of each band group of the board's plan part: one unit, that an interval must reach over.

    Raises
    ------
    UsageError
        If the named strategy does not exist or makes no progress, or every path is float.
    """
    if strategy is not None and strategy not in STRATEGY_NAMES:
        raise UsageError(f"--strategy '{strategy}'; there are: {', '.join(STRATEGY_NAMES)}")
    discharge = discharge_of(board, capacitor_f=capacitor_f, usable_j=usable_j, commit_share=commit_share)
    assert board.nvm is not None
    cycles = np.asarray(board_costs(container, board).cycles, np.int64)
    if path is None:
        floats = [bool(container.precisions[int(each["precisions"][0])]["is_f32"]) for each in container.paths]
        if all(floats):
            raise UsageError("the container has float paths only; boards run integers: compile with --precisions w8,w4")
        path = floats.index(False)
    precision = container.paths[path]["precisions"][container.ops["segment"]]
    each, units = cycles[precision, np.arange(len(container.ops))].tolist(), op_units(container)
    for first, count in groups:
        each[first : first + count] = [0] * (count - 1) + [sum(each[first : first + count])]
        units[first : first + count] = [1] * count
    least = max((count for _, count in groups), default=1)
    return compare(
        graph_of(container, each, units),
        board.name,
        board.nvm,
        discharge,
        strategy=strategy,
        per_day=per_day,
        least=least,
    )


def op_units(container: Container) -> list[int]:
    """Return the units that the engine divides each op into, at integer precisions.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    checked = Checked(container.data)
    return [int(lib.jlt_op_units(checked.view, op, False)) for op in range(len(container.ops))]


def compare(
    graph: NvmGraph,
    board: str,
    nvm: NvmFigures,
    discharge: Discharge,
    *,
    strategy: str | None = None,
    per_day: float = DEFAULT_PER_DAY,
    least: int = 1,
) -> NvmComparison:
    """Compare the strategies for a graph, with intervals of ``least`` ops or more; see :func:`plan_nvm`."""
    layouts: dict[str, NvmLayout | str] = {name: _layout(graph, nvm, name, least) for name in STRATEGY_NAMES}
    placed = layouts["in-nvm"]
    costs = []
    for cost in (
        in_nvm(graph, nvm, discharge, _most_written(graph, placed) if isinstance(placed, NvmLayout) else 1),
        jit_copy(graph, nvm, discharge),
        restart_from_exit(graph, nvm, discharge),
    ):
        layout = layouts[cost.name]
        costs.append(_without_room(cost, layout) if isinstance(layout, str) and not cost.obstacle else cost)
    usable = [cost for cost in costs if math.isfinite(cost.cycles) and not cost.obstacle]
    taken = min(usable, key=lambda cost: cost.cycles, default=None)
    if strategy is not None:
        taken = costs[STRATEGY_NAMES.index(strategy)]
        if taken not in usable:
            raise UsageError(f"--strategy {strategy}: {taken.obstacle}; take a larger capacitor or another strategy")
    reasons = tuple(_reason(cost, taken, strategy is not None) for cost in costs)
    return NvmComparison(
        board=board,
        nvm=nvm,
        discharge=discharge,
        strategies=tuple(costs),
        reasons=reasons,
        plan=None if taken is None else _plan(board, nvm, taken, layouts[taken.name]),
        inference_cycles=sum(op.cycles for op in graph.ops),
        per_day=per_day,
    )


def _layout(graph: NvmGraph, nvm: NvmFigures, strategy: str, least: int) -> NvmLayout | str:
    """Return a verified layout, or why there is none. Copies are two in turn; in them nothing runs, so ops need no gap."""
    if strategy == "in-nvm":
        try:
            layout = plan_layout(graph, nvm.bytes)
        except PlanError as error:
            return str(error)
        if layout.interval_ops < least:
            return f"{least} ops that run in bands do not fit one interval in {nvm.bytes:,} bytes of NVM"
    else:
        layout = layout_for(graph, 1, only_exits=strategy == "restart-from-exit")
        if 2 * _copy_bytes(layout, nvm) > nvm.bytes:
            return f"two copies take {2 * _copy_bytes(layout, nvm):,} bytes of NVM, there are {nvm.bytes:,}"
    faults = (
        verify_copies(graph, layout.offsets, layout.bytes)
        if strategy == "restart-from-exit"
        else verify_nvm(graph, layout.offsets, layout.bytes, layout.interval_ops)
    )
    if faults:
        raise PlanError(f"the layout for {strategy} is not sound: {faults[0]}; please report this model")
    return layout


def _copy_bytes(layout: NvmLayout, nvm: NvmFigures) -> int:
    align = math.lcm(ALIGN_BYTES, nvm.page_bytes)
    return -(-layout.bytes // align) * align


def _without_room(cost: StrategyCost, text: str) -> StrategyCost:
    return replace(cost, obstacle=text, cycles=math.inf)


def _most_written(graph: NvmGraph, layout: NvmLayout) -> int:
    """Return how many ops write the byte that most ops write."""
    edges: Counter[int] = Counter()
    for op in graph.ops:
        offset = layout.offsets[op.output]
        if offset is not None:
            edges[offset] += 1
            edges[offset + (graph.sizes[op.output] or 0)] -= 1
    depth = most = 0
    for at in sorted(edges):
        depth += edges[at]
        most = max(most, depth)
    return most


def _reason(cost: StrategyCost, taken: StrategyCost | None, named: bool) -> str:
    if cost.obstacle:
        return f"not: {cost.obstacle}"
    assert taken is not None
    if cost is taken:
        return "taken: asked for" if named else "taken: the least that makes progress"
    ratio = cost.cycles / taken.cycles
    return f"not: {ratio:.2f} times the cycles of {taken.name}"


def _plan(board: str, nvm: NvmFigures, cost: StrategyCost, layout: NvmLayout | str) -> NvmPlan:
    assert isinstance(layout, NvmLayout)
    copies = 1 if cost.name == "in-nvm" else 2
    return NvmPlan(
        board=board,
        strategy=cost.name,
        commit_cycles=cost.commit_cycles,
        warn_mv=math.ceil(1000 * cost.warn_v),
        interval_ops=layout.interval_ops,
        record_bytes=nvm.record_bytes,
        copy_bytes=_copy_bytes(layout, nvm) if copies == 2 else layout.bytes,
        copies=copies,
        offsets=layout.offsets,
    )
