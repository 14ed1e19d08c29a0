# SPDX-License-Identifier: Apache-2.0
"""Band groups: the same bytes as whole tensors, in less memory; and what is spoiled is refused."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from band_cases import Chain, blocks, chain

from joulet._core import ffi, lib
from joulet.boards import load_board
from joulet.container import layout
from joulet.container.assemble import PartSection, assemble, read_table
from joulet.container.band_view import walked_groups
from joulet.container.isa_plan import IsaNeeds, arena_bytes, band_groups, isa_needs, with_isa_plan
from joulet.container.parts import with_nvm_plan
from joulet.container.read import Container
from joulet.engine.board import BoardEngine
from joulet.engine.host import HostEngine
from joulet.engine.seam import Array
from joulet.errors import ContainerError, UsageError
from joulet.plan.nvm import plan_nvm
from joulet.plan.nvm_layout import graph_of, layout_for
from joulet.profile.steps import plan_steps

ISAS = [name for name, code in layout.CODES["Isa"].items() if name != "REF" and lib.jlt_host_runs(code)]
PLAIN = "ARMV6M"  # plain C: runs here
SEEDS = range(24)
SAMPLES = 3
_BANDS = layout.dtype("BandGroup")


def inputs_of(engine: HostEngine, seed: int) -> list[Array]:
    """Random int8 over the whole range; one sample at both ends."""
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, (SAMPLES, *info.shape)).astype(np.int8) for info in engine.inputs]
    for array in arrays:
        array[1] = rng.choice([-128, 127], array[1].shape)
    return arrays


@functools.cache
def answers(content: bytes) -> tuple[list[Array], list[bytes], list[int]]:
    """Return inputs, and what the reference kernels answer to them along each path, and MACs."""
    reference = HostEngine(content, isa="REF")
    arrays = inputs_of(reference, len(content))
    results = [reference.infer(arrays, path=path) for path in range(len(reference.path_names))]
    return arrays, [each.outputs[0].tobytes() for each in results], [int(each.macs[0]) for each in results]


def assert_equal(planned: bytes, content: bytes, isa: str) -> None:
    """Compare every path of a plan with the reference, over an arena of noise."""
    engine = HostEngine(planned, isa=isa)
    arrays, outputs, macs = answers(content)
    for path, (output, count) in enumerate(zip(outputs, macs, strict=True)):
        engine._arena[:] = 0xA5
        got = engine.infer(arrays, path=path)
        assert got.outputs[0].tobytes() == output, path
        assert int(got.macs[0]) == count


def records_of(planned: bytes) -> np.ndarray:
    """Return the BANDS section, to be changed."""
    info = next(s for s in read_table(planned).sections if s.name == "BANDS")
    return np.frombuffer(planned, _BANDS, info.size_bytes // _BANDS.itemsize, info.offset).copy()


def with_content(planned: bytes, name: str, content: bytes) -> bytes:
    """Return the container with another section in its plan part."""
    return assemble(
        [
            PartSection(
                s.name,
                content if s.name == name and s.part else planned[s.offset : s.offset + s.size_bytes],
                s.part,
            )
            for s in read_table(planned).sections
        ]
    )


@pytest.mark.parametrize("isa", ISAS)
def test_bands_give_the_bytes_of_whole_tensors(isa: str) -> None:
    """Under limits that are easy, hard and out of reach, at every precision; the check of the C side admits each."""
    banded = 0
    for seed in SEEDS:
        content = chain(seed)
        whole = arena_bytes(with_isa_plan(content, isa), isa)
        for limit in (whole - 1, whole * 2 // 3, 0):
            planned = with_isa_plan(content, isa, ram_bytes=limit)
            assert not band_groups(planned, isa) or arena_bytes(planned, isa) < whole
            banded += bool(band_groups(planned, isa))
            assert_equal(planned, content, isa)
    assert banded > len(SEEDS) // 4


def test_every_size_of_band_gives_the_same_bytes() -> None:
    """Of one group, from one row in a band to all but one; rows held are those that the walk needs, and one less is refused."""
    content = blocks(1, side=12, channels=4, expand=3, count=1)
    planned = with_isa_plan(content, PLAIN, ram_bytes=0)
    first = 0
    seen = set()
    for band in range(1, 12):
        record = records_of(planned)[:1]
        record["first_op"], record["n_ops"], record["rows"] = first, 3, 0
        record["rows"][0, :3] = (12, 12, band)
        offsets = wide_arena(planned)
        loose = with_content(with_content(planned, "BANDS", record.tobytes()), "ARENA", offsets)
        assert_equal(loose, content, PLAIN)
        needed = walked_groups(loose, PLAIN)[0].rows
        record["rows"][0, :3] = needed
        tight = with_content(with_content(planned, "BANDS", record.tobytes()), "ARENA", offsets)
        assert_equal(tight, content, PLAIN)
        for member in range(2):
            less = record.copy()
            less["rows"][0, member] -= 1
            with pytest.raises(ContainerError):
                HostEngine(with_content(tight, "BANDS", less.tobytes()), isa=PLAIN)
        seen.add(needed[:2])
    assert (3, 1) in seen  # a window of three rows, and one row, when a band is one


def wide_arena(planned: bytes) -> bytes:
    """Return an ARENA in which nothing overlaps, large enough for whole tensors."""
    decoded = Container.from_bytes(planned)
    head = np.frombuffer(
        planned, "<u4", 4, next(s.offset for s in read_table(planned).sections if s.name == "ARENA" and s.part)
    )
    offsets, at = [], 0
    for tensor in decoded.tensors:
        constant = int(tensor["flags"]) & layout.CODES["TensorFlag"]["CONST"]
        offsets.append(layout.NO_OFFSET if constant else at)
        at += 0 if constant else -(-int(tensor["elements"]) // 16) * 16
    return np.array([at, 1 << 16, 0, head[3], *offsets], "<u4").tobytes()


def test_a_block_of_a_mobile_network_takes_a_fraction() -> None:
    """Expand, depthwise, project and skip: the expanded tensor, six times the block's input, is there in a few rows only."""
    content = blocks(2)
    whole = arena_bytes(with_isa_plan(content, PLAIN), PLAIN)
    planned = with_isa_plan(content, PLAIN, ram_bytes=whole // 3)
    assert arena_bytes(planned, PLAIN) <= whole // 3
    group = walked_groups(planned, PLAIN)[0]
    assert group.ops[:3] == ("CONV", "DWCONV", "CONV")
    assert group.ops[3] in ("ADD", "SUB", "MUL")  # the output lies over the input, which the skip reads last
    assert sum(group.room_bytes) * 2 < sum(group.whole_bytes)
    assert_equal(planned, content, PLAIN)
    assert not band_groups(with_isa_plan(content, PLAIN, ram_bytes=whole), PLAIN)


def test_what_somebody_changed_is_refused_or_gives_the_same_bytes() -> None:
    rng = np.random.default_rng(3)
    verdicts: list[bool] = []
    for seed in (0, 2, 5, 8):
        content = chain(seed)
        planned = with_isa_plan(content, PLAIN, ram_bytes=0)
        if not band_groups(planned, PLAIN):
            continue
        for _ in range(60):
            records = records_of(planned)
            words = records.view("<u2")
            for _ in range(int(rng.integers(1, 3))):
                at = int(rng.integers(words.size))
                words[at] = int(rng.choice([0, 1, 2, 3, 8, 9, 0xFFFF, words[at] + 1, max(int(words[at]) - 1, 0)]))
            changed = with_content(planned, "BANDS", records.tobytes())
            try:
                HostEngine(changed, isa=PLAIN)
            except ContainerError:
                verdicts.append(False)
                continue
            assert_equal(changed, content, PLAIN)
            verdicts.append(True)
    assert set(verdicts) == {True, False}


def test_a_tensor_moved_over_what_a_group_needs_is_refused() -> None:
    """Or the bytes are the same: the check of the arena knows rows."""
    rng = np.random.default_rng(4)
    content = blocks(5, side=16, channels=4)
    planned = with_isa_plan(content, PLAIN, ram_bytes=0)
    at = next(s for s in read_table(planned).sections if s.name == "ARENA" and s.part)
    arena = np.frombuffer(planned, "<u4", at.size_bytes // 4, at.offset)
    movable = 4 + np.flatnonzero(arena[4:] != layout.NO_OFFSET)
    verdicts = set()
    for _ in range(80):
        words = arena.copy()
        words[0] += int(rng.choice([0, 0, 64, 512]))
        for tensor in rng.choice(movable, rng.integers(1, 3)):
            words[tensor] = max(int(words[tensor]) + int(rng.choice([-256, -16, -1, 1, 4, 16, 64, 512])), 0)
        changed = with_content(planned, "ARENA", words.tobytes())
        try:
            HostEngine(changed, isa=PLAIN)
        except ContainerError:
            verdicts.add(False)
            continue
        assert_equal(changed, content, PLAIN)
        verdicts.add(True)
    assert verdicts == {True, False}


def test_sections_of_odd_size_are_refused() -> None:
    planned = with_isa_plan(blocks(2, side=12), PLAIN, ram_bytes=0)
    with pytest.raises(ContainerError):
        HostEngine(with_content(planned, "BANDS", records_of(planned).tobytes() + bytes(4)), isa=PLAIN)


def test_no_mark_and_no_reading_inside_a_group() -> None:
    planned = with_isa_plan(blocks(2, side=12), PLAIN, ram_bytes=0)
    first, rows = band_groups(planned, PLAIN)[0]
    engine = HostEngine(planned, isa=PLAIN)
    arrays = answers(planned)[0]
    engine.start([array[0] for array in arrays], 0)
    event, mark = ffi.new("jlt_event_t *"), ffi.new("jlt_engine_mark_t *")
    done, total = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    tensor, begin, end = ffi.new("uint16_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
    while engine._engine.next_op < first:
        assert lib.jlt_engine_step(engine._engine, 0, event) == 0
    assert lib.jlt_engine_units(engine._engine, 0, done, total) == 0
    assert (done[0], total[0]) == (0, 1)
    assert lib.jlt_engine_tile(engine._engine, 0, 1, event) == 0
    assert event.op == first + len(rows) - 1 == engine._engine.next_op - 1
    assert engine._engine.ops_run == engine._engine.next_op
    assert lib.jlt_engine_written(engine._engine, tensor, begin, end) == 0
    output = int(engine.container.ops[event.op]["output"])
    assert (tensor[0], begin[0], end[0]) == (output, 0, int(engine.container.tensors[output]["elements"]))
    inner = int(engine.container.ops[first]["output"])
    size = int(engine.container.tensors[inner]["elements"])
    assert lib.jlt_engine_read(engine._engine, inner, ffi.new("uint8_t[]", size), size) == -1
    lib.jlt_engine_save(engine._engine, mark)
    assert lib.jlt_engine_restore(engine._engine, mark) == 0
    for inside in range(first + 1, first + len(rows)):
        mark.next_op = mark.ops_run = inside
        mark.macs = int(engine.container.ops["macs"][:inside].sum())
        assert lib.jlt_engine_restore(engine._engine, mark) == -1


@pytest.mark.parametrize("isa", [name for name in layout.CODES["Isa"] if name != "REF"])
def test_what_a_kernel_asks_for_does_not_depend_on_rows(isa: str) -> None:
    """Whether it takes an op, what it packs and its scratch: a group calls it with fewer rows than it was packed for."""

    def needs(height: int) -> list[IsaNeeds]:
        c = Chain(4, height, 7, 9)
        c.conv(17, (3, 3), (1, 1))
        c.depthwise((3, 3), (1, 1))
        c.depthwise((2, 3), (1, 1))
        c.conv(20, (1, 1), (1, 1))
        c.skip()
        c.lookup()
        return isa_needs(Container.from_bytes(c.done()), layout.CODES["Isa"][isa])

    assert needs(1) == needs(2) == needs(9) == needs(40)


def test_in_nvm_a_group_lies_in_one_interval() -> None:
    """The planner takes care of that, and a board refuses a plan that does not."""
    content = blocks(2, side=12)
    planned = with_isa_plan(content, PLAIN, ram_bytes=0)
    groups = [(first, len(rows)) for first, rows in band_groups(planned, PLAIN)]
    most = max(count for _, count in groups)
    board = load_board("virtual_m4")
    found = plan_nvm(Container.from_bytes(content), board, strategy="in-nvm", groups=groups)
    plain = plan_nvm(Container.from_bytes(content), board, strategy="in-nvm")
    assert found.plan is not None
    assert found.plan.interval_ops >= most
    # a discharge must pay for a whole group
    assert found.strategies[0].needed_cycles > plain.strategies[0].needed_cycles
    graph = graph_of(Container.from_bytes(content))
    short = replace(found.plan, interval_ops=most - 1, offsets=layout_for(graph, most).offsets)
    for plan, status in ((found.plan, 0), (short, -18)):
        engine = HostEngine(with_nvm_plan(planned, plan), isa=PLAIN)
        view = ffi.new("jlt_nvm_plan_view_t *")
        assert lib.jlt_nvm_plan_find(engine._checked, b"virtual_m4", 1 << 20, view) == status


def test_steps_are_not_profiled_where_several_are_one() -> None:
    planned = with_isa_plan(blocks(2, side=12), PLAIN, ram_bytes=0)
    engine = SimpleNamespace(container=Container.from_bytes(planned), n_exits=1)
    with pytest.raises(UsageError, match="run in bands"):
        plan_steps(cast(BoardEngine, engine), None)


def test_float_paths_of_the_same_container_run_whole() -> None:
    c = Chain(7, 16, 8, 4)
    c.conv(24, (1, 1), (1, 1))
    c.depthwise((3, 3), (1, 1))
    c.conv(4, (1, 1), (1, 1))
    content = c.done(("w8", "f32"))
    planned = with_isa_plan(content, PLAIN, ram_bytes=0)
    assert band_groups(planned, PLAIN)
    assert_equal(planned, content, PLAIN)
