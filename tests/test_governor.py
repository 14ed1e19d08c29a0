# SPDX-License-Identifier: Apache-2.0
"""Policy tables: Python and C answer every question alike, damage is refused, and what a board pays for a decision."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_experience import experience, fake_context, sunny_days

from joulet._core import ffi, lib
from joulet.errors import PolicyError
from joulet.policies.governor import Answer, Governor, HarvestMean, Question
from joulet.policies.shadow import Shadow, ShadowSettings, without_experience
from joulet.policies.tables import BYTES_LIMIT, HEADER_BYTES, PolicyTable
from joulet.records import Action

_ACTIONS = {1: Action.DEFER, 2: Action.START, 3: Action.CONTINUE, 4: Action.STOP}


class InC:
    """A table on the C side."""

    def __init__(self, data: bytes) -> None:
        self._words = np.zeros((len(data) + 7) // 8, np.uint64)
        self._words.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
        self.governor = ffi.new("jlt_governor_t *")
        base = ffi.cast("const void *", self._words.ctypes.data)
        self.status = lib.jlt_governor_check(base, len(data), self.governor)

    def decide(self, question: Question) -> Answer:
        asked = ffi.new("jlt_question_t *")
        for name in ("energy_q16", "harvest_nw", "slow_nw", "deadline_left_us", "half_hour", "path", "exit",
                     "confidence_q15", "at_exit"):  # fmt: skip
            setattr(asked, name, getattr(question, name))
        answer = lib.jlt_governor_decide(self.governor, asked)
        action = _ACTIONS[answer.action]
        moves = action in (Action.START, Action.CONTINUE) or (action is Action.DEFER and answer.wake_q16)
        return Answer(action, answer.path if moves else 0, answer.exit if moves else 0, answer.wake_q16)


@pytest.fixture(scope="module", params=["small store", "large store", "no days", "nothing known"])
def table(request: pytest.FixtureRequest) -> PolicyTable:
    inferences = {"small store": 1.0, "large store": 40.0, "no days": 5.0, "nothing known": 3.0}[request.param]
    context = fake_context(full_j=inferences * 1.2e-4, period_s=300.0)
    shadow = Shadow(ShadowSettings(fit_levels=96, exact_levels=96))
    past = without_experience(context)
    if request.param != "nothing known":
        days = sunny_days(2, peak_w=1e-6)
        shorter = [replace(day, power_w=day.power_w[500:700]) for day in days]
        past = experience(context, tuple(shorter) if request.param == "no days" else days)
    shadow.fit(past)
    assert shadow.table is not None
    return shadow.table


def questions(table: PolicyTable) -> list[Question]:
    """Every grid point of the table: levels, slots, harvest levels and bins, and both sides of each border."""
    energies = [level << 16 for level in range(table.n_levels)] + [
        (level << 16) - 1 for level in range(1, table.n_levels)
    ]
    quick = sorted({0, *(int(b) + d for b in table.harvest_nw.reshape(-1) for d in (-1, 0) if 0 < b < 2**32 - 1)})
    slow = sorted({0, *(int(b) + d for b in table.slow_nw for d in (-1, 0) if 0 < b < 2**32 - 1)})
    half_hours = range(0, 48, 48 // table.n_slots)
    asked = [
        Question(energy_q16=e, harvest_nw=q, slow_nw=s, deadline_left_us=left, half_hour=h)
        for e, q, s, h, left in itertools.product(energies[::3], quick, slow, half_hours, (0, 900_000))
    ]
    places = itertools.product(range(table.n_paths), range(table.n_exits))
    confidences = sorted({0, 32767, *(int(b) + d for b in table.borders_q15.reshape(-1) for d in (-1, 0) if b > 0)})
    asked += [
        Question(energy_q16=e, harvest_nw=quick[-1], slow_nw=slow[-1], deadline_left_us=900_000, half_hour=24,
                 path=path, exit=exit, confidence_q15=c, at_exit=True)
        for (path, exit), e, c in itertools.product(places, energies[::2], confidences)
    ]  # fmt: skip
    return asked


def test_python_and_c_agree_on_every_grid_point(table: PolicyTable) -> None:
    python, in_c = Governor(table), InC(table.to_bytes())
    assert in_c.status == 0
    asked = questions(table)
    differing = [q for q in asked if python.decide(q) != in_c.decide(q)]
    assert len(asked) > 1000
    assert not differing, f"{len(differing)} of {len(asked)}, first {differing[0]}"


def test_answers_are_legal_and_affordable(table: PolicyTable) -> None:
    governor = Governor(table)
    needs = {}
    for option in table.options[: table.menus[1]]:
        link = table.links[int(option["step"]) & 0xFF]
        needs[(int(link["path"]), int(link["exit"]))] = int(option["need_q16"])
    for question in questions(table)[::7]:
        answer = governor.decide(question)
        if answer.action is Action.START:
            assert needs[(answer.path, answer.exit)] <= question.energy_q16
        if answer.action is Action.CONTINUE:
            assert answer.exit > question.exit


def test_fits_a_board_and_comes_back(table: PolicyTable) -> None:
    data = table.to_bytes()
    assert len(data) <= BYTES_LIMIT
    assert PolicyTable.from_bytes(data).to_bytes() == data
    source = table.to_c()
    words = [
        int(word, 16) for word in source.split("{")[1].replace("}", "").replace(";", "").split(",") if word.strip()
    ]
    assert np.array(words, "<u4").tobytes() == data


def test_damage_is_refused_by_both(table: PolicyTable) -> None:
    data = table.to_bytes()
    rng = np.random.default_rng(3)
    for cut in (0, 10, HEADER_BYTES, len(data) - 4):
        assert InC(data[:cut]).status != 0
        with pytest.raises(PolicyError):
            PolicyTable.from_bytes(data[:cut])
    for at in rng.integers(0, len(data), 200):
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(rng.integers(8))
        hash_or_spare = 16 <= at < 32 or 56 <= at < HEADER_BYTES
        assert (InC(bytes(damaged)).status != 0) or hash_or_spare or _harmless(bytes(damaged))


def _harmless(damaged: bytes) -> bool:
    """A flipped header figure that leaves the layout whole (a shift, a window): still a table that cannot misread memory."""
    in_c = InC(damaged)
    question = Question(energy_q16=5 << 16, harvest_nw=1000, slow_nw=1000, deadline_left_us=1000, half_hour=47)
    return in_c.status == 0 and in_c.decide(question).action in _ACTIONS.values()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_hostile_tables_never_misread(table: PolicyTable, data: Any) -> None:
    """A valid checksum over nonsense: the check refuses it, or every answer stays inside the tables (run under ASan too)."""
    raw = bytearray(table.to_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(32, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw[12:16] = zlib.crc32(bytes(raw[HEADER_BYTES:])).to_bytes(4, "little")
    in_c = InC(bytes(raw))
    if in_c.status != 0:
        return
    header = in_c.governor.header
    for path, exit in itertools.product(range(header.n_paths), range(header.n_exits)):
        for energy in (0, 3 << 16, 0xFFFFFFFF):
            in_c.decide(Question(energy_q16=energy, harvest_nw=2**31, slow_nw=2**31, deadline_left_us=2**31,
                                 half_hour=47, path=path, exit=exit, confidence_q15=40000, at_exit=True))  # fmt: skip
            in_c.decide(Question(energy_q16=energy, harvest_nw=0, slow_nw=0, deadline_left_us=0, half_hour=0))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(-(10**9), 10**12), st.integers(0, 2**31 - 1)), max_size=40)
)
def test_means_of_harvest_agree(table: PolicyTable, steps: list[tuple[int, int, int]]) -> None:
    python, in_c = HarvestMean(table), InC(table.to_bytes())
    mean = ffi.new("jlt_harvest_mean_t *")
    time_us = delivered_nj = 0
    for passed_us, gained_nj, now_nw in steps:
        time_us, delivered_nj = time_us + passed_us, delivered_nj + gained_nj
        python.take(time_us, delivered_nj, now_nw)
        lib.jlt_harvest_mean_take(mean, in_c.governor, time_us, delivered_nj, now_nw)
        assert (python.mean_nw, python.slow_nw) == (mean.mean_nw, mean.slow_nw)
