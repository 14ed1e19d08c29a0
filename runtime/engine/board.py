# SPDX-License-Identifier: Apache-2.0
"""A container on a board behind a link: a real one on a serial port, a virtual one, or QEMU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from joulet.container.read import Container
from joulet.engine.borders import AUTO, Borders
from joulet.engine.seam import Array, Depth, ExitEvent, InferResult, TensorInfo
from joulet.errors import EngineError
from joulet.link.client import Board, Reached

Progress = Callable[[str, int, int], None]


class Counter(Protocol):
    """What counts the instructions and cycles of an inference, where the board cannot itself."""

    def begin(self) -> None:
        """The next inference is about to begin."""

    def read(self, reached: Reached) -> tuple[int, int]:
        """Return (instructions, cycles) from the beginning of the inference to the exit just reached; 0 where unknown."""


class BoardCounter:
    """Believes the board: cycles of its own counter, no instructions."""

    def begin(self) -> None:
        """Nothing to prepare."""

    def read(self, reached: Reached) -> tuple[int, int]:
        return 0, reached.cycles


class BoardEngine(Borders):
    """A container on a board that speaks the link; it runs integer paths.

    Parameters
    ----------
    container : bytes or Path
        A .jlt container. It is uploaded unless the board holds this very model.
    board : Board
        Greeted board; it stays the caller's.
    counter : Counter, optional
        Counts instructions and cycles; the board's own counter without.
    progress : callable, optional
        Told (what, done, total) during the upload.

    Attributes
    ----------
    marks
        Mark bits of the wire: what the board's marker pins show of each inference besides its phase; 0 for nothing.

    Raises
    ------
    EngineError
        If the board does not take the model, for instance for want of memory.
    """

    def __init__(
        self,
        container: bytes | Path,
        board: Board,
        *,
        counter: Counter | None = None,
        progress: Progress | None = None,
    ) -> None:
        data = container.read_bytes() if isinstance(container, Path) else bytes(container)
        super().__init__(Container.from_bytes(data))
        self.board = board
        self._counter: Counter = counter or BoardCounter()
        self.marks = 0
        self._sent: bytes | None = None
        self._reached: Reached | None = None
        if board.hello.model_hash != self.model_hash or board.hello.model_status != 0:
            board.upload("MODEL", data, None if progress is None else lambda done, all: progress("model", done, all))
            board.greet()
        hello = board.hello
        if hello.model_status != 0 or hello.model_hash != self.model_hash:
            raise EngineError(
                f"board {hello.board} does not take the model (status {hello.model_status}): it has {hello.work_bytes:,} "
                "bytes for arena and input; joulet inspect tells what the model needs"
            )

    @property
    def arena_bytes(self) -> int:
        """Working memory that the board gives the most demanding path [bytes]."""
        return self.board.hello.arena_bytes

    def infer(self, inputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last") -> InferResult:
        """Run a batch sample by sample; see :meth:`joulet.engine.host.HostEngine.infer`.

        Raises
        ------
        DataError
            When an array does not fit the model.
        LinkError
            When the board does not answer, or refuses the path.
        """
        arrays = self.check_inputs(inputs)
        n, path, exit = len(arrays[0]), self.path_index(path), self.depth_index(depth)
        outputs = self.new_outputs(n)
        result = InferResult(
            outputs=tuple(outputs),
            exit=np.zeros(n, np.uint8),
            confidence_q15=np.zeros(n, np.uint16),
            macs=np.zeros(n, np.uint64),
            cycles=np.zeros(n, np.uint64),
            instructions=np.zeros(n, np.uint64),
        )
        assert result.cycles is not None
        assert result.instructions is not None
        for index in range(n):
            self._send([array[index] for array in arrays])
            self._counter.begin()
            reached = self.board.infer(path, None if exit == AUTO else exit, self.marks)
            result.instructions[index], result.cycles[index] = self._counter.read(reached)
            result.exit[index], result.confidence_q15[index] = reached.exit, reached.confidence_q15
            result.macs[index] = reached.macs
            self._take(self.board.answer(self._answer_bytes(reached.exit)), outputs, index, reached.exit)
        return result

    def start(self, inputs: Sequence[Array], path: int) -> None:
        """Begin one inference along a path; each array holds one sample."""
        self._send([array[0] for array in self.check_inputs([np.asarray(array)[np.newaxis] for array in inputs])])
        self._counter.begin()
        self.board.start(path, self.marks)
        self._reached = None

    def run_to_exit(self, exit: int) -> ExitEvent:
        """Run until an exit is reached, evaluating no other head."""
        self._reached = reached = self.board.step(exit)
        instructions, cycles = self._counter.read(reached)
        return ExitEvent(
            exit=reached.exit,
            confidence_q15=reached.confidence_q15,
            macs=reached.macs,
            cycles=cycles,
            instructions=instructions,
        )

    def switch(self, path: int) -> None:
        """Continue along another path that agrees in all segments already run."""
        self.board.switch(path)

    def answer(self) -> Array:
        """Return the answer of the exit just reached, shaped and typed as that exit's output."""
        if self._reached is None:
            raise EngineError("no exit has been reached yet")
        info = self.answers[self._reached.exit]
        exit = self._reached.exit
        raw = self._split(self.board.answer(self._answer_bytes(exit)), exit)[0]
        return _from_wire(raw, info.dtype).reshape(info.shape)

    def _send(self, sample: Sequence[Array]) -> None:
        """Upload one input unless it is the one that is there."""
        data = b"".join(_to_wire(array) for array in sample)
        if data != self._sent:
            self._sent = None
            self.board.upload("INPUT", data)
            self._sent = data

    def _answer_infos(self, exit: int) -> tuple[TensorInfo, ...]:
        last = exit + 1 == self.n_exits and len(self.outputs) > 1
        return self.outputs if last else (self.answers[exit],)

    def _answer_bytes(self, exit: int) -> int:
        return sum(info.bytes for info in self._answer_infos(exit))

    def _split(self, raw: bytes, exit: int) -> list[bytes]:
        infos = self._answer_infos(exit)
        if len(raw) != self._answer_bytes(exit):
            raise EngineError(f"the board answers with {len(raw)} bytes; exit {self.exit_names[exit]} has another size")
        parts, at = [], 0
        for info in infos:
            parts.append(raw[at : at + info.bytes])
            at += info.bytes
        return parts

    def _take(self, raw: bytes, outputs: Sequence[Array], index: int, exit: int) -> None:
        parts = self._split(raw, exit)
        for number, out in enumerate(outputs):
            out[index] = _from_wire(parts[number], out.dtype).reshape(out[index].shape) if number < len(parts) else 0


def _to_wire(array: Array) -> bytes:
    """Return a sample as the board keeps it: what the model takes as uint8 is int8 inside."""
    raw = np.ascontiguousarray(array)
    return (raw ^ np.uint8(0x80)).tobytes() if raw.dtype == np.uint8 else raw.tobytes()


def _from_wire(raw: bytes, dtype: np.dtype[np.generic]) -> Array:
    array = np.frombuffer(raw, dtype)
    return array ^ np.uint8(0x80) if dtype == np.uint8 else array
