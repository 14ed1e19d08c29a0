# SPDX-License-Identifier: Apache-2.0
"""Ops in tiles: the same bytes however they are divided, and marks and live tensors from which a run goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import random_ops
from board_tools import MODELS
from hypothesis import given, settings
from hypothesis import strategies as st
from model_zoo import Net
from tiny import tiny_quant_graph

from joulet._core import ffi, lib
from joulet.container.assemble import without_low_planes
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph

NAMES = ("tiny", "wide", *sorted(path.stem for path in MODELS.glob("*.tflite")))
COPY = 10
PATTERNS = (0x55, 0xAA)

Tiles = Callable[[], int]


class Stepped:
    """A container on the C engine, driven by units; what it keeps in memory is for looking at and spoiling."""

    def __init__(self, content: bytes) -> None:
        self.host = HostEngine(content)
        self.engine = self.host._engine
        self.container = self.host._checked
        self.arena = self.host._arena
        self.event = ffi.new("jlt_event_t *")
        model = self.container.model
        self.n_tensors, self.n_ops, self.n_exits = int(model.n_tensors), int(model.n_ops), int(model.n_exits)

    def start(self, path: int, seed: int = 1) -> None:
        """Begin an inference on random inputs over an arena of zeros."""
        self.arena[:] = 0
        rng = np.random.default_rng(seed)
        inputs = []
        for info in self.host.inputs:
            if info.dtype.kind == "f":
                inputs.append(rng.standard_normal(info.shape).astype(info.dtype))
            else:
                limits = np.iinfo(np.dtype(info.dtype.str))
                inputs.append(rng.integers(limits.min, limits.max, info.shape, info.dtype.str, endpoint=True))
        self.host.start(inputs, path)

    def tile(self, exit: int, units: int) -> int:
        """Run some units and return the kind of event."""
        assert lib.jlt_engine_tile(self.engine, exit, units, self.event) == 0
        return int(self.event.kind)

    def units(self, exit: int) -> tuple[int, int]:
        """Units of the next op: done and in all."""
        done, total = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        assert lib.jlt_engine_units(self.engine, exit, done, total) == 0
        return int(done[0]), int(total[0])

    def place(self, tensor: int) -> slice:
        """Where a tensor lies in the arena."""
        record = self.container.tensors + tensor
        if self.engine.is_f32:
            begin = 4 * int(self.container.f32_offsets[tensor])
            return slice(begin, begin + 4 * record.elements)
        begin = int(self.container.arena_offsets[tensor])
        return slice(begin, begin + lib.jlt_tensor_bytes(record))

    def written(self) -> tuple[int, slice]:
        """Tensor and place in the arena that the last tile wrote."""
        tensor, begin, end = ffi.new("uint16_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
        assert lib.jlt_engine_written(self.engine, tensor, begin, end) == 0
        base = self.place(tensor[0])
        assert 0 <= begin[0] < end[0] <= base.stop - base.start
        return int(tensor[0]), slice(base.start + begin[0], base.start + end[0])

    def save(self) -> Any:
        """Return a mark of where the engine stands."""
        mark = ffi.new("jlt_engine_mark_t *")
        lib.jlt_engine_save(self.engine, mark)
        return mark

    def live(self, next_op: int, unit: int) -> np.ndarray:
        """Which bytes of the arena belong to live tensors."""
        mask = np.zeros(len(self.arena), bool)
        for tensor in range(self.n_tensors):
            if lib.jlt_live_at(self.container, next_op, unit, tensor):
                mask[self.place(tensor)] = True
        return mask

    def answer(self, exit: int) -> tuple[bytes, int, int, int]:
        """Bytes of an exit's answer, its confidence, margin and MACs."""
        assert (self.event.kind, self.event.exit) == (lib.JLT_EVENT_EXIT, exit)
        content = self.arena[self.place(self.container.exits[exit].output)].tobytes()
        return content, int(self.event.confidence_q15), int(self.event.margin), int(self.event.macs)

    def scratch(self, op: int) -> slice:
        """Return the last bytes of the arena, which an op asks for."""
        if self.engine.is_f32:
            bytes_ = int(self.container.f32_arena.scratch_f32_bytes)
        else:
            needs = ffi.new("jlt_isa_needs_t *")
            assert lib.jlt_isa_needs(self.container, self.container.isa, op, needs) == 0
            bytes_ = int(needs.scratch_bytes)
        end = int(self.engine.scratch_end)
        return slice(end - -(-bytes_ // 16) * 16, end)


def _wide() -> bytes:
    """Every way to be divided that the small models do not have: all of these outputs have several units."""
    net = Net("wide", 31)
    x = net.act("x", (1, 4, 5, 40), 0.05, 3)
    padded = net.move("PAD", (x, net.ints("pads", [[0, 0], [1, 1], [1, 2], [0, 0]])), (1, 6, 8, 40), "PadOptions")
    mean = net.act("mean", (1, 1, 1, 40), 0.02, 6)
    net.op("MEAN", (padded, net.ints("axes", [1, 2])), (mean,), "ReducerOptions", KeepDims=True)
    grouped = net.conv(mean, 36, (1, 1), groups=2, name="one_pixel")
    shares = net.softmax(x)
    best = net.tensor("best", (1, 4, 5), "INT32")
    net.op("ARG_MAX", (x, net.ints("axis", 3)), (best,), "ArgMaxOptions", OutputType=2)
    turned = net.move("TRANSPOSE", (x, net.ints("perm", [0, 3, 1, 2])), (1, 40, 4, 5), "TransposeOptions")
    real = net.tensor("real", (1, 40, 4, 5), "FLOAT32")
    net.op("DEQUANTIZE", (turned,), (real,), "DequantizeOptions")
    return net.finish((x,), (grouped, shares, best, real))


@functools.cache
def stepped(name: str) -> Stepped:
    """Return one of the models on the engine."""
    if name == "tiny":
        return Stepped(write_container(tiny_quant_graph()))
    graph = load_tflite(_wide() if name == "wide" else MODELS / f"{name}.tflite")
    return Stepped(write_container(bare_quant_graph(graph, ("w8", "w4", "f32"))))


def _runs(model: Stepped) -> Iterator[tuple[int, int]]:
    for path in range(int(model.container.model.n_paths)):
        for exit in range(model.n_exits):
            yield path, exit


def _whole(model: Stepped, path: int, exit: int) -> tuple[list[bytes], tuple[bytes, int, int, int]]:
    """Return the output of every op of a run in whole ops, and its answer."""
    model.start(path)
    outputs, kind = [], 0
    while kind != lib.JLT_EVENT_EXIT:
        assert lib.jlt_engine_step(model.engine, exit, model.event) == 0
        kind = model.event.kind
        outputs.append(model.arena[model.place(model.container.ops[model.event.op].output)].tobytes())
    return outputs, model.answer(exit)


def _sizes(seed: int) -> Tiles:
    rng = np.random.default_rng(seed)
    return lambda: int(rng.choice([1, 1, 2, 3, 5, 9, 0]))


@pytest.mark.parametrize("name", NAMES)
def test_however_an_op_is_divided_its_bytes_are_the_same(name: str) -> None:
    model = stepped(name)
    for path, exit in _runs(model):
        outputs, answer = _whole(model, path, exit)
        for seed in range(3):
            sizes = _sizes(seed) if seed else lambda: 1
            model.start(path)
            found, kind, macs = [], 0, 0
            while kind != lib.JLT_EVENT_EXIT:
                kind = model.tile(exit, sizes())
                if kind == lib.JLT_EVENT_TILE:
                    assert model.event.macs == macs  # counted when the op ends
                else:
                    macs = model.event.macs
                    found.append(model.arena[model.place(model.container.ops[model.event.op].output)].tobytes())
            assert found == outputs
            assert model.answer(exit) == answer


def _in_order(model: Stepped, op: int) -> bool:
    """Whether the op writes all of its output: copies may write here and there, and are one unit then."""
    return bool(model.container.ops[op].code != COPY) or lib.jlt_op_units(model.container, op, model.engine.is_f32) > 1


def _spoiled_tile(model: Stepped, mark: Any, kept: np.ndarray, exit: int, units: int, pattern: int) -> np.ndarray:
    """Run a tile in an arena where only live tensors are as they were; check what it leaves alone; return the arena."""
    live = model.live(mark.next_op, mark.unit)
    model.arena[:] = np.where(live, kept, pattern)
    before = model.arena.copy()
    assert lib.jlt_engine_restore(model.engine, mark) == 0
    model.tile(exit, units)
    tensor, place = model.written()
    assert tensor == model.container.ops[model.event.op].output
    after = model.arena.copy()
    untouched = np.ones(len(after), bool)
    untouched[place] = untouched[model.scratch(int(model.event.op))] = False
    np.testing.assert_array_equal(after[untouched], before[untouched])
    return after


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_from_marks_and_live_tensors_alone(name: str) -> None:
    """Everything else is garbage at every boundary, of two kinds: what is written depends on neither."""
    model = stepped(name)
    for path, exit in _runs(model):
        _, answer = _whole(model, path, exit)
        for seed in range(2):
            sizes = _sizes(10 + seed) if seed else lambda: 1
            model.start(path)
            kept, kind = model.arena.copy(), 0
            while kind != lib.JLT_EVENT_EXIT:
                mark, units = model.save(), sizes()
                first, second = (_spoiled_tile(model, mark, kept, exit, units, pattern) for pattern in PATTERNS)
                kind, kept = model.event.kind, second
                _, place = model.written()
                if _in_order(model, model.event.op):
                    np.testing.assert_array_equal(first[place], second[place])
            assert model.answer(exit) == answer


def test_every_exit_in_turn_from_marks_and_live_tensors_alone() -> None:
    model = stepped("tiny")
    for path in range(int(model.container.model.n_paths)):
        expected = [_whole(model, path, exit)[1][:3] for exit in range(model.n_exits)]
        model.start(path)
        kept = model.arena.copy()
        for exit in range(model.n_exits):
            kind = 0
            while kind != lib.JLT_EVENT_EXIT:
                kept = _spoiled_tile(model, model.save(), kept, exit, 1, 0x33)
                kind = model.event.kind
            assert model.answer(exit)[:3] == expected[exit]


@pytest.mark.parametrize("name", sorted(random_ops.OPS))
def test_random_shapes_in_tiles(name: str) -> None:
    for seed in range(12):
        model = Stepped(write_container(bare_quant_graph(load_tflite(random_ops.model(name, seed)), ("w8", "w4"))))
        for path, exit in _runs(model):
            _, answer = _whole(model, path, exit)
            sizes = _sizes(seed)
            model.start(path)
            kept, kind = model.arena.copy(), 0
            while kind != lib.JLT_EVENT_EXIT:
                kept = _spoiled_tile(model, model.save(), kept, exit, sizes(), 0x55)
                kind = model.event.kind
            assert model.answer(exit) == answer


def test_units_divide_the_ops_that_take_long() -> None:
    divided = set()
    for name in NAMES:
        model = stepped(name)
        for op in range(model.n_ops):
            assert lib.jlt_op_units(model.container, op, True) == 1
            if lib.jlt_op_units(model.container, op, False) > 1:
                divided.add(int(model.container.ops[op].code))
        assert lib.jlt_op_units(model.container, model.n_ops, False) == 0
    assert divided >= set(range(1, 19)), sorted(divided)


@pytest.mark.parametrize("name", NAMES)
def test_live_bytes_are_those_of_the_live_tensors(name: str) -> None:
    model = stepped(name)
    model.start(0)
    last = int(model.container.exits[model.n_exits - 1].last_op)
    for op in range(last + 1):
        for unit in range(min(2, lib.jlt_op_units(model.container, op, False))):
            assert lib.jlt_live_bytes(model.container, op, unit) == model.live(op, unit).sum() > 0
    assert lib.jlt_live_bytes(model.container, last + 1, 0) == 0
    for tensor in range(model.n_tensors):
        live = [lib.jlt_live_at(model.container, op, 0, tensor) for op in range(last + 2)]
        assert not live[last + 1]
        if model.container.tensors[tensor].flags & lib.JLT_TENSOR_FLAG_CONST:
            assert not any(live)
    inputs = {model.container.model.inputs[i] for i in range(model.container.model.n_inputs)}
    assert all(
        lib.jlt_live_at(model.container, 0, 0, tensor) == (tensor in inputs) for tensor in range(model.n_tensors)
    )
    assert not lib.jlt_live_at(model.container, 0, 0, model.n_tensors)


def _is_live(model: Stepped, next_op: int, unit: int, tensor: int) -> bool:
    """Say it anew: begun by an op that lies behind or given, and of use to one that lies ahead or to an answer to come."""
    container = model.container
    ops = [container.ops[i] for i in range(int(container.exits[model.n_exits - 1].last_op) + 1)]
    outputs = {op.output for op in ops[: next_op + (unit > 0)]}
    begun = outputs | {container.model.inputs[i] for i in range(container.model.n_inputs)}
    wanted = {op.inputs[i] for op in ops[next_op:] for i in range(op.n_inputs)}
    if next_op < len(ops):
        wanted |= {container.model.outputs[i] for i in range(container.model.n_outputs)}
    for k in range(model.n_exits):
        exit = container.exits[k]
        if exit.last_op >= next_op:
            wanted |= {exit.output, exit.logits} if exit.n_classes else {exit.output}
    return tensor in begun & wanted and not container.tensors[tensor].flags & lib.JLT_TENSOR_FLAG_CONST


@pytest.mark.parametrize("name", NAMES)
def test_live_tensors_are_those_begun_and_wanted(name: str) -> None:
    model = stepped(name)
    for op in range(model.n_ops + 1):
        for unit in (0, 1):
            for tensor in range(model.n_tensors):
                found = lib.jlt_live_at(model.container, op, unit, tensor)
                assert found == _is_live(model, op, unit, tensor), (op, unit, tensor)


def _half(model: Stepped, exit: int) -> None:
    """Go on until an op is half done."""
    while model.tile(exit, 1) != lib.JLT_EVENT_TILE:
        pass


def test_steps_finish_what_tiles_began() -> None:
    model = stepped("tiny")
    _, answer = _whole(model, 0, 1)
    model.start(0)
    assert model.units(1)[0] == 0
    _half(model, 1)
    op, (done, total) = model.event.op, model.units(1)
    assert (done, model.engine.unit, model.engine.next_op) == (1, 1, op)
    assert done < total
    assert lib.jlt_engine_switch(model.engine, 0) == -21
    assert lib.jlt_engine_write(model.engine, 0, ffi.new("uint8_t[32]"), 32) == -21
    assert lib.jlt_engine_step(model.engine, 1, model.event) == 0
    assert (model.event.kind, model.event.op, model.engine.unit) == (lib.JLT_EVENT_LAYER, op, 0)
    assert lib.jlt_engine_switch(model.engine, 0) == 0
    while model.tile(1, 0) != lib.JLT_EVENT_EXIT:
        pass
    assert model.answer(1) == answer


def test_a_head_left_in_the_middle_of_an_op_is_dropped() -> None:
    model = stepped("tiny")
    expected = _whole(model, 0, 1)[1][:3]
    heads = [op for op in range(model.n_ops) if model.container.ops[op].exit == 0]
    model.start(0)
    while model.engine.next_op < heads[0]:
        model.tile(0, 0)
    model.engine.next_op, model.engine.unit = heads[0], 1  # as if it had been begun
    assert model.units(0)[0] == 1
    assert model.units(1)[0] == 0
    while model.tile(1, 0) != lib.JLT_EVENT_EXIT:
        assert model.engine.unit == 0
    assert model.answer(1)[:3] == expected


def test_nothing_has_been_written_before_the_first_tile() -> None:
    model = stepped("tiny")
    fields = ffi.new("uint16_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
    model.start(0)
    assert lib.jlt_engine_written(model.engine, *fields) == -21
    model.tile(1, 1)
    assert lib.jlt_engine_written(model.engine, *fields) == 0
    assert lib.jlt_engine_restore(model.engine, model.save()) == 0
    assert lib.jlt_engine_written(model.engine, *fields) == -21


def _marks(name: str) -> list[Any]:
    """Return a mark of every boundary of a run to the last exit by all paths, tile by tile."""
    model = stepped(name)
    marks = []
    for path in range(int(model.container.model.n_paths)):
        model.start(path)
        marks.append(model.save())
        while model.tile(model.n_exits - 1, 1) != lib.JLT_EVENT_EXIT:
            marks.append(model.save())
        marks.append(model.save())
    return marks


def _refused(model: Stepped, mark: Any) -> bool:
    before = bytes(ffi.buffer(model.engine))
    if lib.jlt_engine_restore(model.engine, mark) == 0:
        return False
    assert bytes(ffi.buffer(model.engine)) == before
    return True


@pytest.mark.parametrize("name", ["tiny", "residual_int8"])
def test_marks_with_one_field_that_cannot_be_are_refused(name: str) -> None:
    model = stepped(name)
    last = int(model.container.exits[model.n_exits - 1].last_op)
    for mark in _marks(name):
        assert not _refused(model, mark)
        none = (0,) if mark.next_op > last else ()
        wrong = {
            "path": (int(model.container.model.n_paths), 0xFFFF),
            "next_op": (last + 2, 0xFFFF),
            "unit": (lib.jlt_op_units(model.container, mark.next_op, model.engine.is_f32) or 1, 0xFFFFFFFF),
            "macs": (mark.macs + (1 << 40), (1 << 64) - 1, *none),
            "ops_run": (mark.next_op + 1, 0xFFFFFFFF, *none),
            "segment": (model.n_exits, 255, *range(mark.segment if mark.next_op > last else 0)),
            "started": (0, 2, 255),
            "entered": (1 - mark.entered, 2, 255),
            "reserved": (1, 255),
        }
        for field, values in wrong.items():
            for value in values:
                hostile = ffi.new("jlt_engine_mark_t *", mark[0])
                setattr(hostile, field, value)
                assert _refused(model, hostile), (field, value, mark.next_op, mark.unit)
    assert _refused(model, ffi.new("jlt_engine_mark_t *"))
    erased = ffi.new("jlt_engine_mark_t *")
    ffi.memmove(erased, b"\xff" * 24, 24)
    assert _refused(model, erased)


_FIELDS = {
    "macs": st.integers(0, 3000) | st.integers(0, (1 << 64) - 1),
    "ops_run": st.integers(0, 14) | st.integers(0, (1 << 32) - 1),
    "unit": st.integers(0, 8) | st.integers(0, (1 << 32) - 1),
    "path": st.integers(0, 3) | st.integers(0, 0xFFFF),
    "next_op": st.integers(0, 12) | st.integers(0, 0xFFFF),
    "segment": st.integers(0, 2) | st.integers(0, 255),
    "started": st.integers(0, 2) | st.integers(0, 255),
    "entered": st.integers(0, 2) | st.integers(0, 255),
    "reserved": st.just(0) | st.integers(0, 255),
}
_TINY_MARKS = len(_marks("tiny"))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, _TINY_MARKS - 1), st.fixed_dictionaries({}, optional=_FIELDS))
def test_a_mark_is_refused_or_runs_to_the_last_exit(at: int, changed: dict[str, int]) -> None:
    model = stepped("tiny")
    mark = ffi.new("jlt_engine_mark_t *", _cached_marks()[at][0])
    for field, value in changed.items():
        setattr(mark, field, value)
    if _refused(model, mark):
        assert changed
        return
    exit = model.n_exits - 1
    if mark.next_op > model.container.exits[exit].last_op:
        assert lib.jlt_engine_tile(model.engine, exit, 1, model.event) == -21
        return
    done, total = model.units(exit)
    assert done < total
    while model.tile(exit, 1) != lib.JLT_EVENT_EXIT:
        pass


@functools.cache
def _cached_marks() -> list[Any]:
    return _marks("tiny")


def test_a_mark_needs_the_planes_of_its_path() -> None:
    model = stepped("tiny")
    stripped = Stepped(without_low_planes(write_container(tiny_quant_graph())))
    for mark in _cached_marks():
        low = mark.path != 1  # w4
        assert lib.jlt_engine_restore(stripped.engine, mark) == (-20 if low else 0)
        assert lib.jlt_engine_restore(model.engine, mark) == 0


def test_a_mark_needs_the_arena_of_its_path() -> None:
    model = stepped("residual_int8")
    marks = _marks("residual_int8")
    small = ffi.new("jlt_engine_t *")
    arena = np.zeros(lib.jlt_arena_bytes(model.container, 0) + 16, np.uint8)
    aligned = arena[-arena.ctypes.data % 16 :][: lib.jlt_arena_bytes(model.container, 0)]
    view = ffi.from_buffer("uint8_t[]", aligned)
    assert lib.jlt_engine_init(small, model.container, view, len(aligned)) == 0
    assert {lib.jlt_engine_restore(small, mark) for mark in marks if mark.path == 2} == {-1}
    assert {lib.jlt_engine_restore(small, mark) for mark in marks if mark.path != 2} == {0}
