# SPDX-License-Identifier: Apache-2.0
"""A virtual board profiled through a simulated PPK2, beside what it truly drew between the edges of its markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulet.boards import load_board
from joulet.emulator.power import Phase
from joulet.link import wire
from joulet.plan.on_board import planned_for
from joulet.profile import Row, Sync
from joulet.profile.board import Taken, rows_of, take, windows_by_clock, windows_by_markers
from joulet.tools.profile import cases_of, virtual_bench


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What was taken down, and what the supply gave meanwhile.

    ``ops_j`` from the first op's beginning to the last one's end, ``start_j`` from START on, of each case [J].
    """

    taken: Taken
    exit_names: Sequence[str]
    ops_j: Sequence[float]
    start_j: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Rows as measured, and what was truly drawn within what their windows say that they hold [J]."""

    rows: Sequence[Row]
    true_j: Sequence[float]
    recording: Recording
    sync: Sync


def record(model: bytes, sample: np.ndarray, repeats: int = 6, board: str = "virtual_m4", **others: bool) -> Recording:
    """Run every path to every exit of a model as the board gets it."""
    drawn: list[list[float]] = []
    with virtual_bench(planned_for(model, board), board, **others) as bench:
        engine, counter, virtual = bench.engine, bench.counter, bench.virtual
        assert virtual is not None

        def on_phase(before: Phase, after: Phase) -> None:
            now_j = virtual.power.drawn_j
            if after is Phase.INFER:
                while len(drawn) < len(counter.stamps):
                    drawn.append([now_j, now_j])
            if before is Phase.INFER:
                drawn[-1][1] = now_j

        engine.marks = wire.CODES["Mark"]["EXIT"]
        cases = cases_of(engine, None, None)
        begin = counter.begin

        def begun() -> None:
            begin()
            if len(counter.stamps) == 1:
                drawn.clear()  # what came before was to warm up

        counter.begin = begun  # type: ignore[method-assign]
        virtual.on_phase = on_phase
        taken = take(engine, bench.board, counter, bench.recorder, [sample], cases, repeats, lambda done, all: None)
        exit_names = engine.exit_names
    assert len(drawn) == len(taken.stamps) == repeats * len(cases)
    load = load_board(board).load
    running_w = load.clock_hz * load.energy_pj_per_cycle * 1e-12  # of a core that does not sleep in between
    length_s = np.array([stamp.ticks for stamp in taken.stamps], float).reshape(repeats, len(cases)) / taken.tick_hz
    spent_j = np.array([end - start for start, end in drawn]).reshape(repeats, len(cases))
    return Recording(
        taken=taken,
        exit_names=exit_names,
        ops_j=spent_j.mean(axis=0).tolist(),
        start_j=(length_s.mean(axis=0) * running_w).tolist(),
    )


def judge(recording: Recording, sync: str) -> Truth:
    """Put energy and inferences together: by ``markers`` or by ``clock``, which does not look at the pins."""
    doubt_j = None
    if sync == "markers":
        windows, how = windows_by_markers(recording.taken, 0)
    else:
        windows, how, doubt_j = windows_by_clock(recording.taken)
    rows = rows_of(recording.taken, windows, how, recording.exit_names, doubt_j)
    true_j = recording.ops_j if sync == "markers" else recording.start_j
    return Truth(rows=rows, true_j=true_j, recording=recording, sync=how)
