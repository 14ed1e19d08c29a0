# SPDX-License-Identifier: Apache-2.0
"""A cell described by names and numbers only, so that it can be sent to another process or machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from joulet.boards import DEFAULT_BOARD, Board, load_board
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.seam import Converter
from joulet.energy.segments import outputs_w, segments
from joulet.energy.trace import TraceHarvester, load_trace
from joulet.engine.host import HostEngine
from joulet.engine.outcomes import cached_outcomes
from joulet.engine.samples import load_inputs, load_labels
from joulet.errors import DataError, UsageError
from joulet.plan.cost import board_costs, cost_table
from joulet.policies import make_policy
from joulet.records import CostTable, SampleOutcomes, SimulationRecord
from joulet.simulate.arrivals import Arrivals, parse_arrivals
from joulet.simulate.cell import Cell, Scenario

BEST_FIXED = "best-fixed"
SHORTEST_S = 3600.0  # shorter recordings are repeated to this length


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell and the policies to judge on it.

    Attributes
    ----------
    model, data
        Container, and samples with labels.
    trace
        Recording of harvested power.
    policies, arrivals
        Specs.
    board
        Name or .toml file.
    family
        Kind of source; guessed from the trace without.
    capacitor_f
        Store [F]; or
    store_inferences
        usable energy of the full store in full-depth inferences.
    scale
        Factor on the trace's power; or
    harvest_ratio
        mean harvest after conversion over what full-depth w8 asks for at the arrival rate.
    duration_s
        None for the trace's, or an hour of a shorter one [s].
    deadline_s, queue, seed, sensing_j
        Of the events; deadline None for the mean time between them.
    clock_start_s
        Time of day at the beginning [s].
    efficiency, quiescent_w, leakage_ohm, start_v
        Of the energy path; ``start_v`` None for the board's power-good threshold.
    train
        Traces that learned policies learn from; without, the other blocks of the trace.
    oracles
        Compute the bounds.
    cache
        Folder for outcomes of the engine; None to compute them each time.
    """

    model: Path
    data: Path
    trace: str
    policies: tuple[str, ...]
    arrivals: str = "periodic:1s"
    board: str = DEFAULT_BOARD
    family: str | None = None
    capacitor_f: float | None = None
    store_inferences: float | None = None
    scale: float = 1.0
    harvest_ratio: float | None = None
    duration_s: float | None = None
    deadline_s: float | None = None
    queue: int = 1
    seed: int = 0
    sensing_j: float | None = None
    clock_start_s: float = 0.0
    efficiency: float = 0.8
    quiescent_w: float = 1.5e-6
    leakage_ohm: float = 1e6
    start_v: float | None = None
    train: tuple[str, ...] = ()
    oracles: bool = True
    cache: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A model with its cost on a board and its outcomes on the data."""

    name: str
    board: Board
    costs: CostTable
    outcomes: SampleOutcomes


@lru_cache(maxsize=4)
def prepare_model(
    model: Path, data: Path, board_name: str, cache: Path | None, progress: Callable[[float], None] | None = None
) -> Prepared:
    """Load a model and compute, or read, what it says of every sample.

    Raises
    ------
    UsageError, DataError
        If a file is missing, or the data has no labels.
    """
    if not model.is_file():
        raise UsageError(f"cannot read '{model}': no such file; make one with joulet compile")
    board, engine = load_board(board_name), HostEngine(model)
    inputs = load_inputs(data, engine.inputs)
    labels = load_labels(data, len(inputs[0]))
    if labels is None:
        raise DataError(f"'{data}': has no labels; a score needs an array 'labels' with one class a sample")
    container = engine.container
    costs = next((c for c in container.boards if c.name == board.name), None) or board_costs(container, board)
    table = cost_table(container, costs)
    outcomes = cached_outcomes(engine, inputs, labels, table.prefixes, cache, progress)
    return Prepared(model.stem, board, table, outcomes)


def full_depth_j(costs: CostTable, board: Board) -> float:
    """Return the energy of the imported model at w8, or at the first path without one [J]."""
    path = costs.path_names.index("w8") if "w8" in costs.path_names else 0
    step = costs.steps[path][0][-1]
    assert step is not None
    return (step.cycles + board.load.wake_cycles) * board.load.energy_pj_per_cycle * 1e-12


def make_cell(job: Job, progress: Callable[[float], None] | None = None) -> Cell:
    """Return the cell that a job describes."""
    prepared = prepare_model(job.model, job.data, job.board, job.cache, progress)
    board, arrivals = prepared.board, parse_arrivals(job.arrivals)
    once = load_trace(job.trace)
    span_s = once.span_s
    duration_s = job.duration_s or max(span_s, SHORTEST_S)
    demand_w = full_depth_j(prepared.costs, board) / arrivals.mean_s
    converter = ConstantConverter(job.efficiency, quiescent_w=job.quiescent_w)

    def scaled(trace: str) -> float:
        if job.harvest_ratio is None:
            return job.scale
        return scale_for(load_trace(trace), converter, job.harvest_ratio * demand_w)

    capacitor_f = _capacitor_f(job, prepared)
    storage = Capacitor(
        capacitor_f,
        max_v=board.load.max_v,
        initial_v=board.load.on_v if job.start_v is None else job.start_v,
        leakage_ohm=job.leakage_ohm,
    )
    return Cell(
        Scenario(
            model=prepared.name,
            trace=once.name.removesuffix(".gz").removesuffix(".csv"),
            family=job.family or guess_family(once),
            costs=prepared.costs,
            load=board.load,
            outcomes=prepared.outcomes,
            harvester=load_trace(job.trace, scale=scaled(job.trace), loop=duration_s > span_s),
            span_s=span_s,
            converter=converter,
            storage=storage,
            arrivals=arrivals,
            duration_s=duration_s,
            capacitor_f=capacitor_f,
            deadline_s=job.deadline_s,
            queue=job.queue,
            sensing_j=board.load.sensing_j if job.sensing_j is None else job.sensing_j,
            clock_start_s=job.clock_start_s,
            seed=job.seed,
            harvest_ratio=job.harvest_ratio,
            training=tuple(load_trace(trace, scale=scaled(trace)) for trace in job.train),
            provenance={"board": f"{board.title}, {board.seen}", **board.provenance},
        )
    )


def run_job(job: Job) -> list[SimulationRecord]:
    """Judge every policy of a job; what a worker of a study does."""
    cell = make_cell(job)
    return [judge(cell, spec, oracles=job.oracles) for spec in job.policies]


def judge(cell: Cell, spec: str, *, oracles: bool = True) -> SimulationRecord:
    """Judge one policy on a cell."""
    if spec == BEST_FIXED:
        return best_fixed(cell, oracles=oracles)
    return cell.record(cell.prepare(lambda: make_policy(spec)), oracles=oracles)


def best_fixed(cell: Cell, *, oracles: bool = True) -> SimulationRecord:
    """Judge every fixed operating point and return the best in hindsight: its score is no honest policy's."""
    costs = cell.scenario.costs
    points = [f"fixed:{path}@{exit}" for path in costs.path_names for exit in costs.exit_names]
    expected = {}
    for spec in points:
        policy = make_policy(spec)
        policy.reset(cell.context)
        expected[spec] = float(cell.expect(policy).correct().sum())
    best = max(points, key=lambda spec: expected[spec])
    return replace(judge(cell, best, oracles=oracles), policy=BEST_FIXED)


