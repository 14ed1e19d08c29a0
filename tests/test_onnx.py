# SPDX-License-Identifier: Apache-2.0
"""ONNX models: what is imported computes what ONNX Runtime computes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from joulet.errors import UnsupportedModelError
from joulet.ir import DType, Graph, OpKind
from joulet.passes.pipeline import exact_passes
from joulet.passes.verify import verify
from joulet.quant.float_exec import run_float

pytest.importorskip("onnx", reason="needs the package onnx")
ort = pytest.importorskip("onnxruntime", reason="needs the judge, onnxruntime")

import onnx_zoo  # noqa: E402

from joulet.importers.onnx import load_onnx  # noqa: E402

OPSETS = (11, 13, 17, 18, 21)


def session(data: bytes) -> ort.InferenceSession:
    """Return the judge, computing node by node: fused int8 kernels saturate on processors without VNNI."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def judged(data: bytes, samples: int, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return inputs ``(samples, *shape)`` in the file's order and the judge's outputs."""
    judge = session(data)
    shape = [d if isinstance(d, int) else 1 for d in judge.get_inputs()[0].shape]
    x = np.random.default_rng(seed).normal(0, 1, (samples, *shape[1:])).astype(np.float32)
    name = judge.get_inputs()[0].name
    rows = [judge.run(None, {name: x[i : i + 1]}) for i in range(samples)]
    return x, [np.stack([row[k] for row in rows]) for k in range(len(rows[0]))]


