# SPDX-License-Identifier: Apache-2.0
"""Decide from policy tables, in integers: twin of csrc/core/governor.c, equal on every question."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from joulet.policies.tables import NO_NODE, PolicyTable
from joulet.records import Action, Decision

_INT32_MAX, _UINT32_MAX = 2**31 - 1, 2**32 - 1
_HALF_HOURS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a governor is asked; see ``jlt_question_t``."""

    energy_q16: int
    harvest_nw: int
    slow_nw: int
    deadline_left_us: int
    half_hour: int
    path: int = 0
    exit: int = 0
    confidence_q15: int = 0
    at_exit: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What it answers; ``wake_q16`` is 0 unless it waits for an energy."""

    action: Action
    path: int = 0
    exit: int = 0
    wake_q16: int = 0


class HarvestMean:
    """Means of the power that reaches the store, kept between decisions; twin of ``jlt_harvest_mean_take``."""

    __slots__ = (
        "_begun",
        "_delivered_nj",
        "_shift",
        "_slow_shift",
        "_time_us",
        "_warm",
        "_window_us",
        "mean_nw",
        "slow_nw",
    )

    def __init__(self, table: PolicyTable) -> None:
        self._window_us, self._shift, self._slow_shift = table.window_us, table.mean_shift, table.slow_shift
        self._begun = self._warm = False
        self._time_us = self._delivered_nj = self.mean_nw = self.slow_nw = 0

    def take(self, time_us: int, delivered_nj: int, now_nw: int) -> None:
        """Take in the energy delivered since the beginning."""
        if not self._begun:
            self._begun, self._time_us, self._delivered_nj = True, time_us, delivered_nj
        passed_us = time_us - self._time_us
        if passed_us >= self._window_us and passed_us > 0:
            fresh = min(max(_divide((delivered_nj - self._delivered_nj) * 1_000_000, passed_us), 0), _INT32_MAX)
            windows = passed_us // self._window_us if self._window_us else 2**32 - 1
            self.mean_nw = _moved(self.mean_nw, fresh, windows, self._shift) if self._warm else fresh
            self.slow_nw = _moved(self.slow_nw, fresh, windows, self._slow_shift) if self._warm else fresh
            self._warm, self._time_us, self._delivered_nj = True, time_us, delivered_nj
        if not self._warm:
            self.mean_nw = self.slow_nw = now_nw


def _moved(mean_nw: int, fresh_nw: int, windows: int, shift: int) -> int:
    """Return a mean after a window; one that lasted longer weighs more, up to all."""
    return mean_nw + _divide((fresh_nw - mean_nw) * min(windows, 1 << shift), 1 << shift)


def _divide(a: int, b: int) -> int:
    """Return a / b as C does it, towards zero; b is more than 0."""
    return a // b if a >= 0 else -(-a // b)


class Governor:
    """A table, unpacked for quick answers."""

    def __init__(self, table: PolicyTable) -> None:
        self.table = table
        self.top_q16 = (table.n_levels - 1) << 16
        self._slow_nw = table.slow_nw.tolist()
        self._borders_nw = table.harvest_nw.tolist()
        self._worth = table.worth.tolist()
        links = [(int(path), int(exit)) for path, exit in table.links.tolist()]
        options = [(g, cost, need, step, *links[step & 0xFF]) for g, cost, need, step in table.options.tolist()]
        menus = table.menus.tolist()
        self._start = options[menus[0] : menus[1]]
        states = range(table.n_nodes * table.n_bins)
        self._menus = [options[menus[1 + state] : menus[2 + state]] for state in states]
        self._stop_gain = table.stop_gain.reshape(-1).tolist()
        self._borders_q15 = table.borders_q15.tolist()
        self._node_of = table.node_of.tolist()

    def decide(self, question: Question) -> Answer:
        """Answer a question; pure."""
        slow = bisect_right(self._slow_nw, question.slow_nw)
        level = bisect_right(self._borders_nw[slow], question.harvest_nw)
        row = self._worth[question.half_hour * self.table.n_slots // _HALF_HOURS][slow][level]
        return self._go_on(question, row) if question.at_exit else self._begin(question, row)

    def _worth_at(self, row: list[int], energy_q16: int) -> int:
        energy = min(energy_q16, self.top_q16 - 1)
        at = energy >> 16
        return (row[at] << 8) + (((row[at + 1] - row[at]) * (energy & 0xFFFF)) >> 8)

    def _begin(self, question: Question, row: list[int]) -> Answer:
        table, energy = self.table, question.energy_q16
        energy_fj = question.harvest_nw * question.deadline_left_us >> 20  # in units of 2^20
        inflow = self.top_q16 if energy_fj > _UINT32_MAX else min(energy_fj * table.inflow_q32 >> 32, self.top_q16)
        later, limit = energy + inflow, question.deadline_left_us | 0xFF
        reach = later - (inflow >> 3)
        best, answer = self._worth_at(row, later), Answer(Action.DEFER)
        for gain, cost, need, step, path, exit in self._start:
            ready = need <= energy
            if step > limit or (not ready and need > reach):
                continue
            total = gain if ready else (gain >> 8) * table.patience_q15 >> 7
            total += self._worth_at(row, max(later - cost, 0))
            if total > best:
                best = total
                answer = (
                    Answer(Action.START, path, exit) if ready else Answer(Action.DEFER, wake_q16=need + (need >> 5))
                )
        return answer

    def _go_on(self, question: Question, row: list[int]) -> Answer:
        node = self._node_of[question.path][question.exit]
        answer = Answer(Action.STOP)
        if node == NO_NODE:
            return answer
        state = node * self.table.n_bins + bisect_right(self._borders_q15[node], question.confidence_q15)
        energy = question.energy_q16
        best = self._stop_gain[state] + self._worth_at(row, energy)
        limit = question.deadline_left_us | 0xFF
        for gain, cost, need, step, path, exit in self._menus[state]:
            if need > energy or step > limit:
                continue
            total = gain + self._worth_at(row, max(energy - cost, 0))
            if total > best:
                best, answer = total, Answer(Action.CONTINUE, path, exit)
        return answer


def to_decision(answer: Answer, top_q16: int, full_j: float) -> Decision:
    """Return an answer as a :class:`Decision`."""
    if answer.action is Action.DEFER:
        return Decision(action=Action.DEFER, wake_j=answer.wake_q16 / top_q16 * full_j if answer.wake_q16 else None)
    if answer.action is Action.STOP:
        return Decision(action=Action.STOP)
    return Decision(action=answer.action, path=answer.path, exit=answer.exit)
