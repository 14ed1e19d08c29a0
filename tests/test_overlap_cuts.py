# SPDX-License-Identifier: Apache-2.0
"""Power cuts in the middle of ops whose outputs lie over their inputs: the same bytes as without.

The arena is lost at every cut, and with it a tile that no mark stands for. What is put back is what firmware/progress.c keeps: in
one run what was live in the arena at the mark, in the other the places that every tensor has of its own in memory, filled as
tiles end. Inputs come first, then as much of the output as was written.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board_tools import MODELS
from tiny import tiny_quant_graph

from joulet._core import ffi, lib
from joulet.compile import compile_model
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph

ISA = "ARMV6M"  # plain C: runs here
NAMES = ("tiny", *sorted(path.stem for path in MODELS.glob("*.tflite")))
BENCHMARKS = ("kws_ref_model_int8", "vww_96_int8", "ic_resnet8_int8", "ad01_int8")


class Cut:
    """One inference in tiles, with the power taken away between them."""

    def __init__(self, content: bytes, isa: str) -> None:
        self.host = HostEngine(content, isa=isa)
        self.engine, self.container, self.arena = self.host._engine, self.host._checked, self.host._arena
        self.event = ffi.new("jlt_event_t *")

    def place(self, tensor: int) -> slice:
        """Where a tensor lies in the arena."""
        begin = int(self.container.arena_offsets[tensor])
        return slice(begin, begin + lib.jlt_tensor_bytes(self.container.tensors + tensor))

    def start(self, path: int) -> None:
        """Begin on random inputs."""
        rng = np.random.default_rng(path)
        inputs = []
        for info in self.host.inputs:
            if info.dtype.kind == "f":
                inputs.append(rng.standard_normal(info.shape).astype(info.dtype))
            else:
                limits = np.iinfo(np.dtype(info.dtype.str))
                inputs.append(rng.integers(limits.min, limits.max, info.shape, info.dtype.str, endpoint=True))
        self.host.start(inputs, path)

    def live(self, mark: Any) -> list[int]:
        """Return the tensors that must be kept."""
        return [
            tensor
            for tensor in range(int(self.container.model.n_tensors))
            if lib.jlt_live_at(self.container, mark.next_op, mark.unit, tensor)
        ]

    def tile(self, exit: int, parts: int) -> bool:
        """Run about a part of an op; return whether the exit has been reached."""
        done, total = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        assert lib.jlt_engine_units(self.engine, exit, done, total) == 0
        assert lib.jlt_engine_tile(self.engine, exit, max(total[0] // parts, 1), self.event) == 0
        return bool(self.event.kind == lib.JLT_EVENT_EXIT)

    def written(self) -> tuple[int, int, int]:
        """Return the tensor that the last tile wrote, and from where to where."""
        tensor, begin, end = ffi.new("uint16_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
        assert lib.jlt_engine_written(self.engine, tensor, begin, end) == 0
        return int(tensor[0]), int(begin[0]), int(end[0])

    def answer(self, exit: int) -> bytes:
        """Return what an exit answers."""
        return self.arena[self.place(self.container.exits[exit].output)].tobytes()


def _restore(run: Cut, mark: Any, memory: dict[int, np.ndarray], written_to: int) -> None:
    """Put back what is live: whole tensors first, of the one being written only what was."""
    run.arena[:] = 0xA5
    assert lib.jlt_engine_restore(run.engine, mark) == 0
    output = int(run.container.ops[mark.next_op].output) if mark.unit else -1
    live = run.live(mark)
    for tensor in live:
        if tensor != output:
            run.arena[run.place(tensor)] = memory[tensor]
    if output in live:
        run.arena[run.place(output)][:written_to] = memory[output][:written_to]


def _cut_run(run: Cut, path: int, exit: int, parts: int, every: int, *, own_places: bool) -> bytes:
    """Run to an exit and lose all memory after every few tiles."""
    run.start(path)
    memory = {}
    mark = ffi.new("jlt_engine_mark_t *")
    lib.jlt_engine_save(run.engine, mark)
    for tensor in run.live(mark):
        memory[tensor] = run.arena[run.place(tensor)].copy()

    def tile() -> tuple[bool, int]:
        reached = run.tile(exit, parts)
        tensor, begin, end = run.written()
        place = memory.setdefault(tensor, np.full(run.place(tensor).stop - run.place(tensor).start, 0x5A, np.uint8))
        place[begin:end] = run.arena[run.place(tensor)][begin:end]
        return reached, end

    tiles, reached = 0, False
    while not reached:
        reached, end = tile()
        tiles += 1
        if tiles % every or reached:
            continue
        lib.jlt_engine_save(run.engine, mark)
        if not own_places:
            memory.update({tensor: run.arena[run.place(tensor)].copy() for tensor in run.live(mark)})
        kept = dict(memory) if own_places else {tensor: content.copy() for tensor, content in memory.items()}
        tile()
        _restore(run, mark, kept, end if mark.unit else 0)
        memory.update(kept)
    return run.answer(exit)


def _check(content: bytes, parts: int, every: int) -> None:
    plain, overlapped = Cut(content, "REF"), Cut(content, ISA)
    for path in range(int(plain.container.model.n_paths)):
        if plain.container.precisions[plain.container.paths[path].precisions[0]].is_f32:
            continue
        for exit in range(int(plain.container.model.n_exits)):
            plain.start(path)
            while not plain.tile(exit, 1):
                pass
            for own_places in (False, True):
                found = _cut_run(overlapped, path, exit, parts, every, own_places=own_places)
                assert found == plain.answer(exit), (path, exit, own_places)


@functools.cache
def zoo(name: str) -> bytes:
    """Return a small model."""
    if name == "tiny":
        return write_container(tiny_quant_graph())
    return write_container(bare_quant_graph(load_tflite(MODELS / f"{name}.tflite"), ("w8", "w4")))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("every", [1, 3])
def test_small_models(name: str, every: int) -> None:
    _check(zoo(name), parts=1000, every=every)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_models(shared_data: Path, name: str) -> None:
    content = compile_model(shared_data / "mlperf_tiny" / "models" / f"{name}.tflite", exits="off").container
    overlapped = Cut(content, ISA)
    shared = sum(_overlaps(overlapped, op) for op in range(int(overlapped.container.model.n_ops)))
    assert (shared > 0) == (name != "ad01_int8")  # all of it is fully connected
    _check(content, parts=7, every=2)


def _overlaps(run: Cut, op: int) -> bool:
    record = run.container.ops[op]
    out = run.place(record.output)
    inputs = [run.place(record.inputs[i]) for i in range(record.n_inputs)]
    return any(place.start < out.stop and out.start < place.stop for place in inputs)


def test_live_bytes_count_every_byte_once() -> None:
    run = Cut(zoo("residual_int8"), ISA)
    lowered = 0
    for op in range(int(run.container.model.n_ops)):
        mark = ffi.new("jlt_engine_mark_t *")
        mark.next_op, mark.unit = op, 1
        mask = np.zeros(len(run.arena), bool)
        total = 0
        for tensor in run.live(mark):
            mask[run.place(tensor)] = True
            total += run.place(tensor).stop - run.place(tensor).start
        assert lib.jlt_live_bytes(run.container, op, 1) == mask.sum()
        lowered += mask.sum() < total
    assert lowered > 0