def as_stored(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Return inputs in the graph's order."""
    shape = graph.tensors[graph.inputs[0]].shape
    if x.shape[1:] == shape[1:]:
        return x
    if x.ndim == 4:
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return np.ascontiguousarray(x.transpose(0, 2, 1))[:, None]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", onnx_zoo.MODELS)
def test_a_float_model_computes_what_the_judge_computes(name: str, opset: int) -> None:
    data = onnx_zoo.MODELS[name](opset)
    graph = load_onnx(data, name=name)
    verify(graph)
    graph = exact_passes(graph)
    x, outputs = judged(data, 3)
    values = run_float(graph, {graph.inputs[0]: as_stored(graph, x)})
    assert len(outputs) == len(graph.outputs)
    for t, want in zip(graph.outputs, outputs, strict=True):
        got = values[t]
        assert graph.tensors[t].shape == want.shape[1:]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_layouts_are_turned_without_moving_anything() -> None:
    for name in ("torch_cnn", "tf_cnn", "flat_head", "residual", "sequence", "pools"):
        graph = exact_passes(load_onnx(onnx_zoo.MODELS[name](17)))
        assert OpKind.TRANSPOSE not in {op.kind for op in graph.ops}, name
    kinds = Counter(op.kind for op in exact_passes(load_onnx(onnx_zoo.moves(17))).ops)
    assert kinds[OpKind.TRANSPOSE] <= 4  # a channel shuffle does move


def test_normalisations_biases_and_clamps_end_in_their_layers() -> None:
    graph = exact_passes(load_onnx(onnx_zoo.torch_cnn(17)))
    assert not {OpKind.MUL, OpKind.ADD, OpKind.UNARY} & {op.kind for op in graph.ops}
    graph = exact_passes(load_onnx(onnx_zoo.tf_cnn(17)))
    assert not {OpKind.ADD, OpKind.UNARY} & {op.kind for op in graph.ops}
    kinds = Counter(op.kind for op in exact_passes(load_onnx(onnx_zoo.residual(17))).ops)
    assert kinds[OpKind.UNARY] == 1  # hard swish, in one piece again


def test_the_notes_say_where_the_order_is_another() -> None:
    assert "NHWC" in load_onnx(onnx_zoo.torch_cnn(17)).source["notes"]
    graph = load_onnx(onnx_zoo.tf_cnn(17))
    assert graph.source["notes"] == ""
    assert graph.tensors[graph.inputs[0]].shape == (1, 12, 15, 2)


# int8


def quantised(data: bytes, folder: Path, *, activations: str, weights: str, per_channel: bool) -> bytes:
    """Return the QDQ model that ONNX Runtime's own quantiser makes of a float one."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    x, _ = judged(data, 32, seed=1)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter([{session(data).get_inputs()[0].name: x[i : i + 1]} for i in range(len(x))])

        def get_next(self) -> dict | None:
            return next(self.rows, None)

    source, target = folder / "float.onnx", folder / "qdq.onnx"
    source.write_bytes(data)
    # What its users are told to do first: normalisations are folded there.
    shape_inference = pytest.importorskip("onnxruntime.quantization.shape_inference")
    shape_inference.quant_pre_process(str(source), str(source), skip_symbolic_shape=True)
    types = {"int8": quantization.QuantType.QInt8, "uint8": quantization.QuantType.QUInt8}
    quantization.quantize_static(
        str(source), str(target), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=per_channel,
        activation_type=types[activations], weight_type=types[weights],
    )  # fmt: skip
    return target.read_bytes()


def on_engine(graph: Graph, x: np.ndarray) -> list[np.ndarray]:
    """Return what the C engine answers."""
    from joulet.container.write import write_container
    from joulet.engine.host import HostEngine
    from joulet.quant.bare import bare_quant_graph

    engine = HostEngine(write_container(bare_quant_graph(exact_passes(graph), ("w8",))))
    return list(engine.infer([as_stored(graph, x)]).outputs)


def output_step(graph: Graph, output: int) -> float:
    """Return the scale of the int8 tensor that an output is made of."""
    maker = next(op for op in graph.ops if output in op.outputs)
    quant = graph.tensors[maker.inputs[0]].quant
    assert maker.kind is OpKind.DEQUANTIZE
    assert quant is not None
    return quant.scale[0]


@pytest.mark.parametrize(
    ("activations", "weights", "per_channel"),
    [("int8", "int8", True), ("uint8", "int8", True), ("uint8", "uint8", False)],
)
@pytest.mark.parametrize("name", ["torch_cnn", "tf_cnn", "flat_head", "residual", "moves", "resizes", "sequence"])
def test_a_qdq_model_stays_within_steps_of_the_judge(
    name: str, activations: str, weights: str, per_channel: bool, tmp_path: Path
) -> None:
    per_channel = per_channel and name != "tf_cnn"  # on which the quantiser itself fails
    data = quantised(
        onnx_zoo.MODELS[name](17), tmp_path, activations=activations, weights=weights, per_channel=per_channel
    )
    graph = load_onnx(data, name=name)
    assert {graph.tensors[op.outputs[0]].dtype for op in graph.ops} <= {DType.S8, DType.F32}
    x, outputs = judged(data, 24)
    for t, got, want in zip(graph.outputs, on_engine(graph, x), outputs, strict=True):
        steps = np.abs(got - want.reshape(got.shape)) / output_step(graph, t)
        # Roundings differ in every layer; through at most seven of them most values agree, and none is far.
        assert steps.mean() < 0.6
        assert steps.max() < 6.5


def test_what_is_not_covered_is_listed_with_its_nodes() -> None:
    net = onnx_zoo.Net(17)
    x = net.node("Erf", net.conv("x", 2, 4, (3, 3)))
    x = net.node("Clip", x, net.const(0.5), net.const(2.0))
    x = net.node("Einsum", x, x, equation="nchw,nchw->nchw")
    with pytest.raises(UnsupportedModelError, match=r"Erf at 'erf_1'; .*Einsum at 'einsum_3'.*Replace these layers"):
        load_onnx(net.finish((1, 2, 5, 5), [x]))


def test_a_float_model_compiles_like_a_float_tflite(tmp_path: Path) -> None:
    """ONNX in, container out; the quantised answers stay close to the float ones."""
    from joulet.compile import compile_model
    from joulet.engine.host import HostEngine

    data = onnx_zoo.torch_cnn(17)
    path = tmp_path / "small.onnx"
    path.write_bytes(data)
    x, outputs = judged(data, 128)
    stored = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    result = compile_model(path, data={"input_0": stored}, exits="off")
    assert result.report.name == "small"
    assert any("NHWC" in note for note in result.report.notes)
    got = HostEngine(result.container).infer([stored], path="w8").outputs[0]
    assert np.abs(got - outputs[0].reshape(got.shape)).mean() < 0.02


def test_a_float_model_gets_exits(tmp_path: Path) -> None:
    """Its inputs stay float, for synthetic outliers too."""
    from joulet.compile import compile_model
    from joulet.engine.host import HostEngine

    path = tmp_path / "small.onnx"
    path.write_bytes(onnx_zoo.torch_cnn(17))
    x, outputs = judged(path.read_bytes(), 128)
    stored = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    labels = outputs[0].reshape(len(x), -1).argmax(axis=1)
    engine = HostEngine(compile_model(path, data={"input_0": stored, "labels": labels}, exits=1).container)
    assert engine.exit_names == ("exit0", "refit", "final")
    assert (engine.infer([stored], path="w8").outputs[0].reshape(len(x), -1).argmax(axis=1) == labels).mean() > 0.9
