# SPDX-License-Identifier: Apache-2.0
"""What each way of surviving power cuts costs, in core cycles: closed forms of one discharge of a store of known energy.

A discharge lets the core run for ``budget`` cycles from the reset to the brown-out. What of them is not boot, restoring or
copying is useful; expected cycles an inference = useful cycles it needs × cycles of a discharge / useful ones of these.
Cuts fall evenly over the cycles of an inference. Every exit is taken to be asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from joulet.boards import NvmFigures
from joulet.plan.nvm_layout import NvmGraph, nvm_lives

MARGIN = 0.10  # of the copy reserve, on top
_SEVERAL = 4  # intervals that must fit into one discharge
DAYS_A_YEAR = 365.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Discharge:
    """One discharge of the store.

    Attributes
    ----------
    usable_j
        Energy between power-good and brown-out [J].
    on_v, off_v
        Where the core starts and where it stops [V].
    pj_per_cycle
        [pJ].
    boot_cycles
        From the reset to the inference.
    commit_share
        Most of the cycles that commits may take while power lasts.
    """

    usable_j: float
    on_v: float
    off_v: float
    pj_per_cycle: float
    boot_cycles: int
    commit_share: float = 0.05

    @property
    def budget(self) -> float:
        """Cycles that one discharge lets the core run."""
        return self.usable_j * 1e12 / self.pj_per_cycle

    @property
    def capacitor_f(self) -> float:
        """The capacitor that holds ``usable_j`` between the two voltages [F]."""
        return 2.0 * self.usable_j / (self.on_v**2 - self.off_v**2)

    def voltage_v(self, cycles: float) -> float:
        """Return the voltage at which the store still has energy for so many cycles [V]."""
        return math.sqrt(self.off_v**2 + 2.0 * cycles * self.pj_per_cycle * 1e-12 / self.capacitor_f)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyCost:
    """What one strategy takes.

    Attributes
    ----------
    name
        ``in-nvm``, ``jit-copy`` or ``restart-from-exit``.
    obstacle
        Why it makes no progress or cannot be used; empty where it can.
    cycles
        Expected for one inference, boot and redone work included; infinite where there is no progress.
    steady_cycles
        For one inference while power lasts.
    needed_cycles
        Least budget of a discharge with which it makes progress.
    commit_cycles, commit_share
        in-nvm: cycles to aim for between two commits, and the share of ``steady_cycles`` that commits then take.
    reserve_cycles, warn_v
        jit-copy: what must be left for copying, and the voltage of the store then [V].
    writes
        An inference, to the byte (or page) that is written most.
    """

    name: str
    obstacle: str
    cycles: float
    steady_cycles: float
    needed_cycles: float
    commit_cycles: int = 0
    commit_share: float = 0.0
    reserve_cycles: float = 0.0
    warn_v: float = 0.0
    writes: float = 0.0

    def years(self, nvm: NvmFigures, per_day: float) -> float:
        """Return how long the memory lasts at a rate of inferences [years]."""
        daily = self.writes * per_day
        return nvm.endurance_writes / daily / DAYS_A_YEAR if daily > 0 else math.inf


def live_bytes(graph: NvmGraph) -> tuple[int, ...]:
    """Return for each op the bytes of all tensors that live while it runs, its output among them."""
    lives = nvm_lives(graph)
    return tuple(
        sum(
            graph.sizes[tensor] or 0
            for tensor, life in enumerate(lives)
            if life is not None and life.first <= index <= life.last
        )
        for index in range(len(graph.ops))
    )


def kept_bytes(graph: NvmGraph) -> tuple[int, ...]:
    """Return for each exit the bytes of all tensors that are needed after it."""
    lives = nvm_lives(graph)
    return tuple(
        sum(
            graph.sizes[tensor] or 0
            for tensor, life in enumerate(lives)
            if life is not None and life.first <= each.last_op < life.last
        )
        for each in graph.exits
    )


def _weighted(graph: NvmGraph, values: list[float]) -> float:
    """Return the mean over the time of an inference."""
    total = sum(op.cycles for op in graph.ops)
    return sum(op.cycles * value for op, value in zip(graph.ops, values, strict=True)) / total if total else 0.0


def _units(graph: NvmGraph, write: float) -> list[float]:
    """Return the cycles of one unit of each op."""
    return [(op.cycles + write * (graph.sizes[op.output] or 0)) / op.units for op in graph.ops]


def _refuse(cost: StrategyCost, budget: float) -> StrategyCost:
    """Fill in why there is no progress, where the budget is too small."""
    if cost.obstacle or budget > cost.needed_cycles:
        return cost
    return replace(
        cost,
        obstacle=f"needs {math.ceil(cost.needed_cycles):,} cycles a discharge, there are {int(budget):,}",
        cycles=math.inf,
    )


def in_nvm(graph: NvmGraph, nvm: NvmFigures, discharge: Discharge, copies_of_a_byte: int = 1) -> StrategyCost:
    """Return what writing outputs through costs; a cut costs half an interval and reading back what an op works on.

    The inputs of the op that was cut are read back at once; the part of its output that was written before when the op ends,
    for the next one.
    """
    sizes = [0 if size is None else size for size in graph.sizes]
    work = sum(op.cycles for op in graph.ops)
    through = nvm.write_cycles_per_byte * sum(sizes[op.output] for op in graph.ops)
    first = [nvm.read_cycles_per_byte * (size + nvm.record_bytes) for size in _needed_first(graph)]
    restores = [
        cycles + nvm.read_cycles_per_byte * sizes[op.output] / 2 for cycles, op in zip(first, graph.ops, strict=True)
    ]
    unit = max(_units(graph, nvm.write_cycles_per_byte))
    room = discharge.budget - discharge.boot_cycles - max(first)
    aim = commit_aim(nvm.record_cycles, room, discharge.commit_share)
    interval = aim + _weighted(graph, _units(graph, nvm.write_cycles_per_byte)) / 2  # it ends with the unit
    commits = max((work + through) / interval, len(graph.exits))
    steady = work + through + commits * nvm.record_cycles
    useful = discharge.budget - discharge.boot_cycles - _weighted(graph, restores) - interval / 2
    cost = StrategyCost(
        name="in-nvm",
        obstacle="flash cannot be written twice without an erase, as a part that is run again must be"
        if nvm.kind == "flash"
        else "",
        cycles=steady * discharge.budget / useful if useful > 0 and nvm.kind != "flash" else math.inf,
        steady_cycles=steady,
        needed_cycles=discharge.boot_cycles + max(first) + unit + nvm.record_cycles,
        commit_cycles=math.ceil(aim),
        commit_share=commits * nvm.record_cycles / steady,
        writes=max(copies_of_a_byte, commits / 2),
    )
    return _refuse(cost, discharge.budget)


def _needed_first(graph: NvmGraph) -> list[int]:
    """Return for each op the bytes it needs before its first unit: inputs, and an output that it adds to."""
    result, written = [], set()
    for op in graph.ops:
        needed = {*op.inputs, op.output} if op.output in written else set(op.inputs)
        written.add(op.output)
        result.append(sum(graph.sizes[tensor] or 0 for tensor in needed))
    return result


def commit_aim(record: float, room: float, share: float) -> float:
    """Return cycles to aim for between commits.

    What costs least in a discharge of ``room`` cycles, where half an interval is lost; longer, so that commits take no more
    than ``share``; but several intervals must fit into a discharge.
    """
    best = math.sqrt(2.0 * record * max(room, 0.0))
    few = record * (1.0 - share) / share
    return max(min(max(best, few), room / _SEVERAL), 1.0)


def jit_copy(graph: NvmGraph, nvm: NvmFigures, discharge: Discharge) -> StrategyCost:
    """Return what copying all that is live at a voltage warning costs; nothing is run twice, but a reserve stays unused."""
    live = [-(-size // nvm.granule_bytes) * nvm.granule_bytes for size in live_bytes(graph)]
    pages = -(-max(live) // nvm.page_bytes) * nvm.page_bytes
    copies = [nvm.write_cycles_per_byte * size + nvm.record_cycles for size in live]
    restores = [nvm.read_cycles_per_byte * (size + nvm.record_bytes) for size in live]
    erase = nvm.erase_cycles_per_byte * pages
    unit = max(_units(graph, 0.0))
    reserve = (max(copies) + unit) * (1.0 + MARGIN)
    steady = sum(op.cycles for op in graph.ops) + len(graph.exits) * nvm.record_cycles
    fixed = discharge.boot_cycles + erase
    useful = discharge.budget - fixed - _weighted(graph, restores) - reserve
    spent = discharge.budget - reserve + _weighted(graph, copies)
    warn_v = discharge.voltage_v(reserve)
    cost = StrategyCost(
        name="jit-copy",
        obstacle="",
        cycles=steady * spent / useful if useful > 0 else math.inf,
        steady_cycles=steady,
        needed_cycles=fixed + max(restores) + reserve + unit,
        reserve_cycles=reserve,
        warn_v=warn_v,
        writes=steady / useful / 2 if useful > 0 else 0.0,
    )
    if warn_v >= discharge.on_v:
        text = f"the warning would come at {warn_v:.3f} V, above the start at {discharge.on_v:g} V"
        return replace(cost, obstacle=text, cycles=math.inf)
    return _refuse(cost, discharge.budget)


def restart_from_exit(graph: NvmGraph, nvm: NvmFigures, discharge: Discharge) -> StrategyCost:
    """Return what running again everything since the last exit costs."""
    per_byte = nvm.write_cycles_per_byte + nvm.erase_cycles_per_byte
    kept = [-(-size // nvm.page_bytes) * nvm.page_bytes for size in kept_bytes(graph)]
    segments: list[float] = []
    first = 0
    for each, size in zip(graph.exits, kept, strict=True):
        run = sum(op.cycles for op in graph.ops[first : each.last_op + 1])
        segments.append(run + per_byte * size + nvm.record_cycles)
        first = each.last_op + 1
    before = [0.0, *(nvm.read_cycles_per_byte * (size + nvm.record_bytes) for size in kept_bytes(graph)[:-1])]
    needed = max(discharge.boot_cycles + b + s for b, s in zip(before, segments, strict=True))
    discharges = (
        _packed(segments, before, discharge.budget - discharge.boot_cycles) if discharge.budget > needed else 0.0
    )
    cost = StrategyCost(
        name="restart-from-exit",
        obstacle="",
        cycles=discharges * discharge.budget if discharges else math.inf,
        steady_cycles=sum(segments),
        needed_cycles=needed,
        writes=len(graph.exits) / 2,
    )
    return _refuse(cost, discharge.budget)


def _packed(segments: list[float], before: list[float], room: float) -> float:
    """Return discharges an inference when inference follows inference: segments that do not end are lost."""
    seen: dict[int, tuple[int, int]] = {}  # segment at the start of a discharge: (discharges, segments) until then
    at = discharges = done = 0
    while at not in seen:
        seen[at] = (discharges, done)
        left = room - before[at]
        whole = math.floor(left / sum(segments))  # inferences at a stroke
        done += whole * len(segments)
        left -= whole * sum(segments)
        while left >= segments[at]:
            left -= segments[at]
            at = (at + 1) % len(segments)
            done += 1
        discharges += 1
    old_discharges, old_done = seen[at]
    return (discharges - old_discharges) * len(segments) / (done - old_done)
