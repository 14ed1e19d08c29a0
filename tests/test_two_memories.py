# SPDX-License-Identifier: Apache-2.0
"""An arena in two memories: the planner's choice, the check, the engine in two allocations, and the virtual board that has two."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from band_cases import blocks, chain
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_cases import divided, in_halves, offsets_of, with_border

from joulet._core import ffi, lib
from joulet.boards import board_names, load_board
from joulet.container import layout
from joulet.container.checked import Checked
from joulet.container.isa_plan import arena_bytes, fast_bytes, slow_bytes, slow_tensors, with_isa_plan
from joulet.container.needs import isa_needs, scratch_of, stored_copies
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.errors import ContainerError, PlanError, UsageError
from joulet.plan.accesses import memory_waits
from joulet.plan.cost import board_costs
from joulet.plan.memories import TwoMemories, in_two, plan_in_two
from joulet.plan.on_board import planned_for, two_memories
from joulet.plan.overlap import NOWHERE, Overlap
from joulet.plan.overlap_arena import ArenaOp, ArenaTensor
from joulet.plan.step_costs import step_bills

PLAIN = "ARMV6M"  # plain C, which runs anywhere
BOARD = "virtual_m4_two"
EDGE = 64
SECTION, MEMORIES = -7, -30


# the choice


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[tuple[ArenaTensor | None, ...], tuple[ArenaOp, ...]], tuple[float, ...]]:
    """Draw a chain of ops, some with a skip, and what each tensor would wait."""
    count = draw(st.integers(2, 4))
    sizes = [draw(st.integers(1, 40)) * 16 for _ in range(count + 1)]
    skips = [draw(st.booleans()) and op >= 2 for op in range(count)]
    last = [
        max([tensor, *(op for op in range(count) if op == tensor or (skips[op] and op - 1 == tensor))])
        for tensor in range(count + 1)
    ]
    tensors = tuple(
        ArenaTensor(bytes=size, first=tensor - 1, last=min(last[tensor], count) if tensor < count else count)
        for tensor, size in enumerate(sizes)
    )
    in_place = Overlap(distance=0, by_pixel=0)
    ops = tuple(
        ArenaOp(
            inputs=tuple(
                (tensor, in_place if draw(st.booleans()) else NOWHERE)
                for tensor in ([op, op - 1] if skips[op] else [op])
            ),
            output=op + 1,
            scratch_bytes=draw(st.integers(0, 6)) * 16,
        )
        for op in range(count)
    )
    return (tensors, ops), tuple(float(draw(st.integers(0, 50))) for _ in tensors)


@settings(max_examples=25, deadline=None)
@given(problems(), st.integers(0, 80))
def test_no_choice_that_fits_costs_less(
    drawn: tuple[tuple[tuple[ArenaTensor | None, ...], tuple[ArenaOp, ...]], tuple[float, ...]], room: int
) -> None:
    problem, waits = drawn
    two = TwoMemories(fast_bytes=room * 16, slow_bytes=1 << 20, wait_cycles=waits)
    found = plan_in_two(problem, two)
    fitting = []
    for choice in itertools.product((False, True), repeat=len(waits)):
        slow = frozenset(tensor for tensor, is_slow in enumerate(choice) if is_slow)
        arena = in_two(problem, slow)
        if arena.arena_bytes - arena.slow_bytes <= two.fast_bytes:
            fitting.append(sum(waits[tensor] for tensor in slow))
    assert (found is None) == (not fitting)
    if found is not None:
        assert found.arena.arena_bytes - found.arena.slow_bytes <= two.fast_bytes
        assert found.wait_cycles == sum(waits[tensor] for tensor in found.slow)
        assert found.wait_cycles == min(fitting) or not found.proved
        for tensor, (offset, each) in enumerate(zip(found.arena.offsets, problem[0], strict=True)):
            assert offset is not None
            assert each is not None
            end = offset + each.bytes
            assert end <= found.arena.slow_bytes if tensor in found.slow else offset >= found.arena.slow_bytes


def test_where_scratch_alone_does_not_fit_nothing_does() -> None:
    content = blocks(2, side=12)
    count = len(Container.from_bytes(content).tensors)
    with pytest.raises(PlanError, match="scratch alone"):
        with_isa_plan(
            content, PLAIN, memories=TwoMemories(fast_bytes=16, slow_bytes=1 << 20, wait_cycles=(0.0,) * count)
        )


def test_one_memory_is_enough_where_all_fits() -> None:
    content = chain(3)
    count = len(Container.from_bytes(content).tensors)
    whole = with_isa_plan(content, PLAIN)
    two = TwoMemories(fast_bytes=arena_bytes(whole, PLAIN), slow_bytes=1 << 20, wait_cycles=(1.0,) * count)
    assert with_isa_plan(content, PLAIN, memories=two) == whole


# the border of the container


def status_of(planned: bytes) -> int:
    checked = Checked(planned)
    return int(lib.jlt_container_use(checked.view, layout.CODES["Isa"][PLAIN], False))


def spans(planned: bytes) -> list[tuple[int, int]]:
    """Return begin and end of each tensor in the arena of the plan part."""
    decoded = Container.from_bytes(planned)
    constant = layout.CODES["TensorFlag"]["CONST"]
    sizes = [int(each["elements"]) for each in decoded.tensors if not int(each["flags"]) & constant]
    return [(at, at + size) for at, size in zip(offsets_of(planned), sizes, strict=True)]


def test_a_border_inside_a_tensor_or_scratch_is_refused() -> None:
    """Every multiple of 16 up to the end of the arena, and beyond; what passes runs in two allocations."""
    planned = in_halves(chain(1), PLAIN)
    decoded = Container.from_bytes(planned)
    needs = isa_needs(decoded, layout.CODES["Isa"][PLAIN])
    scratch = max(scratch_of(decoded, needs, stored_copies(decoded, PLAIN) or frozenset()))
    end = arena_bytes(planned, PLAIN)
    passed = set()
    for at in range(0, end + 64, 16):
        straddles = any(begin < at < stop for begin, stop in spans(planned))
        fits = not straddles and at <= end - -(-scratch // 16) * 16
        assert status_of(with_border(planned, at)) == (0 if fits else MEMORIES), at
        passed |= {at} if fits else set()
    assert {0, slow_bytes(planned, PLAIN)} < passed
    for at in sorted(passed):
        run_in_two(HostEngine(planned, isa=PLAIN), with_border(planned, at))


@pytest.mark.parametrize("border", [1, 8, 15, 1 << 31, 0xFFFF_FFF0, 0xFFFF_FFFF])
def test_a_border_that_cannot_be_is_refused(border: int) -> None:
    planned = with_border(in_halves(chain(1), PLAIN), border)
    assert status_of(planned) == MEMORIES
    with pytest.raises(ContainerError, match="border between two memories"):
        HostEngine(planned, isa=PLAIN)


@pytest.mark.parametrize("size", [0, 4, 15, 20])
def test_a_record_of_another_size_is_refused(size: int) -> None:
    assert status_of(with_border(in_halves(chain(1), PLAIN), bytes(size))) == SECTION


# the engine


def guarded(size: int) -> tuple[np.ndarray, int]:
    """Return a block with watched edges, and the address of its middle, which is aligned."""
    room = np.full(size + 2 * EDGE + 16, 0xA5, np.uint8)
    at = EDGE + -(room.ctypes.data + EDGE) % 16
    return room, at


def run_in_two(host: HostEngine, planned: bytes) -> list[np.ndarray]:
    """Run an inference in two allocations of exactly the bytes that the plan has, whose edges must stay as they are."""
    checked = Checked(planned)
    assert lib.jlt_container_use(checked.view, layout.CODES["Isa"][PLAIN], False) == 0
    border = int(checked.view.slow_bytes)
    sizes = [lib.jlt_arena_bytes(checked.view, 0) - border, border]
    rooms = [guarded(size) for size in sizes]
    fast, slow = (ffi.cast("void *", room.ctypes.data + at) for room, at in rooms)
    engine = ffi.new("jlt_engine_t *")
    assert lib.jlt_engine_init_two(engine, checked.view, fast, sizes[0], slow, sizes[1]) == 0
    assert lib.jlt_engine_start(engine, 0) == 0
    rng = np.random.default_rng(7)
    sample = [rng.integers(-128, 128, (1, *info.shape), np.int8) for info in host.inputs]
    for index, array in enumerate(sample):
        assert lib.jlt_engine_write(engine, index, ffi.from_buffer(array), array.nbytes) == 0
    event = ffi.new("jlt_event_t *")
    last = len(host.container.exits) - 1
    while event.kind != lib.JLT_EVENT_EXIT:
        assert lib.jlt_engine_tile(engine, last, 3, event) == 0
    outputs = []
    for tensor in host.container.model["outputs"][: int(host.container.model["n_outputs"])]:
        out = np.zeros(int(host.container.tensors[int(tensor)]["elements"]), np.int8)
        assert lib.jlt_engine_read(engine, int(tensor), ffi.from_buffer(out), out.nbytes) == 0
        outputs.append(out)
    for (room, at), size in zip(rooms, sizes, strict=True):
        assert (room[:at] == 0xA5).all()
        assert (room[at + size :] == 0xA5).all()
    for out, expected in zip(outputs, host.infer(sample).outputs, strict=True):
        np.testing.assert_array_equal(out, expected.reshape(-1))
    return outputs


@pytest.mark.parametrize("seed", range(6))
def test_two_allocations_give_the_bytes_of_one(seed: int) -> None:
    """Every other tensor is slow, so that some lie at the border; the host, which has one block, agrees with the reference too."""
    content = chain(seed)
    planned = in_halves(content, PLAIN)
    assert slow_bytes(planned, PLAIN) > 0
    outputs = run_in_two(HostEngine(planned, isa=PLAIN), planned)
    reference = HostEngine(content, isa="REF")
    rng = np.random.default_rng(7)
    sample = [rng.integers(-128, 128, (1, *info.shape), np.int8) for info in reference.inputs]
    for out, expected in zip(outputs, reference.infer(sample).outputs, strict=True):
        np.testing.assert_array_equal(out, expected.reshape(-1))


def test_memory_that_is_too_small_is_refused() -> None:
    planned = in_halves(chain(1), PLAIN)
    checked = Checked(planned)
    assert lib.jlt_container_use(checked.view, layout.CODES["Isa"][PLAIN], False) == 0
    border, end = int(checked.view.slow_bytes), int(lib.jlt_arena_bytes(checked.view, 0))
    room, at = guarded(end)
    memory = ffi.cast("uint8_t *", room.ctypes.data + at)
    engine = ffi.new("jlt_engine_t *")
    assert lib.jlt_engine_init_two(engine, checked.view, memory, end - border, memory, border - 16) == -1
    assert lib.jlt_engine_init_two(engine, checked.view, memory, end - border, memory + 1, border) == -1
    assert lib.jlt_engine_init_two(engine, checked.view, memory, end - border - 16, memory, border) == 0
    assert lib.jlt_engine_start(engine, 0) == -1


# boards


def test_only_boards_that_say_so_have_two() -> None:
    two = {name for name in board_names() if load_board(name).slow is not None}
    assert two == {"virtual_m4_two", "qemu_mps3_an547_two"}
    assert two_memories(chain(1), load_board("virtual_m4"), frozenset()) is None


def test_a_plan_for_a_board_takes_no_more_than_there_is() -> None:
    content = blocks(3, side=48, channels=16)
    board = load_board(BOARD)
    planned = planned_for(content, board, ram_limit=12_000)
    decoded = Container.from_bytes(planned)
    assert 0 < fast_bytes(planned, board.isa) <= 12_000
    assert slow_tensors(decoded, board.isa)
    copies = stored_copies(decoded, board.isa)
    waits = memory_waits(decoded, board, copies)[0]
    assert waits.sum() > 0
    bills = step_bills(decoded, board, 0, copies)
    assert sum(bill.wait_cycles for bill in bills) == pytest.approx(waits.sum(), abs=len(bills))
    assert any(bill.slow_read_bytes for bill in bills)
    assert all(bill.slow_written_bytes in (0, bill.arena_written_bytes) for bill in bills)
    np.testing.assert_allclose(board_costs(decoded, board).cycles[0], [bill.cycles for bill in bills], atol=1)


def test_a_limit_that_cannot_be_kept_is_an_error() -> None:
    with pytest.raises((UsageError, PlanError)):
        planned_for(blocks(3, side=48, channels=16), BOARD, ram_limit=64)


def test_every_tensor_slow_is_divided_too() -> None:
    content = chain(2)
    planned = divided(content, PLAIN, lambda tensor: True)
    run_in_two(HostEngine(planned, isa=PLAIN), planned)
