# SPDX-License-Identifier: Apache-2.0
"""Instructions of each op on a board that only QEMU has: firmware reads its clock at an inference's start and after every op."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from model_zoo import Net

from joulet.compile import compile_model
from joulet.container.read import Container
from joulet.emulator.qemu import QemuBoard
from joulet.engine.board import BoardCounter, BoardEngine
from joulet.engine.seam import Array
from joulet.link import connect
from joulet.link.client import Reached


class _Ticks(BoardCounter):
    """Keeps how long an inference has taken by the board's own clock."""

    last = 0

    def read(self, reached: Reached) -> tuple[int, int]:
        self.last = reached.ticks
        return super().read(reached)


def op_instructions(data: bytes, board: str, sample: tuple[Array, ...]) -> npt.NDArray[np.float64]:
    """Return the instructions of each op at each precision, ``(n_precisions, n_ops)``: of one exit without bands; 0 at f32.

    What starts an inference, which copies the input, is taken off its first op.
    """
    counted = _with_start(data, board, sample)
    start = start_instructions(board, [array.nbytes for array in sample])
    counted[counted.any(axis=1), 0] -= start
    return counted


def start_instructions(board: str, input_bytes: list[int]) -> float:
    """Return the instructions from the beginning of an inference to its first op: inputs are copied by words, then bytes."""
    call, word, byte = _start_prices(board)
    return call + sum(word * (size // 4) + byte * (size % 4) for size in input_bytes)


@cache
def _start_prices(board: str) -> tuple[float, float, float]:
    """Return what a start takes, for a word of input, and for a byte: what the first of three equal ops takes more."""
    sizes = (64, 4096, 67)
    more = []
    for size in sizes:
        net = Net("three tables", 1)
        tensors = [net.act(f"t{index}", (1, size), 1.0 / 128.0, 0) for index in range(4)]
        for x, y in pairwise(tensors):
            net.op("TANH", (x,), (y,))
        model = net.finish((tensors[0],), (tensors[-1],))
        data = compile_model(model, exits="off", precisions=("w8",)).container
        first, second, _ = _with_start(data, board, (np.zeros((1, size), np.int8),))[0]
        more.append(first - second)
    call, word, byte = np.linalg.solve([[1, size // 4, size % 4] for size in sizes], more)
    return float(call), float(word), float(byte)


def _with_start(data: bytes, board: str, sample: tuple[Array, ...]) -> npt.NDArray[np.float64]:
    container = Container.from_bytes(data)
    assert len(container.exits) == 1
    found = np.zeros((len(container.precisions), len(container.ops)))
    ticks = _Ticks()
    with QemuBoard(board, {"model": data}, note_clock=True) as qemu, connect(qemu.port) as link:
        engine = BoardEngine(data, link, counter=ticks)
        for path, each in enumerate(container.paths):
            precision = int(each["precisions"][0])
            if container.precisions[precision]["is_f32"] or found[precision].any():
                continue
            before = len(qemu.clock_ticks())
            engine.infer([array[None] for array in sample], path=path)
            steps = _between(qemu.clock_ticks()[before:], len(container.ops), ticks.last)
            found[precision] = [qemu.instructions(step) for step in steps]
    return found


def _between(readings: list[int], n_ops: int, ticks: int) -> list[int]:
    """Return the ticks of each op, out of readings of which so many follow the first one of an inference of so many ticks."""
    for first in range(len(readings) - n_ops):
        here = readings[first : first + n_ops + 1]
        if here[-1] - here[0] == ticks:
            return [end - begin for begin, end in pairwise(here)]
    raise AssertionError("the clock was not read once after each op")
