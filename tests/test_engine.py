# SPDX-License-Identifier: Apache-2.0
"""The engine: precisions, exits, steps, switches, borders and what it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import run
from tflite_build import ModelBuilder
from tiny import CLASSES, tiny_inputs, tiny_quant_graph

from joulet._core import ffi, lib
from joulet.container.assemble import without_low_planes
from joulet.container.read import Container
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.errors import ContainerError, DataError, EngineError, UsageError
from joulet.importers.tflite import load_tflite
from joulet.ir import DType
from joulet.quant.bare import bare_quant_graph
from joulet.tools import structs

FINAL_LOGITS, EARLY_LOGITS = 16, 8


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return write_container(tiny_quant_graph())


@pytest.fixture(scope="module")
def engine(tiny: bytes) -> HostEngine:
    return HostEngine(tiny)


def _margin(logits: np.ndarray) -> np.ndarray:
    best = np.sort(logits.reshape(len(logits), -1).astype(int), axis=1)
    return best[:, -1] - best[:, -2]


@pytest.mark.parametrize(("path", "precision"), [("w8", 0), ("w4", 1)])
@pytest.mark.parametrize(("exit", "logits"), [(0, EARLY_LOGITS), (1, FINAL_LOGITS)])
def test_every_exit_at_every_precision_equals_the_numpy_oracle(
    engine: HostEngine, path: str, precision: int, exit: int, logits: int
) -> None:
    source = tiny_quant_graph()
    x = tiny_inputs(32)
    expected = run(source.graph, source.precisions[precision], [x[:, None]])[logits]
    result = engine.infer([x], path=path, depth=exit)
    order = np.argsort(expected.reshape(32, CLASSES), axis=1, kind="stable")[:, -1]
    confidence = np.minimum(32767, 11000 + 700 * (_margin(expected) >> 3))
    np.testing.assert_array_equal(result.confidence_q15, confidence)
    decided = _margin(expected) > 0
    np.testing.assert_array_equal(result.outputs[0].reshape(32, CLASSES).argmax(1)[decided], order[decided])


def test_steps_and_batches_agree(engine: HostEngine) -> None:
    x = tiny_inputs(16)
    for exit in (0, 1):
        batch = engine.infer([x], depth=exit)
        for sample in range(16):
            engine.start([x[sample]], 0)
            event = engine.run_to_exit(exit)
            assert (event.exit, event.macs) == (exit, batch.macs[sample])
            assert event.confidence_q15 == batch.confidence_q15[sample]
            np.testing.assert_array_equal(engine.answer().reshape(-1), batch.outputs[0][sample].reshape(-1))


def test_going_on_past_an_exit_changes_no_byte_and_pays_for_its_head(engine: HostEngine) -> None:
    x = tiny_inputs(4)
    direct = engine.infer([x], depth=1)
    for sample in range(4):
        engine.start([x[sample]], 0)
        early = engine.run_to_exit(0)
        final = engine.run_to_exit(1)
        np.testing.assert_array_equal(engine.answer().reshape(-1), direct.outputs[0][sample].reshape(-1))
        assert early.macs < direct.macs[sample] < final.macs


def test_auto_depth_stops_at_the_threshold() -> None:
    source = tiny_quant_graph()
    x = tiny_inputs(64)
    probe = HostEngine(write_container(source)).infer([x], depth=0).confidence_q15
    threshold = int(np.median(probe))
    paths = tuple(replace(path, auto_threshold_q15=(threshold, 0)) for path in source.paths)
    result = HostEngine(write_container(replace(source, paths=paths))).infer([x], depth="auto")
    np.testing.assert_array_equal(result.exit, np.where(probe >= threshold, 0, 1))
    assert set(result.exit) == {0, 1}


def test_switching_at_an_exit_equals_the_switched_path(engine: HostEngine) -> None:
    x = tiny_inputs(8)
    expected = engine.infer([x], path="w4>w8@0")
    for sample in range(8):
        engine.start([x[sample]], engine.path_index("w4"))
        engine.run_to_exit(0)
        engine.switch(engine.path_index("w4>w8@0"))
        event = engine.run_to_exit(1)
        assert event.confidence_q15 == expected.confidence_q15[sample]
        np.testing.assert_array_equal(engine.answer().reshape(-1), expected.outputs[0][sample].reshape(-1))


def test_a_switch_cannot_rewrite_the_past(engine: HostEngine) -> None:
    engine.start([tiny_inputs(1)[0]], engine.path_index("w8"))
    engine.run_to_exit(0)
    with pytest.raises(EngineError, match="already run"):
        engine.switch(engine.path_index("w4"))


def test_an_exit_cannot_be_reached_twice(engine: HostEngine) -> None:
    engine.start([tiny_inputs(1)[0]], 0)
    engine.run_to_exit(0)
    with pytest.raises(EngineError, match="wrong order"):
        engine.run_to_exit(0)


def test_without_low_planes_only_four_bits_run(tiny: bytes) -> None:
    stripped = HostEngine(without_low_planes(tiny))
    x = tiny_inputs(8)
    np.testing.assert_array_equal(
        stripped.infer([x], path="w4").outputs[0], HostEngine(tiny).infer([x], path="w4").outputs[0]
    )
    with pytest.raises(EngineError, match="low planes"):
        stripped.infer([x], path="w8")


@pytest.mark.parametrize(
    ("model", "mean_steps", "most_steps"),
    [
        ("movement_int8", 0, 0),
        ("activations_int8", 0.1, 1),
        ("resize_int8", 0.3, 1),
        ("pools_int8", 1, 2),
        ("residual_int8", 1.5, 8),
        # int8 saturates inside, f32 does not: single values may go far apart, most may not
        ("conv_int8", 4, 64),
        ("depthwise_int8", 4, 128),
        ("dense_int8", 5, 96),
    ],
)
def test_f32_follows_w8(models: Path, model: str, mean_steps: float, most_steps: int) -> None:
    graph = load_tflite(models / f"{model}.tflite")
    engine = HostEngine(write_container(bare_quant_graph(graph, ("w8", "f32"))))
    rng = np.random.default_rng(5)
    x = [rng.integers(-128, 128, (16, *info.shape[1:])).astype(np.int8) for info in engine.inputs]
    for w8, f32 in zip(engine.infer(x, path="w8").outputs, engine.infer(x, path="f32").outputs, strict=True):
        steps = np.abs(w8.astype(int) - f32.astype(int))
        assert steps.mean() <= mean_steps
        assert steps.max() <= most_steps


def _requantise_u8() -> bytes:
    builder = ModelBuilder("border")
    x = builder.tensor("x", (1, 6), "UINT8", scale=0.05, zero=100)
    y = builder.tensor("y", (1, 6), "UINT8", scale=0.05, zero=100)
    builder.op("RELU6", (x,), (y,))
    return builder.finish([x], [y])


def test_uint8_borders_are_seen_outside_only() -> None:
    engine = HostEngine(write_container(bare_quant_graph(load_tflite(_requantise_u8()))))
    assert engine.inputs[0].dtype == engine.outputs[0].dtype == np.uint8
    assert engine.inputs[0].zero_point == 100
    x = np.array([[0, 99, 100, 150, 220, 255]], np.uint8)
    np.testing.assert_array_equal(engine.infer([x]).outputs[0].reshape(1, 6), [[100, 100, 100, 150, 220, 220]])


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([], "inputs"),
        ([np.zeros((0, 4, 4, 2), np.int8)], "no samples"),
        ([np.zeros((1, 4, 4, 2), np.uint8)], "dtype"),
        ([np.zeros((1, 4, 4, 3), np.int8)], "shape"),
        ([np.zeros((), np.int8)], "samples"),
    ],
)
def test_wrong_arrays_are_named(engine: HostEngine, inputs: list[np.ndarray], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        engine.infer(inputs)


def test_unknown_paths_and_depths_are_named(engine: HostEngine) -> None:
    x = [tiny_inputs(1)]
    with pytest.raises(UsageError, match="w9"):
        engine.infer(x, path="w9")
    with pytest.raises(UsageError, match="depth"):
        engine.infer(x, depth=7)


def _best_us(call: Callable[[], object], repeat: int) -> float:
    best = np.inf
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(repeat):
            call()
        best = min(best, (time.perf_counter() - begin) / repeat)
    return best * 1e6


@pytest.mark.wall_clock
def test_prepared_calls_add_at_most_three_microseconds(engine: HostEngine) -> None:
    x = tiny_inputs(500)
    out = np.empty((500, CLASSES), np.int8)
    in_batch_us = _best_us(engine.bind([x], [out]), 2) / 500
    alone_us = _best_us(engine.bind([x[:1]], [out[:1]]), 500)
    assert alone_us - in_batch_us <= 3.0


def test_prepared_calls_read_and_write_the_callers_arrays(engine: HostEngine) -> None:
    x, out = tiny_inputs(4), np.zeros((4, CLASSES), np.int8)
    prepared = engine.bind([x], [out])
    prepared()
    np.testing.assert_array_equal(out, engine.infer([x]).outputs[0].reshape(4, CLASSES))
    x[:] = x[::-1].copy()
    before = out.copy()
    prepared()
    np.testing.assert_array_equal(out, before[::-1])


@pytest.mark.parametrize("step", [1, 7])
def test_truncated_and_damaged_containers_are_refused(tiny: bytes, step: int) -> None:
    rng = np.random.default_rng(step)
    base = np.zeros(len(tiny) + 64, np.uint8)
    aligned = base[-base.ctypes.data % 64 :]
    view = ffi.new("jlt_container_t *")

    def status(data: bytes) -> int:
        aligned[: len(data)] = np.frombuffer(data, np.uint8)
        return int(lib.jlt_container_check(ffi.from_buffer("uint8_t[]", aligned), len(data), view))

    assert status(tiny) == 0
    assert all(status(tiny[:length]) < 0 for length in rng.integers(0, len(tiny), 200))
    sections = Container.from_bytes(tiny).sections
    guarded = [(0, 64 + 64 * len(sections))] + [(s.offset, s.size_bytes) for s in sections if s.present]
    for offset, size in guarded:
        for at in rng.integers(offset, offset + size, 20):
            damaged = bytearray(tiny)
            damaged[at] ^= 1 << int(rng.integers(0, 8))
            assert status(bytes(damaged)) < 0, f"byte {at} flipped"
    assert status(tiny) == 0


def test_reopening_reads_the_table_and_trusts_the_rest(tiny: bytes) -> None:
    room = np.zeros(len(tiny) + 64, np.uint8)
    aligned = room[-room.ctypes.data % 64 :][: len(tiny)]
    aligned[:] = np.frombuffer(tiny, np.uint8)
    view, again = ffi.new("jlt_container_t *"), ffi.new("jlt_container_t *")
    base = ffi.from_buffer("uint8_t[]", aligned)
    assert lib.jlt_container_check(base, len(tiny), view) == 0
    assert lib.jlt_container_reopen(base, len(tiny), again) == 0
    assert bytes(ffi.buffer(view)) == bytes(ffi.buffer(again))
    weights = next(s for s in Container.from_bytes(tiny).sections if s.name == "PLANE_HIGH")
    aligned[weights.offset] ^= 1
    assert lib.jlt_container_check(base, len(tiny), view) == -6
    assert lib.jlt_container_reopen(base, len(tiny), again) == 0
    aligned[weights.offset] ^= 1
    model = next(i for i, s in enumerate(Container.from_bytes(tiny).sections) if s.name == "MODEL")
    for at in (0, 8, 12, 64 + 64 * model):  # magic, version, length, a section that must be there
        aligned[at] ^= 1
        assert lib.jlt_container_reopen(base, len(tiny), again) < 0
        aligned[at] ^= 1


def test_the_python_side_names_the_check() -> None:
    with pytest.raises(ContainerError):
        HostEngine(b"\x89JLT\r\n\x1a\n" + bytes(200))


def test_the_c_records_are_those_of_layout() -> None:
    root = Path(__file__).resolve().parents[1]
    assert (root / structs.FORMAT_H).read_text(encoding="utf-8") == structs.render_format()


def test_the_oracle_and_the_engine_mean_the_same_tensor() -> None:
    graph = tiny_quant_graph().graph
    assert graph.tensors[FINAL_LOGITS].dtype is DType.S8
    assert graph.exits[-1].logits == FINAL_LOGITS
