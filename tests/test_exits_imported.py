# SPDX-License-Identifier: Apache-2.0
"""Models with several outputs: each becomes an exit that answers what the file's own output answers."""

from __future__ import annotations

import numpy as np
import pytest
from model_zoo import RELU, Net

from joulet.compile import compile_model
from joulet.container.read import Container
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.errors import UsageError
from joulet.exits.imported import imported_exits
from joulet.importers.tflite import load_tflite
from joulet.ir import Quant, UnaryKind
from joulet.numerics import unary_table
from joulet.passes.pipeline import exact_passes
from joulet.quant.bare import bare_quant_graph


def three_outputs(*, softmax: bool) -> bytes:
    """A Keras-like classifier with two early exits, listed from the middle one; the second one shares a layer."""
    net = Net("a classifier with two early exits", 31)
    x = net.act("input", (1, 10, 10, 2), 0.03, -1)
    a = net.conv(x, 6, (3, 3), stride=(2, 2), activation=RELU, name="a")
    b = net.conv(a, 8, (3, 3), activation=RELU, name="b")
    c = net.conv(b, 10, (3, 3), activation=RELU, name="c")
    outs = []
    for k, layer in enumerate((a, b, c)):
        mean = net.act(f"mean{k}", (1, net.tensors[layer].shape[3]), net.scale[layer], net.zero[layer])
        axes = net.ints(f"axes{k}", [1, 2])
        net.op("MEAN", (layer, axes), (mean,), "ReducerOptions", KeepDims=False)
        logits = net.dense(mean, 5, scale=0.1 + 0.05 * k, name=f"logits{k}")
        outs.append(net.softmax(logits) if softmax else logits)
    return net.finish((x,), (outs[1], outs[2], outs[0]))


def inputs(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (n, 10, 10, 2)).astype(np.int8)


def plain_outputs(data: bytes, x: np.ndarray) -> list[np.ndarray]:
    """Return the answers of the file's outputs, in the file's order."""
    graph = exact_passes(load_tflite(data))
    engine = HostEngine(write_container(bare_quant_graph(graph, ("w8",))))
    return list(engine.infer([x]).outputs)


def test_outputs_become_exits_in_order_of_depth() -> None:
    data = three_outputs(softmax=True)
    x = inputs(20)
    middle, last, first = plain_outputs(data, x)
    result = compile_model(data)
    assert [e.origin for e in result.report.exits] == ["imported"] * 3
    assert [e.name for e in result.report.exits] == ["exit0", "exit1", "final"]
    costs = [e.macs for e in result.report.exits]
    assert costs == sorted(costs)
    engine = HostEngine(result.container)
    for depth, want in enumerate((first, middle, last)):
        answer = engine.infer([x], path="w8", depth=depth)
        assert (answer.exit == depth).all()
        np.testing.assert_array_equal(answer.outputs[0], want)
    spent = [int(engine.infer([x[:1]], path="w8", depth=d).macs[0]) for d in range(3)]
    assert spent == sorted(set(spent))


def test_scores_without_softmax_are_exits_where_labels_say_so() -> None:
    data = three_outputs(softmax=False)
    x = inputs(64)
    middle, last, first = plain_outputs(data, x)
    assert len(compile_model(data).report.exits) == 1
    result = compile_model(data, data={"input_0": x, "labels": last.reshape(64, 5).argmax(axis=1)})
    assert len(result.report.exits) == 3
    assert any("comes with several exits" in note for note in result.report.notes)
    engine = HostEngine(result.container)
    grids = {t.name: t.quant for t in exact_passes(load_tflite(data)).tensors}
    for depth, want in enumerate((first, middle, last)):
        have, common = grids[f"logits{depth}"], grids["logits2"]
        assert isinstance(have, Quant)
        assert isinstance(common, Quant)
        table = np.frombuffer(unary_table(UnaryKind.REQUANTIZE, 0.0, have, common), np.int8)
        expected = table[want.astype(np.int64) + 128] if depth < 2 else want
        np.testing.assert_array_equal(engine.infer([x], path="w8", depth=depth).outputs[0], expected)


def test_confidences_are_calibrated_for_every_exit() -> None:
    data = three_outputs(softmax=True)
    x = inputs(200, 1)
    labels = plain_outputs(data, x)[1].reshape(200, 5).argmax(axis=1)
    result = compile_model(data, data={"input_0": x, "labels": labels})
    w8 = next(p for p in result.report.paths if p.name == "w8")
    assert w8.accuracies[-1] == 1.0
    assert all(a < 1.0 for a in w8.accuracies[:-1])
    engine = HostEngine(result.container)
    answer = engine.infer([x], path="w8", depth="auto")
    assert len(np.unique(answer.confidence_q15)) > 1
    assert len(Container.from_bytes(result.container).exits) == 3


def test_more_exits_cannot_be_asked_for() -> None:
    x = inputs(64)
    with pytest.raises(UsageError, match="comes with several exits, which it keeps"):
        compile_model(three_outputs(softmax=True), data={"input_0": x}, exits=2)


def test_outputs_that_are_no_ladder_stay_outputs() -> None:
    net = Net("two heads of one layer", 32)
    x = net.act("input", (1, 12), 0.04, 8)
    shared = net.dense(x, 8, activation=RELU, name="shared")
    one, two = (net.softmax(net.dense(shared, 4, name=name)) for name in ("one", "two"))
    graph = exact_passes(load_tflite(net.finish((x,), (one, two))))
    assert imported_exits(graph, scored=True) is graph
    net = Net("scores and probabilities", 33)
    x = net.act("input", (1, 12), 0.04, 8)
    logits = net.dense(x, 4, name="logits")
    graph = exact_passes(load_tflite(net.finish((x,), (logits, net.softmax(logits)))))
    assert imported_exits(graph, scored=True) is graph
    net = Net("boxes and classes", 34)
    x = net.act("input", (1, 12), 0.04, 8)
    a = net.dense(x, 8, activation=RELU, name="a")
    b = net.dense(a, 6, name="b")
    graph = exact_passes(load_tflite(net.finish((x,), (net.softmax(net.dense(x, 4, name="c")), net.softmax(b)))))
    assert imported_exits(graph, scored=True) is graph


def test_a_float_onnx_model_with_two_outputs_has_two_exits() -> None:
    pytest.importorskip("onnx", reason="needs the package onnx")
    import onnx_zoo

    x = np.random.default_rng(3).normal(0, 1, (128, 12, 12, 2)).astype(np.float32)
    result = compile_model(onnx_zoo.two_exits(17), data={"input_0": x})
    assert [e.origin for e in result.report.exits] == ["imported", "imported"]
    engine = HostEngine(result.container)
    shallow, deep = (engine.infer([x], path="w8", depth=d) for d in (0, 1))
    assert shallow.macs[0] < deep.macs[0]
    assert shallow.outputs[0].shape == deep.outputs[0].shape == (128, 4)
