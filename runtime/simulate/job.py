# SPDX-License-Identifier: Apache-2.0
"""A cell described by names and numbers only, so that it can be sent to another process or machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from joulet.boards import DEFAULT_BOARD, Board, load_board
from joulet.energy.capacitor import Capacitor
from joulet.energy.feed import reachable_bands
from joulet.energy.load import Source, load_harvester
from joulet.energy.path import make_converter, make_storage
from joulet.energy.seam import Converter, Storage
from joulet.energy.supply import Supply
from joulet.energy.synthetic import ConstantHarvester
from joulet.engine.host import HostEngine
from joulet.engine.outcomes import cached_outcomes
from joulet.engine.refit import HeadRefit, parse_rule
from joulet.engine.samples import load_inputs, load_labels
from joulet.errors import DataError, UsageError
from joulet.plan.measured import priced
from joulet.policies import make_policy
from joulet.records import CostTable, LoadFigures, SampleOutcomes, SimulationRecord
from joulet.simulate.arrivals import Arrivals, parse_arrivals
from joulet.simulate.cell import Cell, Scenario
from joulet.simulate.learning import LearningPlan, SimulatedLearning, plenty_v, price_of
from joulet.simulate.sources import guess_family, name_of, scale_for
from joulet.units import parse_quantity

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
        Recording of harvested power, or the spec of a source; see :data:`joulet.energy.load.SPECS`.
    policies, arrivals
        Specs.
    board
        Name or .toml file.
    family
        Kind of source; guessed from the trace without.
    capacitor_f
        Store [F]; or
    store_inferences
        a capacitor by the usable energy of the full store, in full-depth inferences, at what they take from it at
        worst; or
    battery_j
        a battery from the board's brown-out to its maximum [J].
    scale
        Factor on the trace's power; or
    harvest_ratio
        mean harvest that reaches a well-filled store over what full-depth w8 takes from one at the arrival rate.
    duration_s
        None for the trace's, or an hour of a shorter one; needed for a source without end [s].
    deadline_s, queue, seed, sensing_j
        Of the events; deadline None for the mean time between them.
    clock_start_s
        Time of day at the beginning [s].
    converter
        Spec; see :data:`joulet.energy.path.CONVERTERS`.
    efficiency, quiescent_w, leakage_ohm, esr_ohm, start_v
        Of the energy path, as :mod:`joulet.energy.path` takes them; None for its defaults.
    train
        Traces that learned policies learn from; without, the other blocks of the trace.
    refit
        Exit whose head is fitted again, in surplus only; None for none.
    refit_from
        Who teaches: ``labels``, the samples' own, or ``last``, the last exit where it is sure.
    refit_rule
        How: ``forgetting=0.998,prior=0.1`` or some of it; see :class:`joulet.engine.refit.RefitRule`.
    refit_surplus
        Voltage of the store from which on, or ``price``; None for four fifths of a capacitor's usable energy.
    label_delay_s
        From an answer to its label [s].
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
    battery_j: float | None = None
    scale: float = 1.0
    harvest_ratio: float | None = None
    duration_s: float | None = None
    deadline_s: float | None = None
    queue: int = 1
    seed: int = 0
    sensing_j: float | None = None
    clock_start_s: float = 0.0
    converter: str = "constant"
    efficiency: float | None = None
    quiescent_w: float | None = None
    leakage_ohm: float | None = None
    esr_ohm: float = 0.0
    start_v: float | None = None
    train: tuple[str, ...] = ()
    refit: str | None = None
    refit_from: str = "labels"
    refit_rule: str = ""
    refit_surplus: str | None = None
    label_delay_s: float = 0.0
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
    table, board = priced(engine.container, board)
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
    once = load_harvester(job.trace)
    duration_s = job.duration_s or max(once.span_s, SHORTEST_S)
    past = [(trace, load_harvester(trace)) for trace in job.train]
    for trace, source, length_s in ((job.trace, once, duration_s), *((t, p, p.span_s) for t, p in past)):
        if not math.isfinite(length_s):
            raise UsageError(f"{trace}: {source.name} has no end; say how long to run (a duration)")
    converter = make_converter(job.converter, efficiency=job.efficiency, quiescent_w=job.quiescent_w)
    storage = _storage(job, prepared, converter)
    top_v = reachable_bands(converter, storage)[1][-1]
    # what the store gives for what the board gets, where it is well filled
    run_w = board.load.clock_hz * board.load.energy_pj_per_cycle * 1e-12
    taken = converter.draw_w(run_w, top_v) / run_w
    demand_w = full_depth_j(prepared.costs, board) * taken / arrivals.mean_s

    def scaled(source: Source) -> float:
        if job.harvest_ratio is None:
            return job.scale
        span_s = source.span_s if math.isfinite(source.span_s) else duration_s
        return scale_for(source, converter, job.harvest_ratio * demand_w, span_s=span_s, voltage_v=top_v)

    return Cell(
        Scenario(
            model=prepared.name,
            trace=name_of(job.trace, once),
            family=job.family or guess_family(once, job.trace),
            costs=prepared.costs,
            load=board.load,
            outcomes=prepared.outcomes,
            harvester=load_harvester(job.trace, scale=scaled(once), loop=duration_s > once.span_s),
            span_s=once.span_s,
            converter=converter,
            storage=storage,
            arrivals=arrivals,
            duration_s=duration_s,
            capacitor_f=equal_capacitor_f(storage, board.load),
            deadline_s=job.deadline_s,
            queue=job.queue,
            sensing_j=board.load.sensing_j if job.sensing_j is None else job.sensing_j,
            clock_start_s=job.clock_start_s,
            seed=job.seed,
            harvest_ratio=job.harvest_ratio,
            training=tuple(load_harvester(trace, scale=scaled(source)) for trace, source in past),
            provenance={"board": f"{board.title}, {board.seen}", **board.provenance},
            learning=None if job.refit is None else make_learning(job, job.refit, prepared),
        )
    )


def make_learning(job: Job, exit: str, prepared: Prepared) -> SimulatedLearning:
    """Return a head that learns on a job's samples, with what it reads of each.

    Raises
    ------
    UsageError
        When the exit cannot be fitted again, or the board does not say what that takes.
    """
    labelled = _labels_teach(job)
    board, engine = prepared.board, HostEngine(job.model)
    rule = parse_rule(job.refit_rule)
    refit = HeadRefit(engine, exit, rule)
    cycles, keep_every = price_of(refit, board)
    if job.refit_surplus == "price":
        surplus_v = 0.0
    elif job.refit_surplus is None:
        surplus_v = plenty_v(board.load)
    else:
        surplus_v = parse_quantity(job.refit_surplus, "V", what="refit surplus")
    inputs = load_inputs(job.data, engine.inputs)
    labels = load_labels(job.data, len(inputs[0]))
    assert labels is not None  # prepare_model has asked for them
    plan = LearningPlan(exit=refit.exit, rule=rule, surplus_v=surplus_v, delay_s=job.label_delay_s, labelled=labelled)
    return SimulatedLearning(engine, inputs, labels, prepared.outcomes, plan, cycles=cycles, keep_every=keep_every)


def _labels_teach(job: Job) -> bool:
    if job.refit_from not in ("labels", "last"):
        raise UsageError(f"refit from {job.refit_from!r}: give labels or last")
    if job.refit_from == "last" and job.label_delay_s > 0:
        raise UsageError("the last exit teaches with its own answer, at once; give a label delay with labels only")
    return job.refit_from == "labels"


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


def equal_capacitor_f(storage: Storage, load: LoadFigures) -> float:
    """Return the capacitance of a capacitor; of a battery that which would hold as much between brown-out and full [F]."""
    if isinstance(storage, Capacitor):
        return storage.capacitance_f
    full_v = storage.voltage_at_v(storage.full_energy_j)
    usable_j = storage.full_energy_j - storage.energy_at_j(load.off_v)
    return 2.0 * usable_j / (full_v**2 - load.off_v**2)


def _storage(job: Job, prepared: Prepared, converter: Converter) -> Storage:
    load = prepared.board.load
    if sum(size is not None for size in (job.capacitor_f, job.battery_j, job.store_inferences)) != 1:
        raise UsageError("a store is needed, one of: a capacitance, a battery, a size in full-depth inferences")

    def capacitor(capacitor_f: float) -> Storage:
        return make_storage(
            load, capacitor_f=capacitor_f, leakage_ohm=job.leakage_ohm, esr_ohm=job.esr_ohm, start_v=job.start_v
        )

    if job.capacitor_f is not None:
        return capacitor(job.capacitor_f)
    if job.store_inferences is None:
        return make_storage(
            load, battery_j=job.battery_j, leakage_ohm=job.leakage_ohm, esr_ohm=job.esr_ohm, start_v=job.start_v
        )
    # where a running board browns out, and what it takes at worst, do not depend on the capacitance
    world = Supply(ConstantHarvester(0.0), converter, capacitor(1.0), load, 1.0)
    usable_j = job.store_inferences * full_depth_j(prepared.costs, prepared.board) * world.dearness
    return capacitor(2.0 * usable_j / (load.max_v**2 - world.off_v**2))


__all__ = [
    "Arrivals",
    "Job",
    "equal_capacitor_f",
    "full_depth_j",
    "guess_family",
    "judge",
    "make_cell",
    "prepare_model",
    "run_job",
    "scale_for",
]
