# SPDX-License-Identifier: Apache-2.0
"""Two memories on the virtual board: where tensors lie, what waits were foretold, and what the emulator counts.

    python tests/studies/memories.py --shared ../shared

VWW and ResNet-8 without added exits in 24 KiB of fast memory, under the real firmware: all of it slow, tensors slow in the order
of their bytes until the rest fits, and the placement that the planner chose; beside them the board with one memory that has room
for everything. Answers must be those of the reference kernels on the host, byte for byte, on the emulated MPS3 with two memories
too. Exit code 1 when a byte differs, when the waits of a placement are off by more than 5 %, or when the chosen one is not the
cheapest.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from joulet.boards import Board, load_board
from joulet.compile import compile_model
from joulet.container.arena_problem import arena_problem
from joulet.container.isa_plan import fast_bytes, slow_bytes, slow_tensors, with_isa_plan
from joulet.container.layout import CODES
from joulet.container.needs import Copies, isa_needs, scratch_of, stored_copies, wanted_copies
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.board import BoardEngine
from joulet.engine.host import HostEngine
from joulet.link import connect
from joulet.plan.accesses import memory_waits
from joulet.plan.kernel_costs import op_cycles
from joulet.plan.memories import in_two
from joulet.plan.on_board import planned_for, two_memories
from joulet.tools.engines import open_board

BOARD, WHOLE, QEMU = "virtual_m4_two", "virtual_m4", "qemu_mps3_an547_two"
MODELS = ("vww_96_int8", "ic_resnet8_int8")
LIMIT = 0.05
HEAD = (
    f"{'placement':<20} {'fast':>7} {'slow':>7} {'tensors':>7} {'waits foretold':>15} {'counted':>11} {'off':>6} "
    f"{'cycles foretold':>16} {'counted':>12} {'off':>6}  bytes"
)


def largest_first(container: bytes, board: Board, copies: Copies, room_bytes: int) -> frozenset[int]:
    """Return the tensors that are slow where the largest go first, until the rest fits."""
    decoded = Container.from_bytes(container)
    needs = isa_needs(decoded, CODES["Isa"][board.isa])
    problem = arena_problem(decoded, scratch_of(decoded, needs, copies))
    sizes = {index: each.bytes for index, each in enumerate(problem[0]) if each is not None}
    order = sorted(sizes, key=lambda index: (-sizes[index], index))
    for count in range(len(order) + 1):
        slow = frozenset(order[:count])
        arena = in_two(problem, slow, fast_bytes=room_bytes)
        if arena.arena_bytes - arena.slow_bytes <= room_bytes:
            break
    return slow


def placements(content: bytes, board: Board) -> dict[str, bytes]:
    """Return the container with each placement."""
    decoded = Container.from_bytes(content)
    copies = frozenset(wanted_copies(decoded, isa_needs(decoded, CODES["Isa"][board.isa])))
    two = two_memories(content, board, copies)
    assert two is not None
    naive = largest_first(content, board, copies, two.fast_bytes)
    everything = frozenset(range(len(decoded.tensors)))
    forced = {"all slow": everything, "largest slow first": naive}
    found = {
        name: with_isa_plan(content, board.isa, copies=copies, memories=replace(two, slow=slow))
        for name, slow in forced.items()
    }
    return {**found, "chosen": planned_for(content, board)}


def counted(container: bytes, board: str, sample: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Return the answer of a virtual board, and the cycles of all ops."""
    virtual = VirtualBoard(board)
    virtual.load(virtual.facts.slots["model"].address, container)
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        engine = BoardEngine(container, link)
        virtual.op_cycles.clear()
        result = engine.infer(sample)
    return list(result.outputs), sum(virtual.op_cycles)


def in_qemu(content: bytes, sample: list[np.ndarray]) -> list[np.ndarray]:
    """Return the answer of the emulated MPS3 with two memories."""
    planned = planned_for(content, QEMU)
    assert slow_bytes(planned, load_board(QEMU).isa) > 0
    with open_board(f"qemu:{QEMU}", {"model": planned}) as (link, counter):
        return list(BoardEngine(planned, link, counter=counter).infer(sample).outputs)


def judged(content: bytes, board: Board) -> bool:
    """Print the placements of a model; return whether bytes, waits and choice are as they should be."""
    host = HostEngine(content, isa="REF")
    rng = np.random.default_rng(0)
    sample = [rng.integers(-128, 128, (1, *info.shape), np.int8) for info in host.inputs]
    expected = list(host.infer(sample).outputs)

    def said(outputs: list[np.ndarray]) -> str:
        return "same" if all(np.array_equal(a, b) for a, b in zip(outputs, expected, strict=True)) else "DIFFER"

    whole = planned_for(content, WHOLE)
    outputs, without = counted(whole, WHOLE, sample)
    fine = said(outputs) == "same"
    print(HEAD)
    print(f"{'one memory':<20} {fast_bytes(whole, board.isa):>7,} {0:>7} {0:>7} {0:>15} {0:>11} {'':>6} "
          f"{'':>16} {without:>12,} {'':>6}  {said(outputs)}")  # fmt: skip
    cycles: dict[str, int] = {}
    for name, planned in placements(content, board).items():
        decoded = Container.from_bytes(planned)
        copies = stored_copies(decoded, board.isa)
        waits = float(memory_waits(decoded, board, copies)[0].sum())
        foretold = float(op_cycles(decoded, board.cycles, board.isa, copies)[0].sum()) + waits
        outputs, cycles[name] = counted(planned, BOARD, sample)
        seen = cycles[name] - without
        fine &= said(outputs) == "same" and abs(waits - seen) <= LIMIT * seen
        print(
            f"{name:<20} {fast_bytes(planned, board.isa):>7,} {slow_bytes(planned, board.isa):>7,} "
            f"{len(slow_tensors(decoded, board.isa)):>7} {waits:>15,.0f} {seen:>11,} {waits / seen - 1:>+6.1%} "
            f"{foretold:>16,.0f} {cycles[name]:>12,} {foretold / cycles[name] - 1:>+6.1%}  {said(outputs)}"
        )
    emulated = said(in_qemu(content, sample))
    print(f"{QEMU}: bytes {emulated}")
    return fine and emulated == "same" and cycles["chosen"] == min(cycles.values())


def main() -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/mlperf_tiny")
    args = parser.parse_args()
    board = load_board(BOARD)
    assert board.slow is not None
    fine = True
    for name in MODELS:
        model = args.shared / "data" / "mlperf_tiny" / "models" / f"{name}.tflite"
        print(f"{name} on {BOARD}: {board.slow.fast_arena_bytes:,} bytes of fast memory for the arena")
        fine &= judged(compile_model(model, exits="off", precisions=("w8",)).container, board)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
