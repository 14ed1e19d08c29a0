# SPDX-License-Identifier: Apache-2.0
"""What travels between session, policies and reports: frozen records, units in the names.

Nothing here computes more than a sum. Indices of paths and exits are those of the container; -1 in ``at_exit``
positions means "before the first exit".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt


class Action(Enum):
    """What a policy can answer. DEFER and OFF and START are legal before a start, CONTINUE and STOP at an exit."""

    OFF = "off"
    DEFER = "defer"
    START = "start"
    CONTINUE = "continue"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a policy sees at one decision.

    Attributes
    ----------
    time_s
        Since the start of the run [s], 0 or more.
    slot
        Half-hour of the day, 0..47.
    store_voltage_v
        Voltage of the store [V].
    usable_energy_j
        Energy that can be drawn from the store before a running board browns out, 0..``full_energy_j`` [J]. Where the
        store has series resistance it is counted from the voltage at which running pulls the terminal down to brown-out.
    full_energy_j
        The same with a full store [J].
    harvest_power_w
        Power that reaches the store at this moment, after the converter; negative in the dark, when the
        converter itself draws [W].
    backlog
        Events that wait, with the one being decided, 1 or more.
    deadline_left_s
        Until the deadline of the event being decided; negative when it has passed [s].
    path, exit, confidence_q15
        The running path, the exit just reached and its calibrated P(correct) in 1/32768 (0..32767); all None before
        a start.
    spent_j
        Spent on this event so far [J].
    delivered_j
        Energy that has reached the store since the start of the run, after the converter; it can fall in the dark. The
        difference of two observations over their time apart is the mean power between them [J].
    energy_ratio
        After a decision with ``read``: energy drawn over energy foretold by the cost table, of what ran since the last
        reading; None without one.
    """

    time_s: float
    slot: int
    store_voltage_v: float
    usable_energy_j: float
    full_energy_j: float
    harvest_power_w: float
    backlog: int
    deadline_left_s: float
    path: int | None = None
    exit: int | None = None
    confidence_q15: int | None = None
    spent_j: float = 0.0
    delivered_j: float = 0.0
    energy_ratio: float | None = None

    @property
    def at_exit(self) -> bool:
        """True while an inference is running and stands at an exit."""
        return self.exit is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a policy answers.

    Attributes
    ----------
    action
        See :class:`Action`. OFF drops what waits and sleeps until the next event; DEFER keeps it and asks again later.
    path
        START: the path to run. CONTINUE: the path to go on with, None for the same one; it must share all precisions
        up to the exit reached.
    exit
        START and CONTINUE: the next exit whose head is evaluated, None for the next one. Heads in between are
        skipped, so nothing can be answered there.
    wake_j
        DEFER: ask again when this usable energy is reached [J]; None asks again at the session's own pace.
    read
        Also read the board's energy counter: its price is paid, and the next observation carries the reading.
    """

    action: Action
    path: int | None = None
    exit: int | None = None
    wake_j: float | None = None
    read: bool = False


class Status(Enum):
    """How an event ended. The first two were answered; the rest count as wrong.

    missed: the board was off when it happened. dropped: pushed out of the queue by a newer one, or by OFF. expired: its
    deadline passed while it waited. lost: a brown-out took it, running or waiting, before any exit answered. pending: still
    waiting when the run ended.
    """

    ON_TIME = "on_time"
    LATE = "late"
    MISSED = "missed"
    DROPPED = "dropped"
    EXPIRED = "expired"
    LOST = "lost"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One point of the timeline. ``event`` is what happened: sample, answer, brownout or power_good.

    ``harvest_power_w`` is before the converter. ``path`` and ``exit`` are those of an answer, else None. Brown-outs and
    power-good are complete; samples and answers are thinned (the complete answers are the run's events).
    """

    time_s: float
    event: str
    store_voltage_v: float
    harvest_power_w: float
    powered: bool
    path: int | None = None
    exit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRecord:
    """One event that arrived and what became of it.

    ``exit``, ``path``, ``confidence_q15`` and ``predicted`` are those of the committed answer, None without one.
    ``correct`` is None without labels. ``mean_bits`` weighs the bits of each layer by its MACs. ``energy_j`` is all
    energy spent on the event, abandoned work included. ``cut`` is True when a brown-out shortened it.
    """

    index: int
    sample: int
    arrival_s: float
    status: Status
    start_s: float | None = None
    end_s: float | None = None
    path: int | None = None
    exit: int | None = None
    confidence_q15: int | None = None
    predicted: int | None = None
    label: int | None = None
    correct: bool | None = None
    mean_bits: float | None = None
    macs: int = 0
    cycles: int = 0
    energy_j: float = 0.0
    decisions: int = 0
    cut: bool = False


