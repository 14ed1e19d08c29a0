# SPDX-License-Identifier: Apache-2.0
"""An engine without a network, and a board on which figures are easy to work out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulet.engine.seam import Array, ExitEvent
from joulet.records import CostTable, LoadFigures, StepCost

# 1 MHz and 1 nJ a cycle: 1 mW while running, 1 ms and 1 µJ a kilocycle
LOAD = LoadFigures(
    clock_hz=1_000_000,
    energy_pj_per_cycle=1000,
    sleep_w=1e-6,
    sensing_j=0.0,
    wake_cycles=0,
    decision_cycles=0,
    max_v=3.6,
    on_v=2.4,
    off_v=1.8,
)
PREFIXES = ((0, 0, 0), (1, 1, 1), (1, 0, 0))
CYCLES = ((40_000, 80_000, 120_000), (20_000, 40_000, 60_000), (20_000, 60_000, 100_000))
ACCURACY = ((0.8, 0.9, 0.95), (0.7, 0.8, 0.85), (0.7, 0.88, 0.93))


def cost_table(scale: int = 1) -> CostTable:
    """Three paths (w8, w4, switched after exit 0) with three exits."""
    steps = []
    for prefix, cycles in zip(PREFIXES, CYCLES, strict=True):
        done = (0, *cycles)
        macs = (0, 1000, 2000, 3000)
        bits = [8 if p == 0 else 4 for p in prefix]
        steps.append(
            tuple(
                tuple(
                    None
                    if stop < start
                    else StepCost(
                        cycles=(done[stop + 1] - done[start]) * scale,
                        macs=macs[stop + 1] - macs[start],
                        bit_macs=sum(1000 * bits[j] for j in range(start, stop + 1)),
                    )
                    for stop in range(3)
                )
                for start in range(4)
            )
        )
    return CostTable(
        board="fake",
        path_names=("w8", "w4", "w4>w8@0"),
        exit_names=("a", "b", "last"),
        steps=tuple(steps),
        prefixes=PREFIXES,
        accuracy=ACCURACY,
    )


class FakeEngine:
    """Right when the sample's number allows: sample s is answered right from exit s % 3 on; confidence says so."""

    inputs = outputs = ()
    exit_names = ("a", "b", "last")
    path_names = ("w8", "w4", "w4>w8@0")
    model_hash = "00" * 32

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self._sample = self._exit = self._path = -1

    def infer(self, inputs: Sequence[Array], *, path: int | str = 0, depth: int | str = "last") -> None:  # type: ignore[override]
        raise NotImplementedError

    def start(self, inputs: Sequence[Array], path: int) -> None:
        self._sample, self._path, self._exit = int(np.asarray(inputs[0]).reshape(-1)[0]), path, -1
        self.calls.append(("start", path))

    def run_to_exit(self, exit: int) -> ExitEvent:
        assert exit > self._exit, "an engine never goes back"
        self._exit = exit
        self.calls.append(("run_to_exit", exit))
        right = exit >= self._sample % 3
        return ExitEvent(exit=exit, confidence_q15=32600 if right else 9000, macs=1000 * (exit + 1))

    def switch(self, path: int) -> None:
        assert PREFIXES[path][: self._exit + 1] == PREFIXES[self._path][: self._exit + 1]
        self._path = path
        self.calls.append(("switch", path))

    def answer(self) -> npt.NDArray[np.int8]:
        scores = np.zeros((1, 4), np.int8)
        scores[0, 1 if self._exit >= self._sample % 3 else 0] = 100
        return scores
