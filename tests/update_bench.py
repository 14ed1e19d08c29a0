# SPDX-License-Identifier: Apache-2.0
"""Updates that power cuts interrupt: what the board's non-volatile memory holds at any instruction, and what boots from it.

A cut takes all that is volatile. So the board under update is only paused where power would be lost: its flash and FRAM are
copied onto a second board, which is switched on and asked what it runs, while the first one goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from link_bench import inputs

from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.host import HostEngine
from joulet.link import Board, connect
from joulet.link.port import Port


class Model:
    """A container, its hash, and an inference with the answer it must have."""

    def __init__(self, container: bytes) -> None:
        engine = HostEngine(container)
        self.container, self.hash = container, engine.model_hash
        x = inputs(container)[0]
        self.input, self.exit = x.tobytes(), len(engine.exit_names) - 1
        expected = engine.infer([x[None]], path=engine.path_names[0], depth=self.exit)
        self.answer = expected.outputs[0].tobytes()

    def answers(self, board: Board) -> bool:
        """Whether a board runs this very model."""
        board.upload("INPUT", self.input)
        board.infer(0, self.exit)
        return board.hello.model_hash == self.hash and board.answer() == self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What outlives power."""

    flash: npt.NDArray[np.uint8]
    fram: bytes

    @classmethod
    def of(cls, board: VirtualBoard) -> Memory:
        return cls(flash=board.core.flash.copy(), fram=bytes(board.fram.data))

    def onto(self, board: VirtualBoard) -> None:
        board.cut()
        board.core.flash[:] = self.flash
        board.fram.data[:] = self.fram
        board.power_on()
        board.uart.tx.clear()


class PausingPort(VirtualPort):
    """A line that stops the board at counts of instructions, and hands what its memory holds to ``seen``.

    ``torn`` is the probability that a flash operation is caught in its middle: some bits done, others not.
    """

    def __init__(self, board: VirtualBoard, rng: np.random.Generator, seen: Callable[[Memory, bool], None]) -> None:
        super().__init__(board)
        self.torn = 0.0
        self._rng, self._seen = rng, seen
        self._stops: list[int] = []
        self._caught: list[Memory] = []
        self._program, self._erase = board._program, board._erase
        board._program = self._catch_program  # type: ignore[method-assign]
        board._erase = self._catch_erase  # type: ignore[method-assign]

    def detach(self) -> None:
        """Leave the board as it was."""
        self.board._program, self.board._erase = self._program, self._erase  # type: ignore[method-assign]

    def stop_at(self, counts: npt.NDArray[np.int64]) -> None:
        """Set the instructions to stop at, from here on."""
        self._stops = sorted((self.board.core.instructions + counts).tolist(), reverse=True)

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        while not self.board.uart.tx:
            while self._stops and self._stops[-1] <= self.board.core.instructions:
                self._stops.pop()
            state = self.board.run(until_tx=1, until_instructions=self._stops[-1] if self._stops else None)
            if state == "count":
                self._seen(Memory.of(self.board), False)
            while self._caught:
                self._seen(self._caught.pop(), True)
            if state in ("idle", "off"):
                break
        return super().read(n_bytes, timeout_s) if self.board.uart.tx else b""

    def _catch(self, at: int, n_bytes: int, goal: npt.NDArray[np.uint8]) -> None:
        if self._rng.random() < self.torn:
            memory = Memory.of(self.board)
            done = self._rng.integers(0, 256, n_bytes, np.uint8)
            memory.flash[at : at + n_bytes] = memory.flash[at : at + n_bytes] & ~done | goal & done
            self._caught.append(memory)

    def _catch_program(self, address: int, high: int) -> bool:
        words = np.array([self.board._flash_registers["low"], high], "<u4").view(np.uint8)
        self._catch(address - self.board.core.flash_base, 8, words)
        return self._program(address, high)

    def _catch_erase(self, address: int) -> bool:
        self._catch(address - self.board.core.flash_base, 4096, np.full(4096, 0xFF, np.uint8))
        return self._erase(address)


