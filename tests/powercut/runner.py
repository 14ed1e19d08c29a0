# SPDX-License-Identifier: Apache-2.0
"""Cut, restart, look: what must hold after every loss of power.

A cut is judged in one of two ways. *Whole*: the board runs on to its answer, which must be that of the uninterrupted run.
*By induction*: the board runs on to its next commit at the end of an op, and every tensor that is still needed must hold in
memory exactly what it holds in the uninterrupted run. What follows is then the same, since it depends on nothing else.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from joulet.emulator.power import Phase

from .scenario import WARN_MV, Case, Machine

_SNAPSHOTS = 120
_COPY_INSTRUCTIONS = 900_000  # some more than copying the largest live set takes
_FAULTS = ("clean", "dropped", "torn", "garbage")


@dataclass(slots=True)
class Tally:
    """What a campaign counts."""

    cuts: int = 0
    wrong_answers: int = 0
    lost_commits: int = 0
    unbootable: int = 0
    max_redone_intervals: int = 0
    whole: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another tally."""
        for name in ("cuts", "wrong_answers", "lost_commits", "unbootable", "whole"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.max_redone_intervals = max(self.max_redone_intervals, other.max_redone_intervals)
        self.failures += other.failures


@dataclass(frozen=True, slots=True)
class Golden:
    """The uninterrupted run: instructions of the first commit and of the end, answers, and what memory holds of each tensor."""

    begun: int
    end: int
    longest: int
    answers: tuple[tuple[int, int, int], ...]  # exit, class, confidence q15
    tensors: dict[int, bytes]


class Runner:
    """Cuts one case again and again.

    Parameters
    ----------
    case : Case
        What runs.
    container, sample
        Model and one input.
    firmware
        Another firmware than the one built from source, for testing this.
    """

    def __init__(self, case: Case, container: bytes, sample: tuple[np.ndarray, ...], firmware: object = None) -> None:
        self.case = case
        self.machine = Machine(case, container, sample, firmware)  # type: ignore[arg-type]
        # a run that keeps everything tells what each tensor must be
        keeps = Case(
            model=case.model, strategy="IN_NVM", path=case.path, exit=case.exit, every=case.every, commit_cycles=0
        )
        self.tensors = self._reference(Machine(keeps, container, sample))
        self.golden = self._golden()
        self._saved = self._save(_SNAPSHOTS)

    def _reference(self, machine: Machine) -> dict[int, bytes]:
        machine.board.power_on()
        machine.board.run(pause_s=1000.0)
        return {index: machine.tensor(index) for index in machine.places}

    def _golden(self) -> Golden:
        machine, board = self.machine, self.machine.board
        machine.renew()
        board.power_on()
        start = board.core.instructions
        at: list[int] = []
        machine.commits = lambda: at.append(board.core.instructions - start)
        board.run(pause_s=1000.0)
        machine.commits = None
        board.cut()
        answers = tuple(_answer(record) for record in machine.answers())
        if len(answers) != (self.case.exit + 1 if self.case.every else 1):
            raise AssertionError(f"{self.case.name}: the uninterrupted run answers {len(answers)} times")
        gaps = np.diff([0, *at])
        return Golden(at[0], at[-1], int(gaps.max()), answers, self.tensors)

    def _save(self, count: int) -> list[tuple[int, tuple[Any, ...], float]]:
        """Return (instructions, state, time) at places along the uninterrupted run: where cuts start from."""
        machine, board = self.machine, self.machine.board
        machine.renew()
        board.power_on()
        start = board.core.instructions
        saved = [(0, board.save(), 0.0)]
        for at in np.linspace(self.golden.begun, self.golden.end, count, endpoint=False).astype(int).tolist():
            board.run(until_instructions=start + at, pause_s=1000.0)
            board.settle()
            saved.append((at, board.save(), machine.supply.now_s))
        board.cut()
        return saved

    def _go_to(self, at: int) -> None:
        """Bring the board to an instruction of the uninterrupted run."""
        machine, board = self.machine, self.machine.board
        place, state, now_s = self._saved[bisect_right([each[0] for each in self._saved], at) - 1]
        machine.renew()
        board.restore(state)
        machine.supply.now_s = now_s
        if at > place:
            board.run(until_instructions=board.core.instructions + at - place, pause_s=1000.0)

    def cut(self, seed: int, *, depth: int = 1, whole: bool = False, at: int | None = None) -> Tally:
        """Cut a run ``depth`` times, the first time ``at`` instructions after the first commit; return what went wrong.

        The same seed cuts at the same places.
        """
        rng = random.Random(seed)
        tally = Tally()
        machine, board = self.machine, self.machine.board
        span = self.golden.end - self.golden.begun
        first = self.golden.begun + (at if at is not None else rng.randrange(1, max(2, span)))
        identity = f"{self.case.name} seed {seed} depth {depth} at {first}"
        ahead = self._approach(rng, first)
        for level in range(depth):
            if level > 0:
                ahead = rng.randrange(1, 400_000)
            board.run(until_instructions=board.core.instructions + ahead, pause_s=1000.0)
            before, written = machine.record(), machine.answers()
            self._take_away(rng.choice(_FAULTS), rng)
            tally.cuts += 1
            after, left = machine.record(), machine.answers()
            changed = any(_answer(a) != _answer(b) for a, b in zip(written, left, strict=False))
            # what was torn while it was being written had not been committed
            if changed or len(written) - len(left) > self._writing:
                tally.lost_commits += 1
                tally.failures.append(f"{identity}: a committed answer is gone")
            lost = 0 if before is None or after is None else int(before["sequence"]) - int(after["sequence"])
            tally.max_redone_intervals = max(tally.max_redone_intervals, 1 + max(0, lost - self._writing))
            board.power_on()
        self._judge(identity, tally, whole)
        board.cut()
        return tally

    def _approach(self, rng: random.Random, first: int) -> int:
        """Go near the cut; return the instructions left. The warning comes on the way, early or late, where it counts."""
        if not self.case.warned:
            self._go_to(first)
            return 0
        early = rng.randrange(0, _COPY_INSTRUCTIONS)
        self._go_to(max(self.golden.begun, first - early))
        self.machine.supply.voltage_v = (WARN_MV - 50) / 1e3
        return early

    def _take_away(self, fault: str, rng: random.Random) -> None:
        board = self.machine.board
        self._writing = int(board.phase is Phase.COMMIT)
        board.cut()
        board.lose_power(fault, rng)
        self.machine.supply.voltage_v = 2.4

    def _judge(self, identity: str, tally: Tally, whole: bool) -> None:
        machine, board = self.machine, self.machine.board
        limit = board.core.instructions + 3 * self.golden.end + 1_000_000  # an op may be most of an inference
        done: list[bool] = []

        def look() -> None:
            record = machine.record()
            ended = record is not None and not record["running"]
            if ended or (not whole and record is not None and int(record["unit"]) == 0):
                done.append(ended)
                board.core.stop()

        machine.commits = look
        state = "pause"
        while not done and board.core.instructions < limit and state not in ("idle", "off"):
            state = board.run(until_instructions=limit, pause_s=1000.0)
        machine.commits = None
        record = machine.record()
        if not done and state == "idle" and record is not None and not record["running"]:
            done.append(True)  # it had ended before the cut
        if not done:
            tally.unbootable += 1
            tally.failures.append(f"{identity}: no commit within {limit:,} instructions ({state})")
            return
        assert record is not None
        tally.whole += int(whole)
        wrong = self._wrong(record, done[0])
        if wrong:
            tally.wrong_answers += 1
            tally.failures.append(f"{identity}: {wrong}")

    def _wrong(self, record: np.void, ended: bool) -> str:
        machine = self.machine
        found = [_answer(each) for each in machine.answers()]
        expected = list(self.golden.answers)
        unique = [answer for index, answer in enumerate(found) if answer not in found[:index]]
        if unique != expected[: len(unique)]:
            return f"answers {unique}, not {expected[: len(unique)]}"
        if ended:
            return "" if unique == expected else f"ended with {unique}, not {expected}"
        for tensor in machine.live(int(record["next_op"])):
            if machine.tensor(tensor) != self.golden.tensors[tensor]:
                return f"tensor {tensor} is wrong before op {int(record['next_op'])}"
        return ""


def _answer(record: np.void) -> tuple[int, int, int]:
    return int(record["exit"]), int(record["predicted"]), int(record["confidence_q15"])


def seeds(seed: int, count: int) -> Iterator[int]:
    """Yield seeds of single cuts from the seed of a campaign."""
    rng = random.Random(seed)
    for _ in range(count):
        yield rng.randrange(1 << 48)