ACCOUNTS = (
    "compute",
    "redone",
    "abandoned",
    "sleep",
    "sensing",
    "policy",
    "conversion",
    "leakage",
    "clipped",
    "refit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    """A closed energy account, all in pJ: harvested = stored_delta + sum of ``spent_pj`` + residual.

    Attributes
    ----------
    harvested_pj
        What the harvester gave, before the converter, 0 or more [pJ].
    stored_delta_pj
        End minus start of the store, read from its voltage and not from the other entries [pJ].
    spent_pj
        One entry for each of :data:`ACCOUNTS`, 0 or more [pJ].
    residual_pj
        What does not balance [pJ].
    residual_fraction
        abs(residual) over the energy that went through the store, 0..1.
    provenance
        For each account, where its figures come from: ``measured``, ``modelled: …`` or ``datasheet: …``.
    not_modelled
        Accounts of the design that this run does not estimate; their energy is in none of the entries.
    """

    harvested_pj: int
    stored_delta_pj: int
    spent_pj: Mapping[str, int]
    residual_pj: int
    residual_fraction: float
    provenance: Mapping[str, str]
    not_modelled: tuple[str, ...] = ()

    @property
    def closes(self) -> bool:
        """True when the residual is at most 0.1 % of the energy that went through."""
        return self.residual_fraction <= 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The score of a run and what stands beside it.

    ``score`` = ``correct_on_time`` / ``arrived``; a missed event counts as wrong. Both are None without labels.
    ``served`` = on time + late. Latencies run from event to committed answer over served events, None without any.
    ``brownouts`` counts every time the store ran down to brown-out, asleep or running; ``cut`` the inferences it hit.
    Means are over served events; ``mean_bits`` is weighted by MACs. ``off_fraction`` is the share of time without power.
    ``useful_fraction`` is compute / (compute + abandoned).
    """

    arrived: int
    served: int
    on_time: int
    late: int
    missed: int
    dropped: int
    expired: int
    lost: int
    pending: int
    correct_on_time: int | None
    score: float | None
    mean_bits: float | None
    mean_exit: float | None
    exits_taken: tuple[int, ...]
    brownouts: int
    cut: int
    off_s: float
    off_fraction: float
    longest_outage_s: float
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    mean_energy_j: float | None
    useful_fraction: float | None
    decisions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRecord:
    """One path of the model on the board: per exit, energy from the start [J], cycles and accuracy on calibration data.

    ``accuracy`` is 0..1, all 0 where the model was not calibrated; ``mean_bits`` has one entry an exit.
    """

    name: str
    energy_j: tuple[float, ...]
    cycles: tuple[int, ...]
    accuracy: tuple[float, ...]
    mean_bits: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Everything a run leaves; what a report is made from.

    ``settings`` holds the options as numbers in base units; ``provenance`` says where board figures, trace and
    accuracy come from. ``timeline`` is thinned to some thousands of points; ``events`` is complete.
    """

    model: str
    model_hash: str
    board: str
    policy: str
    duration_s: float
    exit_names: tuple[str, ...]
    paths: tuple[PathRecord, ...]
    summary: Summary
    ledger: LedgerRecord
    events: tuple[InferenceRecord, ...]
    timeline: tuple[StepRecord, ...]
    settings: Mapping[str, float | int | str | None] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def energy_stack_j(self) -> dict[str, float]:
        """Return harvested, stored, each account and the residual [J]."""
        stack = {"harvested": self.ledger.harvested_pj * 1e-12, "stored": self.ledger.stored_delta_pj * 1e-12}
        stack.update({name: pj * 1e-12 for name, pj in self.ledger.spent_pj.items()})
        stack["residual"] = self.ledger.residual_pj * 1e-12
        return stack


@dataclass(frozen=True, slots=True, kw_only=True)
class BandPrices:
    """What running ops in bands costs on a core beyond whole tensors.

    Attributes
    ----------
    call_cycles
        Of each further call of a kernel [core cycles].
    moved_byte_cycles
        Of a byte that is moved to the beginning of its memory, for the next band [core cycles].
    """

    call_cycles: float
    moved_byte_cycles: float

    def cycles(self, further_calls: int, moved_bytes: int) -> float:
        """Return what a group of ops costs beyond whole tensors [core cycles]."""
        return self.call_cycles * further_calls + self.moved_byte_cycles * moved_bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoardCosts:
    """Cost table of one board for one model; the BOARD section of a container.

    Attributes
    ----------
    name
        Board, at most 31 ASCII characters.
    clock_hz
        Core clock [Hz].
    energy_pj_per_cycle
        [pJ].
    cycles
        ``(n_precisions, n_ops)`` uint32: cycles of each op at each precision.
    """

    name: str
    clock_hz: int
    energy_pj_per_cycle: int
    cycles: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFigures:
    """What a board draws; from its board.toml.

    Attributes
    ----------
    clock_hz, energy_pj_per_cycle
        Core clock [Hz] and energy of a running cycle [pJ], both more than 0.
    sleep_w
        Drawn while powered and idle, 0 or more [W].
    sensing_j
        Taking one sample, 0 where it is not modelled [J].
    wake_cycles, decision_cycles
        From sleep to running, and for one decision, 0 or more.
    max_v, on_v, off_v
        Full store, power-good threshold and brown-out, falling [V].
    read_j
        One reading of the board's energy counter, 0 where it has none or it is not modelled [J].
    """

    clock_hz: int
    energy_pj_per_cycle: int
    sleep_w: float
    sensing_j: float
    wake_cycles: int
    decision_cycles: int
    max_v: float
    on_v: float
    off_v: float
    read_j: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """From one exit (or the start) to the head of a later exit on one path; other heads are skipped.

    ``bit_macs`` is the sum of weight bits × MACs, so that ``bit_macs / macs`` is the mean number of bits.
    """

    cycles: int
    macs: int
    bit_macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """What a model costs on a board, along every path.

    Attributes
    ----------
    board
        Name of the board.
    path_names, exit_names
        As in the container.
    steps
        ``steps[path][k + 1][j]``: from exit k (−1: from the start) to exit j > k; None where j ≤ k.
    prefixes
        ``prefixes[path][j]``: precision of segment j. Paths that agree up to exit k may be switched there.
    accuracy
        ``accuracy[path][j]``: P(correct) on calibration data, 0..1; 0 without.
    """

    board: str
    path_names: tuple[str, ...]
    exit_names: tuple[str, ...]
    steps: tuple[tuple[tuple[StepCost | None, ...], ...], ...]
    prefixes: tuple[tuple[int, ...], ...]
    accuracy: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleOutcomes:
    """What the engine says about every sample at every exit of every path, computed once.

    Paths that agree up to an exit share a *node* there: the same precisions give the same answer.

    Attributes
    ----------
    nodes
        (path, exit) that stands for each node, in rising order of exit.
    node_of
        ``node_of[path][exit]``: index of the node.
    confidence_q15
        ``(n_nodes, n_samples)`` uint16.
    correct
        ``(n_nodes, n_samples)`` bool.
    """

    nodes: tuple[tuple[int, int], ...]
    node_of: tuple[tuple[int, ...], ...]
    confidence_q15: npt.NDArray[np.uint16]
    correct: npt.NDArray[np.bool_]

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self.correct.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutcomeModel:
    """Calibrated model of outcomes: along a path, confidences are a Markov chain over bins; each bin has its accuracy.

    Attributes
    ----------
    nodes, node_of
        As in :class:`SampleOutcomes`.
    borders_q15
        ``(n_nodes, n_bins − 1)`` uint16, not falling: a confidence lies in bin "number of borders at most it".
    confidence_q15
        ``(n_nodes, n_bins)`` uint16: mean confidence of each bin.
    accuracy
        ``(n_nodes, n_bins)`` float64: P(correct) in each bin, 0..1.
    start
        ``(n_nodes, n_bins)`` float64: distribution over bins when a node is the first one evaluated.
    links
        ``(n_links, 2)`` int16: (from node, −1 for the start; to node) of every step that a policy may take.
    transition
        ``(n_links, n_bins, n_bins)`` float64: P(bin at the end | bin at the beginning); rows of a link from the start
        are all ``start``.
    """

    nodes: tuple[tuple[int, int], ...]
    node_of: tuple[tuple[int, ...], ...]
    borders_q15: npt.NDArray[np.uint16]
    confidence_q15: npt.NDArray[np.uint16]
    accuracy: npt.NDArray[np.float64]
    start: npt.NDArray[np.float64]
    links: npt.NDArray[np.int16]
    transition: npt.NDArray[np.float64]

    @property
    def n_bins(self) -> int:
        """Number of bins, the same for all nodes."""
        return int(self.accuracy.shape[1])

    def bin_of(self, node: int, confidence_q15: int) -> int:
        """Return the bin of a confidence at a node."""
        return int(np.searchsorted(self.borders_q15[node], confidence_q15, side="right"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A day (or another block of time) of a simulated run, for intervals by bootstrap.

    ``correct`` counts answers that were right and on time; ``expected`` sums what the calibrated model says of them.
    """

    arrived: int
    correct: int
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRecord:
    """An exit's head that was fitted again during a simulation.

    Attributes
    ----------
    exit
        Its name.
    learned, late
        Labels learned from, and those that came, or found energy to spare, after the next inference had begun.
    energy_j
        What that took: the ledger's account ``refit`` [J].
    judged
        Events answered at the exit whose samples no event before had brought.
    right, right_as_shipped
        Of those, by the head as it stood when it answered, and by the one that was shipped.
    calibration_error, calibration_error_as_shipped
        Expected calibration error of either's confidences, ten bins, 0..1; None where none was judged.
    """

    exit: str
    learned: int
    late: int
    energy_j: float
    judged: int
    right: int
    right_as_shipped: int
    calibration_error: float | None
    calibration_error_as_shipped: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationRecord:
    """One policy on one trace, store and arrival process.

    Attributes
    ----------
    policy, model, board, trace
        Names.
    family
        Kind of source: ``solar``, ``rf``, ``indoor`` or another word.
    capacitor_f
        Store [F]; for a battery the capacitance that would hold the same energy between brown-out and full
        (``provenance["stored"]`` says what it is).
    arrivals
        The spec, such as ``periodic:1s``.
    harvest_ratio
        Mean harvest that reaches a well-filled store over what full-depth inference takes from one at the arrival rate;
        None without scaling.
    store_inferences
        Usable energy of the full store in full-depth inferences.
    arrived, served, on_time, late, missed, dropped, expired, lost, pending, correct_on_time
        Counts of events, as in :class:`Summary`.
    score
        ``correct_on_time / arrived``, 0..1.
    score_low, score_high
        95 % interval of ``score`` by bootstrap over ``blocks``.
    expected_score
        The score when outcomes are drawn from the calibrated model, answers weighed by its accuracy, 0..1.
    oracle_energy_score, oracle_all_score
        Upper bounds: harvest and arrivals known; outcomes known too. None where not computed.
    pct_of_oracle_energy
        100 × expected_score / oracle_energy_score.
    pct_of_oracle_all
        100 × score / oracle_all_score.
    brownouts, cut
        Times the store ran down to brown-out, and inferences cut by it.
    time_off
        Share of time without power, 0..1.
    longest_outage_s, latency_p50_s, latency_p95_s, latency_p99_s
        [s]; latencies over served events, None without any.
    mean_bits, mean_exit
        Over served events; bits weighted by MACs. None without any.
    exits_taken, paths_taken
        Served events by exit and by path.
    decisions
        Questions asked.
    energy_nj
        harvested, stored, every account of :data:`ACCOUNTS` and residual [nJ].
    residual
        Share of the energy that went through the store, 0..1.
    blocks
        By day, or by equal parts of a shorter run.
    provenance
        Where figures come from.
    learning
        Of an exit's head that was fitted again, None where none was. Expected scores and what rests on them are those of the
        head that was shipped.
    """

    policy: str
    model: str
    board: str
    trace: str
    family: str
    capacitor_f: float
    arrivals: str
    harvest_ratio: float | None
    store_inferences: float
    arrived: int
    served: int
    on_time: int
    late: int
    missed: int
    dropped: int
    expired: int
    lost: int
    pending: int
    correct_on_time: int
    score: float
    score_low: float
    score_high: float
    expected_score: float
    oracle_energy_score: float | None
    oracle_all_score: float | None
    pct_of_oracle_energy: float | None
    pct_of_oracle_all: float | None
    brownouts: int
    cut: int
    time_off: float
    longest_outage_s: float
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    mean_bits: float | None
    mean_exit: float | None
    exits_taken: tuple[int, ...]
    paths_taken: tuple[int, ...]
    decisions: int
    energy_nj: Mapping[str, float]
    residual: float
    blocks: tuple[Block, ...]
    provenance: Mapping[str, str] = field(default_factory=dict)
    learning: LearningRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PriceMap:
    """What a value-based policy would do and pay over stored energy and time of day, for one harvest level.

    Attributes
    ----------
    policy
        Its name.
    harvest_w
        Power that reaches the store, for which the map holds [W].
    energy_j
        ``(n_e,)`` usable energies [J].
    slot_s
        ``(n_t,)`` beginnings of the slots of the day [s].
    price_per_j
        ``(n_t, n_e)`` dJ/dE: expected later correct answers per joule [1/J].
    point
        ``(n_t, n_e)`` int16: index into ``point_names`` of where an event ends whose confidence is middling at every exit,
        −1 where it is not started.
    point_names
        Operating points, such as ``w4@exit1``.
    """

    policy: str
    harvest_w: float
    energy_j: npt.NDArray[np.float64]
    slot_s: npt.NDArray[np.float64]
    price_per_j: npt.NDArray[np.float64]
    point: npt.NDArray[np.int16]
    point_names: tuple[str, ...]
