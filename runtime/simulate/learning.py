# SPDX-License-Identifier: Apache-2.0
"""An exit's head fitted again in a simulation: what the loop in C needs of it, and what is said of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib
from joulet.boards import Board
from joulet.engine.host import HostEngine
from joulet.engine.learner import SURE_Q15
from joulet.engine.refit import HeadRefit, RefitRule
from joulet.engine.seam import Array
from joulet.errors import UsageError
from joulet.records import LearningRecord, LedgerRecord, LoadFigures, SampleOutcomes

KEEP_EVERY = 8
_PLENTY = 0.8  # of a full store's usable energy, unless a voltage is given
_ANSWERS = ("int8", "uint8", "float32")


def plenty_v(load: LoadFigures) -> float:
    """Return the voltage of a capacitor from which a head is fitted where none is given: four fifths of its usable energy [V]."""
    off, full = load.off_v**2, load.max_v**2
    return float((off + _PLENTY * (full - off)) ** 0.5)


def price_of(refit: HeadRefit, board: Board) -> tuple[float, int]:
    """Return the cycles of one fit on a board, and after how many its state is kept: 0 where it cannot be.

    Raises
    ------
    UsageError
        When the board does not say.
    """
    if board.refit is None:
        raise UsageError(f"board {board.name} does not say what fitting a head takes: its file lacks [refit]")
    keeps = board.nvm is not None and board.nvm.kind == "fram" and 2 * (len(refit.state()) + 48) <= board.nvm.bytes
    keep_every = KEEP_EVERY if keeps else 0
    return board.refit.cycles(refit.n_features, refit.n_classes, keep_every=keep_every), keep_every


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPlan:
    """How a head is fitted again in a simulation.

    Attributes
    ----------
    exit
        Name or number.
    rule
        How it learns.
    surplus_v
        Voltage of the store from which on it is fitted [V]; 0: where the policy's table says that energy buys nothing else.
    delay_s
        From an answer to its label; one that comes when another inference has begun is of no use any more [s].
    labelled
        The samples' labels teach; else the last exit does.
    sure_q15
        Least confidence of the last exit for its answer to count as a label.
    """

    exit: int | str
    rule: RefitRule
    surplus_v: float
    delay_s: float = 0.0
    labelled: bool = True
    sure_q15: int = SURE_Q15


class SimulatedLearning:
    """A head that learns, with the features of every sample, laid out for C.

    Parameters
    ----------
    engine : HostEngine
        The model; it stays this object's.
    inputs, labels
        Samples, one array ``(n, …)`` an input, and their classes ``(n,)``.
    outcomes : SampleOutcomes
        Of the model as it was shipped.
    plan : LearningPlan
        How to learn.
    cycles, keep_every
        Of :func:`price_of`.

    Raises
    ------
    UsageError
        When the exit cannot be fitted again, or a label is none of its classes.
    """

    def __init__(
        self,
        engine: HostEngine,
        inputs: Sequence[Array],
        labels: npt.NDArray[np.integer],
        outcomes: SampleOutcomes,
        plan: LearningPlan,
        *,
        cycles: float,
        keep_every: int,
    ) -> None:
        self.plan, self.outcomes = plan, outcomes
        self.refit = HeadRefit(engine, plan.exit, plan.rule)
        if int(np.max(labels, initial=0)) >= self.refit.n_classes or int(np.min(labels, initial=0)) < 0:
            raise UsageError(f"refit: labels must be 0..{self.refit.n_classes - 1}, the classes of exit {plan.exit}")
        if str(engine.answers[self.refit.exit].dtype) not in _ANSWERS:
            raise UsageError(
                f"refit: exit {plan.exit} answers with {engine.answers[self.refit.exit].dtype}, not scores"
            )
        rows = [
            node
            for node, (path, exit) in enumerate(outcomes.nodes)
            if exit == self.refit.exit and not _is_f32(engine, path)
        ]
        self._marks = ffi.new("jlt_engine_mark_t[]", len(rows))
        features = np.zeros((len(rows), len(labels), self.refit.n_features), np.int8)
        for row, node in enumerate(rows):
            self._collect(engine, inputs, outcomes.nodes[node][0], row, features[row])
        row_of = np.full(len(outcomes.nodes), -1, np.int32)
        row_of[rows] = np.arange(len(rows))
        kept = np.frombuffer(self.refit.state(), np.float32).copy()
        arrays: dict[str, tuple[str, npt.NDArray[Any]]] = {
            "row_of": ("const int32_t *", row_of),
            "features": ("const int8_t *", features),
            "labels": ("const uint16_t *", np.asarray(labels, np.uint16)),
            "kept": ("float *", kept),
        }
        if not plan.labelled:
            arrays["taught"] = ("const uint16_t *", self._taught(engine, inputs))
        self._keep = (engine, arrays)
        c = self.c_learning = ffi.new("jlt_sim_learning_t *")
        c.engine, c.refit, c.marks = engine.c_engine, self.refit.c_refit, self._marks
        for name, (kind, array) in arrays.items():
            setattr(c, name, ffi.cast(kind, array.ctypes.data))
        c.delay_s, c.surplus_v, c.cycles = plan.delay_s, plan.surplus_v, cycles
        c.n_samples, c.keep_every = len(labels), keep_every

    def _collect(
        self, engine: HostEngine, inputs: Sequence[Array], path: int, row: int, features: npt.NDArray[np.int8]
    ) -> None:
        """Note where the head begins on a path, and what it reads of each sample."""
        head = self.refit.c_refit.head
        for sample in range(len(features)):
            engine.start([x[sample] for x in inputs], path)
            engine.step_to(int(head.op), self.refit.exit)
            lib.jlt_engine_save(engine.c_engine, ffi.addressof(self._marks, row))
            engine.run_to_exit(self.refit.exit)
            features[sample] = np.frombuffer(ffi.buffer(head.features, features.shape[1]), np.int8)

    def _taught(self, engine: HostEngine, inputs: Sequence[Array]) -> npt.NDArray[np.uint16]:
        """Return what an answer at each node teaches, ``(n_nodes, n_samples)``: that of the last exit where it is sure."""
        taught = np.full(self.outcomes.confidence_q15.shape, lib.JLT_SIM_NO_LABEL, np.uint16)
        last = len(engine.exit_names) - 1
        for node, (path, exit) in enumerate(self.outcomes.nodes):
            if exit == last:
                answers = engine.infer(inputs, path=path).outputs[0]
                predicted = answers.reshape(len(answers), -1).argmax(axis=1)
                sure = self.outcomes.confidence_q15[node] >= self.plan.sure_q15
                taught[node, sure] = predicted[sure]
        return taught

    def spend_from(self, load: LoadFigures, dearness: float) -> None:
        """Say what a fit takes from the store of this board, at worst; the session's own product."""
        self.c_learning.cost_j = self.c_learning.cycles * load.energy_pj_per_cycle * 1e-12 * dearness

    def record(
        self,
        learner: Any,
        samples: npt.NDArray[np.uint32],
        path: npt.NDArray[np.int8],
        exit: npt.NDArray[np.int8],
        value: npt.NDArray[np.float32],
        confidence_q15: npt.NDArray[np.uint16],
        ledger: LedgerRecord,
    ) -> LearningRecord:
        """Return what came of it: answers at the exit, to samples that no event before had brought, beside the shipped head's."""
        first = np.zeros(len(samples), bool)
        first[np.unique(samples, return_index=True)[1]] = True
        judged = np.flatnonzero(first & (exit == self.refit.exit))
        node = np.array([self.outcomes.node_of[p][self.refit.exit] for p in path[judged]], np.int64)
        right, shipped = value[judged] == 1.0, self.outcomes.correct[node, samples[judged]]
        told = confidence_q15[judged] / 32768.0
        said = self.outcomes.confidence_q15[node, samples[judged]] / 32768.0
        return LearningRecord(
            exit=self.refit.engine.exit_names[self.refit.exit],
            learned=int(learner.learned),
            late=int(learner.late),
            energy_j=ledger.spent_pj["refit"] * 1e-12,
            judged=len(judged),
            right=int(right.sum()),
            right_as_shipped=int(shipped.sum()),
            calibration_error=_calibration_error(told, right),
            calibration_error_as_shipped=_calibration_error(said, shipped),
        )


def _calibration_error(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float | None:
    """Return the expected calibration error in ten bins, 0..1."""
    if not len(right):
        return None
    place = np.minimum((confidence * 10).astype(int), 9)
    return float(np.abs(np.bincount(place, weights=confidence - right, minlength=10)).sum() / len(right))


def _is_f32(engine: HostEngine, path: int) -> bool:
    precision = int(engine.container.paths[path]["precisions"][0])
    return bool(engine.container.precisions[precision]["is_f32"])