def guess_family(trace: TraceHarvester) -> str:
    """Return the kind of source that a trace's name and length suggest."""
    name = trace.name.lower()
    if "indoor" in name:
        return "indoor"
    if "rf" in name.replace("surfrad", "").split("_") or "rf" in name.replace("surfrad", "").split("."):
        return "rf"
    if trace.span_s >= 0.75 * 86400.0 or any(word in name for word in ("solar", "nrel", "surfrad", "ghi")):
        return "solar"
    return "recorded"


def scale_for(trace: TraceHarvester, converter: Converter, mean_w: float) -> float:
    """Return the factor on a trace's power at which ``mean_w`` reaches a well-filled store on average.

    Raises
    ------
    DataError
        If no factor does it: a trace without power.
    """
    starts_s, power_w = segments(trace, trace.span_s)
    lengths_s = np.diff(np.append(starts_s, trace.span_s))
    levels_w, level = np.unique(power_w, return_inverse=True)
    share = np.bincount(level.reshape(-1), lengths_s) / trace.span_s

    def reached_w(scale: float) -> float:
        return float(np.dot(outputs_w(converter, levels_w * scale), share))

    low, low_w = 0.0, reached_w(0.0)
    high, high_w = 1.0, reached_w(1.0)
    while high_w < mean_w:
        low, low_w, high = high, high_w, high * 4.0
        if high > 1e12:
            raise DataError(f"{trace.name}: cannot be scaled to {mean_w:g} W after conversion; it has no power")
        high_w = reached_w(high)
    for _ in range(60):  # nearly linear: the secant finds it in a few steps, and stays between both ends
        middle = low + (high - low) * (mean_w - low_w) / max(high_w - low_w, 1e-300)
        middle_w = reached_w(middle)
        if abs(middle_w - mean_w) <= 1e-9 * mean_w:
            return middle
        if middle_w < mean_w:
            low, low_w = middle, middle_w
        else:
            high, high_w = middle, middle_w
    return high


def _capacitor_f(job: Job, prepared: Prepared) -> float:
    if job.store_inferences is not None:
        load = prepared.board.load
        usable_j = job.store_inferences * full_depth_j(prepared.costs, prepared.board)
        return 2.0 * usable_j / (load.max_v**2 - load.off_v**2)
    if job.capacitor_f is None:
        raise UsageError("a store is needed: a capacitance, or its size in full-depth inferences")
    return job.capacitor_f


__all__ = [
    "Arrivals",
    "Job",
    "full_depth_j",
    "guess_family",
    "judge",
    "make_cell",
    "prepare_model",
    "run_job",
    "scale_for",
]
