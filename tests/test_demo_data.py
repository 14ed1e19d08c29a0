# SPDX-License-Identifier: Apache-2.0
"""The demo's own data: the split, the model, the trace and the writer of the recipe."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from joulet.demo import watch
from joulet.energy.trace import load_trace
from joulet.errors import MissingDependencyError, UsageError
from joulet.importers.tflite import load_tflite
from joulet.ir import DType, OpKind
from joulet.tools import demo_trace
from joulet.tools.demo_tflite import Layer, write_tflite

DEMO = Path(__file__).resolve().parents[1] / "runtime" / "demo"
has_recordings = pytest.mark.skipif(
    importlib.util.find_spec("seglearn") is None, reason="seglearn, which carries the recordings, is not installed"
)


@has_recordings
def test_no_person_and_no_recording_is_in_two_splits() -> None:
    splits = {name: watch.load_windows(name) for name in watch.SUBJECTS}
    for field in ("subject", "recording"):
        seen = [set(getattr(windows, field).tolist()) for windows in splits.values()]
        assert sum(len(part) for part in seen) == len(set().union(*seen))
    assert sum(len(set(windows.recording.tolist())) for windows in splits.values()) == 140


@has_recordings
def test_windows_are_what_the_model_takes() -> None:
    windows = watch.load_windows("test")
    assert windows.x.dtype == np.int8
    assert windows.x.shape == (773, 1, watch.WINDOW, len(watch.CHANNELS))
    assert windows.x.flags.c_contiguous
    assert set(windows.y.tolist()) == set(range(len(watch.LABELS)))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UsageError, match="calibration"):
        watch.load_windows("validation")


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'joulet\[demo\]'"):
        watch.load_windows("test")


def test_the_shipped_model_is_small_and_has_the_card_s_border() -> None:
    path = DEMO / "watch_int8.tflite"
    assert path.stat().st_size < 60_000
    graph = load_tflite(path)
    (x,) = (graph.tensors[i] for i in graph.inputs)
    (y,) = (graph.tensors[i] for i in graph.outputs)
    assert (x.shape, x.dtype) == ((1, 1, watch.WINDOW, 6), DType.S8)
    assert x.quant is not None
    assert (x.quant.scale, x.quant.zero_point) == ((watch.INPUT_SCALE,), watch.INPUT_ZERO_POINT)
    assert y.shape == (1, len(watch.LABELS))


@has_recordings
def test_the_shipped_model_is_as_good_as_its_card_says() -> None:
    runtime = pytest.importorskip("tflite_micro", reason="TensorFlow Lite Micro judges").runtime
    interpreter = runtime.Interpreter.from_bytes((DEMO / "watch_int8.tflite").read_bytes())
    windows = watch.load_windows("test")
    right = 0
    for x, y in zip(windows.x, windows.y, strict=True):
        interpreter.set_input(x[None], 0)
        interpreter.invoke()
        right += int(interpreter.get_output(0)[0].argmax() == y)
    assert right / len(windows.y) == pytest.approx(0.849, abs=5e-4)


def test_the_trace_is_one_cloudy_day() -> None:
    trace = load_trace(DEMO / "trace.csv.gz")
    assert trace.span_s == 86_400.0
    assert trace.n_gaps == 0
    # 129 W/m² on average × 1 cm² × 15 %
    assert trace.mean_w == pytest.approx(1.93e-3, rel=0.01)


def test_the_trace_is_made_the_same_again() -> None:
    values = [0.0] * 1439 + [1000.0]
    packed = demo_trace.trace_bytes(values)
    assert packed == demo_trace.trace_bytes(values)
    assert packed[4:8] == b"\0\0\0\0"  # no date of making inside


def test_the_recipe_s_writer_makes_a_file_that_runs() -> None:
    rng = np.random.default_rng(3)

    def layer(name: str, shape: tuple[int, ...], channels: int, *, stride: int = 1, depthwise: bool = False) -> Layer:
        weight = rng.normal(size=shape).astype(np.float32)
        bias = rng.normal(size=channels).astype(np.float32)
        return Layer(name=name, weight=weight, bias=bias, stride=stride, depthwise=depthwise, low=0.0, high=9.0)

    layers = (
        layer("a", (4, 1, 3, 2), 4, stride=2),
        layer("b", (1, 1, 3, 4), 4, depthwise=True),
        layer("head", (3, 4), 3),
    )
    model = write_tflite(
        layers, input_shape=(1, 1, 9, 2), input_scale=1 / 32, input_zero_point=0, description="test"
    )  # fmt: skip
    graph = load_tflite(model, name="test")
    kinds = [op.kind for op in graph.ops if op.kind is not OpKind.RESHAPE]
    assert kinds == [
        OpKind.CONV2D, OpKind.DEPTHWISE_CONV2D, OpKind.MEAN, OpKind.FULLY_CONNECTED, OpKind.SOFTMAX,
    ]  # fmt: skip
    runtime = pytest.importorskip("tflite_micro", reason="TensorFlow Lite Micro judges").runtime
    interpreter = runtime.Interpreter.from_bytes(model)
    interpreter.set_input(np.zeros((1, 1, 9, 2), dtype=np.int8), 0)
    interpreter.invoke()
    assert interpreter.get_output(0).astype(int).sum() + 3 * 128 == pytest.approx(256, abs=2)
