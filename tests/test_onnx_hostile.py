# SPDX-License-Identifier: Apache-2.0
"""Foreign ONNX bytes: refused in one line that names the node and the remedy, never a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from joulet.errors import JouletError, MalformedModelError, ModelError, UnsupportedModelError, UsageError
from joulet.passes.pipeline import exact_passes

onnx = pytest.importorskip("onnx", reason="needs the package onnx")

import onnx_zoo  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from joulet.importers.load import is_onnx, load_model  # noqa: E402
from joulet.importers.onnx import load_onnx  # noqa: E402


def changed(edit, name: str = "torch_cnn") -> bytes:
    """Return a model of the zoo after ``edit(model)``."""
    model = onnx.ModelProto.FromString(onnx_zoo.MODELS[name](17))
    edit(model)
    return model.SerializeToString()


def refused(data: bytes, kind: type[ModelError], match: str) -> None:
    with pytest.raises(kind, match=match) as caught:
        load_onnx(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"TFL3" * 8, b"\x08\x08", bytes(range(256))])
def test_what_is_no_model(data: bytes) -> None:
    refused(data, MalformedModelError, "ONNX")


def test_weights_in_another_file_are_never_looked_for(tmp_path: Path) -> None:
    def edit(model) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "../../../etc/passwd"

    refused(changed(edit), UnsupportedModelError, "never opened; save the model as one file")


@pytest.mark.parametrize("dims", [[8, 3, 3], [8, 3, 3, 4], [-1, 3, 3, 3], [1 << 40, 1 << 40], [1] * 40])
def test_constants_whose_shape_does_not_fit_their_bytes(dims: list[int]) -> None:
    def edit(model) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    refused(changed(edit), MalformedModelError, "constant 'c0'")


def test_a_node_that_reads_what_comes_later() -> None:
    def edit(model) -> None:
        nodes = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend(reversed(nodes))

    refused(changed(edit), MalformedModelError, "before anything has written it")


def test_a_name_written_twice() -> None:
    refused(changed(lambda m: m.graph.node.append(m.graph.node[-1])), MalformedModelError, "more than once")


def test_shapes_that_contradict_what_is_computed() -> None:
    def edit(model) -> None:
        for info in model.graph.value_info:
            if info.name.startswith("maxpool"):
                info.type.tensor_type.shape.dim[2].dim_value = 77

    refused(changed(edit), MalformedModelError, "declared .* but computes to")


def test_names_cannot_break_a_message() -> None:
    def edit(model) -> None:
        model.graph.node[0].op_type = "Conv\nTraceback\x1b[31m"
        model.graph.node[0].name = "a\nb" * 2000

    with pytest.raises(UnsupportedModelError) as caught:
        load_onnx(changed(edit))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    ("op", "attributes", "kind", "match"),
    [
        ("conv", {"strides": [0, 1]}, MalformedModelError, "do not fit"),
        ("conv", {"dilations": [1, 1, 1]}, MalformedModelError, "do not fit"),
        ("conv", {"pads": [1 << 40, 0, 0, 0]}, MalformedModelError, "do not fit"),
        ("conv", {"pads": [-1, 0, 0, 0]}, UnsupportedModelError, "negative padding"),
        ("conv", {"group": 5}, MalformedModelError, "group 5"),
        ("conv", {"group": "two"}, MalformedModelError, "group of the wrong type"),
        ("conv", {"auto_pad": "SOMEHOW"}, MalformedModelError, "SOMEHOW"),
        ("gemm", {"transA": 1}, UnsupportedModelError, r"transA\) at 'gemm"),
        ("flatten", {"axis": 9}, MalformedModelError, "axis 9"),
        ("softmax", {"axis": 9}, MalformedModelError, "axis 9"),
        ("maxpool", {"kernel_shape": [2]}, MalformedModelError, "kernel_shape"),
        ("maxpool", {"dilations": [2, 2]}, UnsupportedModelError, "dilated"),
        ("batchnormalization", {"epsilon": -100.0}, MalformedModelError, "variance"),
        ("batchnormalization", {"epsilon": float("nan")}, MalformedModelError, "epsilon nan"),
    ],
)
def test_attributes_that_make_no_sense(op: str, attributes: dict, kind: type[ModelError], match: str) -> None:
    def edit(model) -> None:
        node = next(n for n in model.graph.node if n.name.startswith(op))
        kept = [a for a in node.attribute if a.name not in attributes]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attributes.items())])

    refused(changed(edit), kind, match)


@pytest.mark.parametrize(
    ("shape", "match"),
    [(("N", 3, "H", "W"), r"unknown size \[\?, 3, \?, \?\]"), ((1, 3, 0, 4), "empty"), ((1, 9, 4, 4), "channels")],
)
def test_inputs_of_sizes_that_cannot_be(shape: tuple, match: str) -> None:
    def edit(model) -> None:
        del model.graph.value_info[:]
        info = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
        model.graph.input[0].CopyFrom(info)

    refused(changed(edit), ModelError, match)


def test_operators_of_other_domains_and_subgraphs_are_named() -> None:
    def edit(model) -> None:
        model.graph.node[0].domain = "com.example"

    refused(changed(edit), UnsupportedModelError, r"com\.example\.Conv at 'conv_0'")
    body = helper.make_graph([], "body", [], [])
    net = onnx_zoo.Net(17)
    net.nodes.append(helper.make_node("If", ["x"], ["y"], name="choice", then_branch=body, else_branch=body))
    refused(net.finish((1, 2), ["y"]), UnsupportedModelError, "If .*then_branch.* at 'choice'")


def test_integer_layers_that_have_no_kernel_say_what_to_do() -> None:
    net = onnx_zoo.Net(17)
    scale, zero = net.const(0.1), net.const(0, "i1")
    x = net.node("DequantizeLinear", net.node("QuantizeLinear", "x", scale, zero), scale, zero)
    weights = net.node("DequantizeLinear", net.const(np.ones((3, 2)), "i1"), scale, zero)
    refused(net.finish((1, 3), [net.node("MatMul", x, weights)]), UnsupportedModelError, "add QuantizeLinear after it")
    y = net.node("QuantizeLinear", net.node("MatMul", x, net.random(3, 2)), scale, zero)
    refused(
        net.finish((1, 3), [net.node("DequantizeLinear", y, scale, zero)]),
        UnsupportedModelError,
        "quantise the weights",
    )
    y = net.node("QLinearMatMul", x, scale, zero, net.const(np.ones((3, 2)), "i1"), scale, zero, scale, zero)
    refused(net.finish((1, 3), [y]), UnsupportedModelError, r"QLinearMatMul \(quantise in QDQ form")
    wide = net.const(0, "i2")
    y = net.node("QuantizeLinear", "x", scale, wide)
    refused(net.finish((1, 3), [y]), UnsupportedModelError, "int16")


def test_a_constant_cannot_grow_without_end() -> None:
    net = onnx_zoo.Net(17)
    big = net.node("ConstantOfShape", net.const([1 << 20, 1 << 20], "i8"))
    refused(net.finish((1, 3), [net.node("Add", "x", big)]), MalformedModelError, "makes a constant of")


def test_old_and_unknown_opsets_are_refused() -> None:
    refused(changed(lambda m: setattr(m.opset_import[0], "version", 3)), UnsupportedModelError, "opset 3")
    refused(changed(lambda m: setattr(m.opset_import[0], "version", 999)), UnsupportedModelError, "opset 999")


def test_the_bytes_say_which_format_it_is(tmp_path: Path) -> None:
    data = onnx_zoo.torch_cnn(17)
    path = tmp_path / "model"
    path.write_bytes(data)
    assert is_onnx(data)
    assert is_onnx(path)
    assert load_model(path).source["format"] == "onnx"
    assert not is_onnx(Path("tests/models/dense_int8.tflite"))
    with pytest.raises(UsageError, match="cannot read"):
        load_model(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot read"):
        load_onnx(tmp_path / "none.onnx")


def refusal(data: bytes) -> str:
    """Return why a file is refused, an empty string where it gives a graph that verifies."""
    try:
        with np.errstate(all="ignore"):
            exact_passes(load_onnx(data))
    except JouletError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["torch_cnn", "tf_cnn", "moves", "resizes"])
def test_changed_bytes_are_refused_or_still_a_graph(name: str) -> None:
    """Bytes flipped, cut, doubled and inserted at random, a fixed seed: an error of ours, or a graph that verifies."""
    data = onnx_zoo.MODELS[name](17)
    rng = np.random.default_rng(len(name))
    outcomes = {"refused": 0, "taken": 0}
    for _ in range(250):
        raw = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(len(raw)))
            match int(rng.integers(4)):
                case 0:
                    raw[at] = int(rng.integers(256))
                case 1:
                    del raw[at : at + int(rng.integers(1, 40))]
                case 2:
                    raw[at:at] = raw[at : at + int(rng.integers(1, 40))]
                case _:
                    raw[at] ^= 1 << int(rng.integers(8))
        reason = refusal(bytes(raw))
        assert "\n" not in reason
        outcomes["refused" if reason else "taken"] += 1
    assert outcomes["refused"] > 50
    assert outcomes["taken"] >= 5


def test_changed_fields_are_refused_or_still_a_graph() -> None:
    """Numbers of the decoded model changed at random: deeper than changed bytes reach."""
    rng = np.random.default_rng(5)
    odd = [-(1 << 63), -1, 0, 1, 2, 3, 7, 1 << 16, (1 << 31) - 1, (1 << 63) - 1]
    for round_ in range(300):
        model = onnx.ModelProto.FromString(
            onnx_zoo.MODELS[["torch_cnn", "residual", "moves", "sequence"][round_ % 4]](17)
        )
        for _ in range(int(rng.integers(1, 4))):
            node = model.graph.node[int(rng.integers(len(model.graph.node)))]
            kinds = int(rng.integers(4))
            if kinds == 0 and node.attribute:
                attribute = node.attribute[int(rng.integers(len(node.attribute)))]
                attribute.i = odd[int(rng.integers(len(odd)))]
                if attribute.ints:
                    attribute.ints[int(rng.integers(len(attribute.ints)))] = odd[int(rng.integers(len(odd)))]
                if attribute.HasField("f"):
                    attribute.f = float(rng.choice([np.nan, np.inf, -1e30, 1e-30]))
            elif kinds == 1 and node.input:
                other = model.graph.node[int(rng.integers(len(model.graph.node)))]
                node.input[int(rng.integers(len(node.input)))] = [*other.output, "", "x", "c0"][int(rng.integers(3))]
            elif kinds == 2:
                at = int(rng.integers(len(model.graph.initializer)))
                old = numpy_helper.to_array(model.graph.initializer[at])
                values = rng.choice(
                    np.asarray(odd[:8] if old.dtype.kind == "i" else [np.nan, np.inf, 0, -1]), old.shape
                )
                model.graph.initializer[at].CopyFrom(
                    numpy_helper.from_array(np.asarray(values, old.dtype), model.graph.initializer[at].name)
                )
            else:
                node.op_type = ["Add", "Conv", "Gemm", "Concat", "Resize", "Softmax", "Slice", "Transpose"][
                    int(rng.integers(8))
                ]
        assert "\n" not in refusal(model.SerializeToString())
