# SPDX-License-Identifier: Apache-2.0
"""One policy over one stream of events, in C."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib
from joulet.errors import PolicyError, UsageError
from joulet.optimum.costs import link_index
from joulet.policies.seam import Policy, PolicyContext, fault
from joulet.records import (
    ACCOUNTS,
    Action,
    CostTable,
    Decision,
    LearningRecord,
    LedgerRecord,
    LoadFigures,
    Observation,
    OutcomeModel,
    SampleOutcomes,
)
from joulet.simulate.learning import SimulatedLearning
from joulet.simulate.world import SENSING_S, SupplyArrays

Array = npt.NDArray[np.float64]
STATUSES = ("pending", "on_time", "late", "missed", "dropped", "expired", "lost")
_OUTPUTS = ("uint8_t", "int8_t", "int8_t", "float", "float", "float", "uint16_t")
_ACTIONS = (Action.OFF, Action.DEFER, Action.START, Action.CONTINUE, Action.STOP)
_CODES = {action: code for code, action in enumerate(_ACTIONS)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """When events happen and what is asked of them.

    Attributes
    ----------
    event_s
        ``(n,)`` not falling [s].
    deadline_s, queue, guard, sensing_j
        As in :class:`joulet.session.SessionSettings`.
    read_noise, read_seed
        Of readings of the energy counter, as there.
    clock_start_s
        Time of day at the beginning of the run [s].
    """

    event_s: Array
    deadline_s: float
    queue: int = 1
    guard: bool = True
    sensing_j: float = 0.0
    read_noise: float = 0.0
    read_seed: int = 0
    clock_start_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """What became of every event, and of the energy.

    Attributes
    ----------
    status
        ``(n,)`` index into :data:`STATUSES`.
    path, exit
        ``(n,)`` of the answer, −1 without.
    value
        ``(n,)`` 1 right, 0 wrong; or the accuracy of the bin drawn.
    latency_s
        ``(n,)`` from event to answer; NaN without.
    stored_j
        ``(n,)`` held when the event arrived [J].
    confidence_q15
        ``(n,)`` of the answer, 0 without.
    macs, bit_macs
        Sums over answered events.
    learning
        What came of fitting a head again; None where none was.
    """

    status: npt.NDArray[np.uint8]
    path: npt.NDArray[np.int8]
    exit: npt.NDArray[np.int8]
    value: npt.NDArray[np.float32]
    latency_s: npt.NDArray[np.float32]
    stored_j: npt.NDArray[np.float32]
    confidence_q15: npt.NDArray[np.uint16]
    macs: float
    bit_macs: float
    decisions: int
    cut: int
    brownouts: int
    off_s: float
    longest_outage_s: float
    energy_j: float
    ledger: LedgerRecord
    learning: LearningRecord | None = None

    @property
    def on_time(self) -> npt.NDArray[np.bool_]:
        """Events answered on time."""
        found: npt.NDArray[np.bool_] = self.status == STATUSES.index("on_time")
        return found

    def correct(self) -> Array:
        """Return per event how right it was on time, ``(n,)``: 0 or 1, or an accuracy."""
        return np.where(self.on_time, self.value, 0.0)


def overrun_s(costs: CostTable, load: LoadFigures, n_events: int) -> float:
    """Return how long, at most, what begins in a run goes on after its end: samples, questions and an inference [s]."""
    n_exits = len(costs.exit_names)
    dearest = max(step.cycles for rows in costs.steps for row in rows for step in row if step is not None)
    cycles = load.wake_cycles + n_exits * dearest + (n_exits + 1) * load.decision_cycles
    return cycles / load.clock_hz + (n_events + n_exits + 1) * SENSING_S


class Model:
    """What the model costs and says, laid out for C; made once and used by many runs.

    Parameters
    ----------
    costs : CostTable
        Of the board.
    outcomes : SampleOutcomes or OutcomeModel
        Samples, for realised scores; or the model, from which outcomes are drawn, for expected ones.
    seed : int
        Of the draws.
    """

    def __init__(self, costs: CostTable, outcomes: SampleOutcomes | OutcomeModel, *, seed: int = 0) -> None:
        n_paths, n_exits = len(costs.path_names), len(costs.exit_names)
        tables = {name: np.zeros((n_paths, n_exits + 1, n_exits)) for name in ("cycles", "macs", "bit_macs")}
        for path, rows in enumerate(costs.steps):
            for start, row in enumerate(rows):
                for stop, step in enumerate(row):
                    if step is not None:
                        for name, table in tables.items():
                            table[path, start, stop] = getattr(step, name)
        arrays: dict[str, npt.NDArray[Any]] = {**tables, "node_of": np.asarray(outcomes.node_of, np.int16)}
        arrays["confidence_q15"] = np.ascontiguousarray(outcomes.confidence_q15)
        self.c_model = ffi.new("jlt_sim_model_t *")
        model = self.c_model
        model.n_paths, model.n_exits, model.n_nodes, model.seed = n_paths, n_exits, len(outcomes.nodes), seed
        if isinstance(outcomes, SampleOutcomes):
            model.n_samples = outcomes.n_samples
            arrays["correct"] = np.ascontiguousarray(outcomes.correct).view(np.uint8)
        else:
            model.n_bins = outcomes.n_bins
            arrays["link_of"] = link_index(outcomes)
            arrays["transition"] = np.ascontiguousarray(outcomes.transition, np.float32)
            arrays["accuracy"] = np.ascontiguousarray(outcomes.accuracy, np.float32)
        types = {"node_of": "int16_t", "link_of": "int16_t", "confidence_q15": "uint16_t", "correct": "uint8_t"}
        types |= {"transition": "float", "accuracy": "float"}
        for name, array in arrays.items():
            setattr(model, name, ffi.cast(f"const {types.get(name, 'double')} *", array.ctypes.data))
        self._keep = arrays


def run(
    supply: SupplyArrays,
    model: Model,
    events: Events,
    policy: Policy | Governors,
    context: PolicyContext,
    load: LoadFigures,
    *,
    samples: npt.NDArray[np.uint32] | None = None,
    provenance: dict[str, str] | None = None,
    learning: SimulatedLearning | None = None,
) -> Trajectory:
    """Run one policy.

    Parameters
    ----------
    supply, model, events
        The world.
    policy : Policy or Governors
        A Python policy is called back for every decision; governors decide in C.
    context, load
        What policies are told, and what the board draws.
    samples : array (n,), optional
        Sample of each event; needed unless outcomes are drawn.
    learning : SimulatedLearning, optional
        An exit's head that is fitted again on the way, from the shipped one on.

    Raises
    ------
    PolicyError
        If the policy breaks its contract.
    UsageError
        If a head is to learn by the price of energy, and the policy has no tables.
    """
    n = len(events.event_s)
    if not 1 <= events.queue < 64:
        raise UsageError(f"queue is {events.queue}; it must be 1 to 63")
    c_events = _events(supply, events, context, load, samples)
    outputs: dict[str, npt.NDArray[Any]] = {
        "status": np.zeros(n, np.uint8),
        "path": np.full(n, -1, np.int8),
        "exit": np.full(n, -1, np.int8),
        "value": np.zeros(n, np.float32),
        "latency_s": np.full(n, np.nan, np.float32),
        "stored_j": np.zeros(n, np.float32),
        "confidence_q15": np.zeros(n, np.uint16),
    }
    result = ffi.new("jlt_sim_result_t *")
    for name, kind in zip(outputs, _OUTPUTS, strict=True):
        setattr(result, name, ffi.cast(f"{kind} *", outputs[name].ctypes.data))
    caller = _Caller(policy, context, events) if not isinstance(policy, Governors) else None
    c_policy = caller.c_policy if caller is not None else policy.c_policy  # type: ignore[union-attr]
    c_policy.learning = ffi.NULL
    if learning is not None:
        if caller is not None and learning.plan.surplus_v <= 0.0:
            raise UsageError(
                f"policy '{policy.name}' has no price of energy; name a voltage from which on a head is fitted"
            )
        learning.spend_from(load, supply.dearness)
        c_policy.learning = learning.c_learning
    status = lib.jlt_sim_run(supply.c_supply, model.c_model, c_events, c_policy, result)
    if caller is not None and caller.error is not None:
        raise caller.error
    if status != 0:
        name = policy.name
        raise PolicyError(f"policy '{name}' broke its contract at event {result.bad_event}")
    found = _trajectory(supply, result, outputs, provenance or {})
    if learning is None or samples is None:
        return found
    told = {name: outputs[name] for name in ("path", "exit", "value", "confidence_q15")}
    return replace(found, learning=learning.record(result.learner, samples, **told, ledger=found.ledger))


def _events(
    supply: SupplyArrays,
    events: Events,
    context: PolicyContext,
    load: LoadFigures,
    samples: npt.NDArray[np.uint32] | None,
) -> Any:
    c_events = ffi.new("jlt_sim_events_t *")
    c_events.n_events, c_events.event_s = len(events.event_s), ffi.cast("const double *", events.event_s.ctypes.data)
    if samples is not None:
        c_events.sample = ffi.cast("const uint32_t *", samples.ctypes.data)
    c_events.duration_s, c_events.deadline_s, c_events.queue = supply.duration_s, events.deadline_s, events.queue
    c_events.guard = events.guard
    c_events.sensing_s = SENSING_S if events.sensing_j > 0.0 else 0.0
    c_events.reading_s = SENSING_S if load.read_j > 0.0 else 0.0
    c_events.clock_start_s, c_events.clock_hz = events.clock_start_s, load.clock_hz
    c_events.wake_cycles, c_events.decision_cycles = load.wake_cycles, load.decision_cycles
    c_events.run_w, c_events.decision_j = supply.running_w, context.decision_j
    # in the order of the session's own products
    c_events.cycle_j = load.energy_pj_per_cycle * 1e-12 * supply.dearness
    c_events.retry_j = 2.0 * load.decision_cycles * load.energy_pj_per_cycle * 1e-12 * supply.dearness
    return c_events


def _trajectory(
    supply: SupplyArrays, result: Any, outputs: dict[str, npt.NDArray[Any]], provenance: dict[str, str]
) -> Trajectory:
    world = result.world
    pj = [int(world.ledger.pj[i]) for i in range(len(ACCOUNTS) + 1)]
    delta_pj = round(world.held.energy_j * 1e12) - round(supply.initial_j * 1e12)
    spent = dict(zip(ACCOUNTS, pj[1:], strict=True))
    residual_pj = int(lib.jlt_ledger_residual_pj(ffi.addressof(world, "ledger"), delta_pj))
    through_pj = max(pj[0], sum(pj[1:]), abs(delta_pj), 1)
    ledger = LedgerRecord(
        harvested_pj=pj[0],
        stored_delta_pj=delta_pj,
        spent_pj=spent,
        residual_pj=residual_pj,
        residual_fraction=abs(residual_pj) / through_pj,
        provenance=provenance,
        not_modelled=("redone", "memory", "nvm", "radio"),
    )
    return Trajectory(
        **outputs,
        macs=result.macs,
        bit_macs=result.bit_macs,
        decisions=int(result.decisions),
        cut=int(result.cut),
        brownouts=int(world.brownouts),
        off_s=world.off_s,
        longest_outage_s=world.longest_outage_s,
        energy_j=world.held.energy_j,
        ledger=ledger,
        learning=None,
    )


class Governors:
    """Policy tables that decide in C: one, or two that alternate by blocks of time (each fitted on the other's).

    Parameters
    ----------
    name : str
        Of the policy.
    tables : sequence of bytes
        One or two tables as :mod:`joulet.policies.tables` writes them.
    fold_s : float
        Length of a block with two tables [s].
    """

    def __init__(self, name: str, tables: tuple[bytes, ...], *, fold_s: float = 0.0) -> None:
        self.name = name
        self.c_policy = ffi.new("jlt_sim_policy_t *")
        self._keep = []
        for index, table in enumerate(tables):
            words = np.zeros((len(table) + 7) // 8, np.uint64)
            words.view(np.uint8)[: len(table)] = np.frombuffer(table, np.uint8)
            governor = ffi.new("jlt_governor_t *")
            status = lib.jlt_governor_check(ffi.cast("const void *", words.ctypes.data), len(table), governor)
            if status != 0:
                raise PolicyError(f"policy '{name}': its table does not pass the check (status {status})")
            self.c_policy.governor[index] = governor
            self._keep.append((words, governor))
        self.c_policy.fold_s = fold_s if len(tables) > 1 else 0.0


class _Caller:
    """Calls a Python policy back from C; an exception stops the run and comes out of :func:`run`."""

    def __init__(self, policy: Policy, context: PolicyContext, events: Events) -> None:
        self.error: Exception | None = None
        self._policy, self._context = policy, context
        self._noise, self._rng = events.read_noise, np.random.default_rng(events.read_seed)
        self._drawn = 0
        self.c_policy = ffi.new("jlt_sim_policy_t *")
        self._callback = ffi.callback("jlt_sim_decide_t", self._decide)
        self.c_policy.decide = self._callback

    def _decide(self, _handle: Any, seen: Any, out: Any) -> int:
        try:
            at_exit = seen.exit >= 0
            observation = Observation(
                time_s=seen.time_s,
                slot=seen.slot,
                store_voltage_v=seen.store_voltage_v,
                usable_energy_j=seen.usable_j,
                full_energy_j=seen.full_j,
                harvest_power_w=seen.harvest_w,
                backlog=seen.backlog,
                deadline_left_s=seen.deadline_left_s,
                path=seen.path if at_exit else None,
                exit=seen.exit if at_exit else None,
                confidence_q15=seen.confidence_q15 if at_exit else None,
                spent_j=seen.spent_j,
                delivered_j=seen.delivered_j,
                energy_ratio=self._reading(seen),
            )
            decision = self._policy.decide(observation)
            self._check(observation, decision, seen.event)
            out.action = _CODES[decision.action]
            out.path = -1 if decision.path is None else decision.path
            out.exit = -1 if decision.exit is None else decision.exit
            out.wake_j = -1.0 if decision.wake_j is None else decision.wake_j
            out.read = int(decision.read)
        except Exception as error:  # carried through C and raised by run()
            self.error = error
            return 1
        return 0

    def _reading(self, seen: Any) -> float | None:
        """Return a reading with its noise; every reading takes one draw, whether it was seen or lost to a brown-out."""
        if math.isnan(seen.energy_ratio) or self._noise <= 0.0:
            return None if math.isnan(seen.energy_ratio) else float(seen.energy_ratio)
        draw = 0.0
        for _ in range(seen.readings - self._drawn):
            draw = float(self._rng.standard_normal())
        self._drawn = int(seen.readings)
        return float(seen.energy_ratio) * (1.0 + self._noise * draw)

    def _check(self, observation: Observation, decision: Decision, event: int) -> None:
        wrong = fault(observation, decision, self._context)
        if wrong is not None:
            raise PolicyError(f"policy '{self._policy.name}' {wrong}, at {observation.time_s:.3f} s, event {event}")
