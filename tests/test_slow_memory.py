# SPDX-License-Identifier: Apache-2.0
"""The emulator's second memory by hand-written code, and the real firmware on a board that has two."""

from __future__ import annotations

import numpy as np
import pytest
from band_cases import blocks
from memory_cases import in_halves

pytest.importorskip("unicorn")

from joulet.boards import load_board
from joulet.container.isa_plan import slow_bytes, with_isa_plan
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.emulator.core import Core, SlowRam
from joulet.engine.board import BoardEngine
from joulet.engine.host import HostEngine
from joulet.firmware.build import build_firmware, work_bytes
from joulet.link import connect
from joulet.plan.memories import TwoMemories
from joulet.plan.on_board import planned_for

BOARD = "virtual_m4_two"
SLOW = SlowRam(address=0x6000_0000, bytes=4096, read_wait_cycles=5, write_wait_cycles=3)
# r0 points into the memory: ldr, ldrb, str, strh, then ldm and stm of three registers, then wfi
CODE = (0x6801, 0x7802, 0x6041, 0x8082, 0xC80E, 0xC00E, 0xBF30)


# cmp r0, r0; ite eq; ldreq r1, [r0]; strne r1, [r0, #4]; a branch to what follows: movs r3, #7; movs r4, #9; str r4, [r0, #8]; wfi
IT_BLOCK = (0x4280, 0xBF0C, 0x6801, 0x6041, 0xE7FF, 0x2307, 0x2409, 0x6084, 0xBF30)


def ran(pointer: int, code: tuple[int, ...] = CODE) -> Core:
    core = Core("cortex-m4", (0, 4096), (0x2000_0000, 4096), SLOW)
    core.flash[:8] = np.array([0x2000_1000, 0x11], "<u4").view(np.uint8)
    program = [0x4800, 0xE001, pointer & 0xFFFF, pointer >> 16, *code]  # ldr r0, [pc]; skip it
    core.flash[0x10 : 0x10 + 2 * len(program)] = np.array(program, "<u2").view(np.uint8)
    core.reset()
    core.run()
    return core


def test_every_access_is_counted_and_waited_for() -> None:
    fast, slow = ran(0x2000_0000), ran(SLOW.address + 16)
    assert fast.slow_accesses == (0, 0)
    assert slow.slow_accesses == (1 + 1 + 3, 1 + 1 + 3)
    assert slow.instructions == fast.instructions
    assert slow.cycles - fast.cycles == 5 * SLOW.read_wait_cycles + 5 * SLOW.write_wait_cycles


def test_an_it_block_ends_where_it_ends() -> None:
    slow = ran(SLOW.address, IT_BLOCK)
    assert slow.slow[8:12].tolist() == [9, 0, 0, 0]
    assert slow.slow_accesses == (1, 1)


def test_a_state_that_is_kept_has_both_memories() -> None:
    core = ran(SLOW.address)
    core.slow[:4] = (1, 2, 3, 4)
    state = core.save()
    core.slow[:] = 0
    core.restore(state)
    assert core.slow[:4].tolist() == [1, 2, 3, 4]


def answer(planned: bytes, board: str) -> tuple[list[np.ndarray], VirtualBoard]:
    virtual = VirtualBoard(board)
    virtual.load(virtual.facts.slots["model"].address, planned)
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        return list(BoardEngine(planned, link).infer(sample_of(planned)).outputs), virtual


def sample_of(container: bytes) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(-128, 128, (1, *each.shape), np.int8) for each in HostEngine(container, isa="REF").inputs]


def test_the_firmware_leaves_what_its_board_promises() -> None:
    for name in (BOARD, "qemu_mps3_an547_two"):
        slow = load_board(name).slow
        assert slow is not None
        assert work_bytes(build_firmware(name)) >= slow.fast_arena_bytes


@pytest.mark.parametrize("how", ["halves", "planned", "one memory", "neither fits"])
def test_the_firmware_answers_as_the_host(how: str) -> None:
    """Divided by the test, or by the planner; whole in the fast memory; and in the slow one, planned for another board."""
    content = blocks(3, side=40, channels=16)
    isa = load_board(BOARD).isa
    count = len(Container.from_bytes(content).tensors)
    roomy = TwoMemories(fast_bytes=1 << 20, slow_bytes=1 << 20, wait_cycles=(1.0,) * count)
    planned = {
        "halves": lambda: in_halves(blocks(3, side=16, channels=8), isa),
        "planned": lambda: planned_for(content, BOARD),
        "one memory": lambda: planned_for(blocks(3, side=12), BOARD),
        "neither fits": lambda: with_isa_plan(content, isa, memories=roomy),
    }[how]()
    outputs, virtual = answer(planned, BOARD)
    for out, expected in zip(outputs, HostEngine(planned, isa="REF").infer(sample_of(planned)).outputs, strict=True):
        np.testing.assert_array_equal(out, expected)
    ops = np.sum(virtual.op_accesses, axis=0)
    assert (ops.sum() == 0) == (how == "one memory")
    assert (slow_bytes(planned, isa) > 0) == (how in ("halves", "planned"))
