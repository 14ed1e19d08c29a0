# SPDX-License-Identifier: Apache-2.0
"""The governor as a microcontroller runs it: same answers, and at most 300 Thumb instructions a decision on a Cortex-M4."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from policy_experience import experience, fake_context, sunny_days
from thumb import RAM, Thumb, need_tools

from joulet.policies.governor import Answer, Governor, Question
from joulet.policies.shadow import Shadow
from joulet.records import Action

_TABLE, _GOVERNOR, _QUESTION, _ANSWER = RAM, RAM + 0x4000, RAM + 0x5000, RAM + 0x5100
_ACTIONS = {1: Action.DEFER, 2: Action.START, 3: Action.CONTINUE, 4: Action.STOP}
# the M0+ multiplies 32 × 32 → 64 and divides in software and has eight registers for it
MOST = {"cortex-m4": 300, "cortex-m0plus": 700}


class Board:
    """A governor with its table in an emulated microcontroller."""

    def __init__(self, folder: Path, cpu: str, data: bytes) -> None:
        self._thumb = Thumb(folder, cpu, ("core/governor.c", "core/crc32.c"))
        self._thumb.write(_TABLE, data)
        status, self.check_instructions = self._thumb.call("jlt_governor_check", _TABLE, len(data), _GOVERNOR)
        assert status == 0

    def decide(self, q: Question) -> tuple[Answer, int]:
        packed = struct.pack("<IIIIHBBB?2x", q.energy_q16, q.harvest_nw, q.slow_nw, q.deadline_left_us,
                             q.confidence_q15, q.half_hour, q.path, q.exit, q.at_exit)  # fmt: skip
        self._thumb.write(_QUESTION, packed)
        _, executed = self._thumb.call("jlt_governor_decide", _ANSWER, _GOVERNOR, _QUESTION)
        action, path, exit, wake = struct.unpack("<BBBxI", self._thumb.read(_ANSWER, 8))
        moves = _ACTIONS[action] in (Action.START, Action.CONTINUE) or wake
        return Answer(_ACTIONS[action], path if moves else 0, exit if moves else 0, wake), executed


def ask(governor: Governor, rng: np.random.Generator, count: int) -> list[Question]:
    """Random questions all over the table."""
    table = governor.table
    return [
        Question(
            energy_q16=int(rng.integers(governor.top_q16 + 1)),
            harvest_nw=int(rng.integers(2_000)),
            slow_nw=int(rng.integers(2_000)),
            deadline_left_us=int(rng.integers(300_000_000)),
            half_hour=int(rng.integers(48)),
            path=int(rng.integers(table.n_paths)),
            exit=int(rng.integers(table.n_exits)),
            confidence_q15=int(rng.integers(32768)),
            at_exit=bool(rng.integers(2)),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m0plus"])
@pytest.mark.parametrize("inferences", [1.0, 40.0])
def test_answers_alike_within_its_instructions(tmp_path: Path, cpu: str, inferences: float) -> None:
    need_tools()
    shadow = Shadow()
    context = fake_context(full_j=inferences * 1.2e-4, period_s=300.0)
    shadow.fit(experience(context, sunny_days(2, peak_w=1e-6)))
    assert shadow.table is not None
    governor, board = Governor(shadow.table), Board(tmp_path, cpu, shadow.table.to_bytes())
    executed = []
    for question in ask(governor, np.random.default_rng(1), 600):
        answer, count = board.decide(question)
        assert answer == governor.decide(question), question
        executed.append(count)
    print(f"{cpu}: {np.mean(executed):.0f} instructions a decision, at most {max(executed)}")
    assert max(executed) <= MOST[cpu]