class Campaign:
    """Updates of one board, back and forth between two models, cut at random instructions.

    Attributes
    ----------
    counts
        cuts, and of them old, new and neither; resumed (updates finished after a cut), again (cut once more meanwhile),
        torn (cuts in the middle of a flash operation).
    problems
        One line for each cut that left neither.
    """

    def __init__(self, models: tuple[bytes, bytes], seed: int, name: str = "virtual_m4") -> None:
        self.models = (Model(models[0]), Model(models[1]))
        self._rng = np.random.default_rng(seed)
        self._board = VirtualBoard(name)
        self._board.load(self._board.facts.slots["model"].address, models[0])
        self._board.power_on()
        self._probe = VirtualBoard(name, firmware=self._board.firmware)
        self._now = 0
        self._resume_share = 0.0
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    def judge(self, memory: Memory) -> str:
        """Return old, new or neither: what boots from a memory."""
        memory.onto(self._probe)
        old, new = self.models[self._now], self.models[1 - self._now]
        with connect(VirtualPort(self._probe)) as link:
            hello = link.hello
            for word, model in (("old", old), ("new", new)):
                if hello.model_status == 0 and hello.model_hash == model.hash and model.answers(link):
                    return word
        self.problems.append(f"after {self.counts['cuts']} cuts: status {hello.model_status}, {hello.model_hash[:16]}")
        return "neither"

    def round(self, n_cuts: int, resume_share: float = 0.1) -> None:
        """Update once to the other model, or go back to it; every cut is followed to what boots."""
        self._resume_share = resume_share
        port = PausingPort(self._board, self._rng, self._count)
        with connect(port) as link:
            back = link.hello.model_other and self._rng.random() < 0.3
            whole = self._length(lambda board: self._move(board, back))
            port.stop_at(self._where(whole, n_cuts))
            port.torn = 0.0 if back else 0.1 * n_cuts / 700
            self._move(link, back)
            port.torn = 0.0
            self._now = 1 - self._now
            if not self.models[self._now].answers(link):
                self.problems.append("the update was acknowledged, and another model runs")
                self.counts["neither"] += 1
        port.detach()
        self._board.check()

    def _move(self, link: Board, back: bool) -> None:
        if back:
            link.rollback("MODEL")
        else:
            link.upload("MODEL", self.models[1 - self._now].container)
            link.greet()

    def _length(self, move: Callable[[Board], None]) -> tuple[int, int]:
        """Return the instructions of a move, and those of its last request, tried on the other board."""
        Memory.of(self._board).onto(self._probe)
        with connect(VirtualPort(self._probe)) as link:
            start = self._probe.core.instructions
            marks: list[int] = []
            request = link.request

            def watched(name: str, payload: bytes = b"", timeout_s: float | None = None) -> object:
                if name in ("COMMIT", "ROLLBACK"):
                    marks.append(self._probe.core.instructions - start)
                reply = request(name, payload, timeout_s)
                if name in ("COMMIT", "ROLLBACK"):
                    marks.append(self._probe.core.instructions - start)
                return reply

            link.request = watched  # type: ignore[method-assign, assignment]
            move(link)
            return marks[0], marks[-1]

    def _where(self, whole: tuple[int, int], n_cuts: int) -> npt.NDArray[np.int64]:
        """A third anywhere, a third while the whole is checked, a third about the end, where the record is written."""
        begin, end = whole
        anywhere = self._rng.integers(0, end, n_cuts - 2 * (n_cuts // 3))
        checking = self._rng.integers(begin, end, n_cuts // 3)
        late = end - self._rng.integers(0, min(60_000, end - begin), n_cuts // 3)
        return np.concatenate([anywhere, checking, late])

    def _count(self, memory: Memory, torn: bool) -> None:
        self.counts["cuts"] += 1
        self.counts["torn"] += torn
        self.counts[self.judge(memory)] += 1
        if self._rng.random() < self._resume_share:
            self._resume(memory)

    def _resume(self, memory: Memory) -> None:
        """Go on with the update after the cut, cut that one too if it comes to that, and finish it."""
        memory.onto(self._probe)
        new = self.models[1 - self._now]
        end: int = self._probe.core.instructions + int(self._rng.integers(100_000, 1_500_000))

        class CutOnce(VirtualPort):
            def read(self, n_bytes: int, timeout_s: float) -> bytes:
                nonlocal end
                due = end and self.board.core.instructions < end and not self.board.uart.tx
                if due and self.board.run(until_tx=1, until_instructions=end) == "count":
                    end = 0
                    self.board.cut()
                    self.board.power_on()
                return super().read(n_bytes, timeout_s)

        port: Port = CutOnce(self._probe)
        with connect(port) as link:
            if link.hello.model_hash != new.hash:
                link.upload("MODEL", new.container)
                link.greet()
            self.counts["again"] += end == 0
            end = 0
            self.counts["resumed"] += 1
            if not new.answers(link):
                self.counts["neither"] += 1
                self.problems.append("an update that was resumed did not bring the new model")
