# SPDX-License-Identifier: Apache-2.0
"""``--engine``: who computes. Shared by the commands that take one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from joulet.engine.seam import Engine
from joulet.errors import EngineError, LinkError, UsageError

if TYPE_CHECKING:
    from joulet.emulator.board import VirtualBoard
    from joulet.emulator.qemu import QemuBoard
    from joulet.engine.board import Counter
    from joulet.firmware.board_files import FirmwareFacts
    from joulet.link import Board, Port
    from joulet.link.client import Reached

ENGINES = """\
  host               the C engine on this machine, with the kernels for its core; host:ref with the reference kernels,
                     host:avx2 and so on with those of one instruction set
  litert             a plain .tflite on LiteRT (needs joulet[tflite]); litert:B.tflite,C.tflite adds files for the same
                     task to it: a ladder, in which --precision names a file
  virtual:BOARD      the real firmware on a board that is a program (needs joulet[emulator] and a compiler):
                     virtual_m4, virtual_m0plus
  qemu:BOARD         the real firmware under QEMU: qemu_mps2_an385, qemu_mps2_an386, qemu_mps2_an505,
                     qemu_mps3_an547, qemu_riscv32_virt, and the virtual boards
  serial:PORT        a board on a serial port, such as serial:/dev/ttyACM0; the model is uploaded if it is not there"""

# whether something follows the colon; None: it may
_TAKES_WHERE = {"host": None, "litert": None, "virtual": True, "qemu": True, "serial": True}


class WindowCounter:
    """Counts on a virtual board, from the start of an inference to the exit reached."""

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board

    def begin(self) -> None:
        self._board.window.clear()

    def read(self, reached: Reached) -> tuple[int, int]:
        first, last = self._board.window[0], self._board.window[-1]
        return last[0] - first[0], last[1] - first[1]


class TickCounter:
    """Counts under QEMU, whose clock counts instructions."""

    def __init__(self, board: QemuBoard) -> None:
        self._board = board

    def begin(self) -> None:
        """The board's clock runs on its own."""

    def read(self, reached: Reached) -> tuple[int, int]:
        instructions = self._board.instructions(reached.ticks)
        return instructions, self._board.cycles(instructions)


@contextmanager
def open_engine(model: Path, spec: str, *, threads: Sequence[int] = (1,)) -> Iterator[Engine]:
    """Open the engine that ``--engine`` names for a model file.

    Parameters
    ----------
    model, spec
        The file, and what ``--engine`` says.
    threads : sequence of int
        Of LiteRT; each file is a path for each number.

    Raises
    ------
    UsageError
        If there is no such engine or file.
    EngineError, LinkError, MissingDependencyError
        If it does not start.
    """
    kind, _, where = spec.partition(":")
    if kind not in _TAKES_WHERE or (_TAKES_WHERE[kind] is not None and bool(where) != _TAKES_WHERE[kind]):
        raise UsageError(
            f"--engine {spec}: give host, host:ISA, litert, litert:FILES, virtual:BOARD, qemu:BOARD or serial:PORT"
        )
    if not model.is_file():
        raise UsageError(f"cannot read '{model}': no such file; make one with joulet compile")
    if kind == "litert":
        from joulet.engine.litert import LiteRTEngine, LiteRTLadder

        rungs = ladder_files(model, where)
        yield (
            LiteRTLadder(rungs, threads=threads)
            if where or len(threads) > 1
            else LiteRTEngine(model, threads=threads[0])
        )
        return
    if model.suffix == ".tflite":
        raise UsageError(f"'{model}' is a .tflite: compile it first (joulet compile), or use --engine litert")
    if kind == "host":
        from joulet.engine.host import HostEngine

        yield HostEngine(model, isa=where.upper() or None)
        return
    with ExitStack() as stack:
        yield _board_engine(stack, model, kind, where)


def ladder_files(model: Path, more: str) -> tuple[Path, ...]:
    """Return the files of a ladder: the model, and those named besides it, each once."""
    return tuple(dict.fromkeys([model, *(Path(part.strip()) for part in more.split(",") if part.strip())]))


def _board_engine(stack: ExitStack, model: Path, kind: str, where: str) -> Engine:
    from joulet.engine.board import BoardEngine
    from joulet.engine.host import HostEngine
    from joulet.firmware.board_files import emulated_facts
    from joulet.plan.on_board import planned_for

    if kind != "serial":
        emulated_facts(kind, where)  # what is asked for is wrong, before what is missing
    data = model.read_bytes()
    HostEngine(data, isa="REF")  # every byte is checked here, where errors have names
    if kind == "serial":
        board, counter = stack.enter_context(open_board(f"{kind}:{where}", {}))
        data = planned_for(data, board.hello.board, work_bytes=board.hello.work_bytes)
    else:
        data = planned_for(data, where, work_bytes=work_of(where))
        board, counter = stack.enter_context(open_board(f"{kind}:{where}", {"model": data}))
    return BoardEngine(data, board, counter=counter, progress=_progress() if kind == "serial" else None)


def work_of(board: str) -> int:
    """Return the RAM that a board's firmware leaves to arena and inputs [bytes]."""
    from joulet.firmware.build import build_firmware, work_bytes

    return work_bytes(build_firmware(board))


@contextmanager
def open_board(spec: str, slots: dict[str, bytes]) -> Iterator[tuple[Board, Counter | None]]:
    """Open the link to a board: ``virtual:BOARD``, ``qemu:BOARD`` or ``serial:PORT``.

    Parameters
    ----------
    spec : str
        As for ``--engine``.
    slots : dict
        Content that a virtual board or QEMU has in its flash from the start, by slot.

    Raises
    ------
    UsageError
        If something does not fit its slot.
    EngineError, LinkError, MissingDependencyError
        If nothing answers.
    """
    from joulet.link import connect

    kind, _, where = spec.partition(":")
    if kind == "serial":
        with connect(where) as board:
            yield board, None
        return
    with ExitStack() as stack:
        counter: Counter
        port: Port
        if kind == "virtual":
            from joulet.emulator.board import VirtualBoard, VirtualPort

            virtual = VirtualBoard(where)
            for slot, content in slots.items():
                _fits(slot, content, virtual.facts)
                virtual.load(virtual.facts.slots[slot].address, content)
            virtual.power_on()
            counter, port = WindowCounter(virtual), VirtualPort(virtual)
        else:
            from joulet.emulator.qemu import QemuBoard
            from joulet.firmware.board_files import firmware_facts

            for slot, content in slots.items():
                _fits(slot, content, firmware_facts(where))
            qemu = stack.enter_context(QemuBoard(where, slots))
            counter, port = TickCounter(qemu), qemu.port
        try:
            board = stack.enter_context(connect(port))
        except LinkError as error:
            raise EngineError(f"{spec}: the firmware does not answer: {error}") from error
        yield board, counter


def _fits(slot: str, content: bytes, facts: FirmwareFacts) -> None:
    room = facts.slots[slot].size
    if len(content) > room:
        raise UsageError(f"the container has {len(content):,} bytes, the {slot} slot of {facts.name} {room:,}")


def _progress() -> Callable[[str, int, int], None]:
    live = sys.stderr.isatty()

    def show(what: str, done: int, total: int) -> None:
        if live:
            print(
                f"\r  {what} {100 * done // total:3d} %", end="\n" if done == total else "", file=sys.stderr, flush=True
            )

    return show
