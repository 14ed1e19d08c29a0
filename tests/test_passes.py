# SPDX-License-Identifier: Apache-2.0
"""The exact passes: not one output byte changes, and the graphs get smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import oracle
import pytest
from tflite_build import ModelBuilder

from joulet.errors import JouletError, ModelError
from joulet.importers.tflite import load_tflite
from joulet.ir import WEIGHTED, Activation, Concat, Conv, Dense, DType, Graph, OpKind, Precision, Reshape, Tensor
from joulet.passes.dead import eliminate_dead
from joulet.passes.fold import fold_constants
from joulet.passes.fuse import fuse_activations
from joulet.passes.macs import macs
from joulet.passes.pipeline import exact_passes
from joulet.passes.verify import verify

TESTS = Path(__file__).parent
ORACLE_COVERS = [
    "arithmetic_int8", "conv_int8", "dense_int8", "depthwise_int8", "movement_int8", "pools_int8", "residual_int8",
    "classic_uint8", "activations_int8", "relu_n1_int8",
]  # fmt: skip


def outputs(graph: Graph, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Return the graph's outputs, ``(n, *shape)``, by the NumPy oracle."""
    precision = Precision(name="w8", bits={i: 8 for i, op in enumerate(graph.ops) if op.kind in WEIGHTED})
    values = oracle.run(graph, precision, inputs)
    return [values[t] for t in graph.outputs]


def random_inputs(graph: Graph, seed: int, n: int = 4) -> list[np.ndarray]:
    """Return random int8 inputs."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, (n, *graph.tensors[i].shape)).astype(np.int8) for i in graph.inputs]


@pytest.mark.parametrize("name", ORACLE_COVERS)
def test_importer_and_passes_give_the_judges_bytes(name: str) -> None:
    golden = np.load(TESTS / "golden" / f"{name}.npz")
    graph = load_tflite(TESTS / "models" / f"{name}.tflite")
    uint8 = graph.tensors[graph.inputs[0]].border == "uint8"
    inputs = [golden[f"input_{i}"].astype(np.int16) - (128 if uint8 else 0) for i in range(len(graph.inputs))]
    softmax = any(op.kind is OpKind.SOFTMAX for op in graph.ops)
    for variant in (graph, exact_passes(graph)):
        for i, got in enumerate(outputs(variant, [x.astype(np.int8) for x in inputs])):
            want = golden[f"output_{i}"].astype(np.int16) - (128 if uint8 else 0)
            # The oracle's softmax is real-valued and may differ by one step.
            assert np.abs(got.reshape(want.shape) - want).max() <= softmax


def test_the_passes_change_no_byte_and_halve_the_person_detector(shared_data: Path) -> None:
    graph = load_tflite(shared_data / "mlperf_tiny" / "models" / "vww_96_int8.tflite")
    small = exact_passes(graph)
    assert sum(macs(graph)) == 7_489_664
    assert sum(macs(small)) < 3_800_000
    inputs = random_inputs(graph, 5, 2)
    assert all(np.array_equal(a, b) for a, b in zip(outputs(graph, inputs), outputs(small, inputs), strict=True))


def test_the_passes_change_no_byte_of_mutated_models() -> None:
    """Weights and biases of the small models are thinned at random; what dies must not have mattered."""
    rng = np.random.default_rng(6)
    shrunk = 0
    for name in ("residual_int8", "conv_int8", "depthwise_int8", "classic_uint8", "pools_int8"):
        for _ in range(6):
            graph = thinned(load_tflite(TESTS / "models" / f"{name}.tflite"), rng)
            small = exact_passes(graph)
            shrunk += sum(macs(small)) < sum(macs(graph))
            inputs = random_inputs(graph, int(rng.integers(1 << 30)), 2)
            for a, b in zip(outputs(graph, inputs), outputs(small, inputs), strict=True):
                assert np.array_equal(a, b)
    assert shrunk >= 12


def thinned(graph: Graph, rng: np.random.Generator) -> Graph:
    """Return the graph with random rows and columns of its weights set to their zero."""
    tensors = list(graph.tensors)
    for op in graph.ops:
        if op.kind not in WEIGHTED or rng.random() < 0.2:
            continue
        tensor = tensors[op.inputs[1]]
        assert tensor.data is not None
        assert tensor.quant is not None
        data = tensor.data.copy()
        data[..., rng.random(data.shape[-1]) < 0.4] = tensor.quant.zero_point
        if op.kind is not OpKind.DEPTHWISE_CONV2D:
            data[rng.random(data.shape[0]) < 0.4] = tensor.quant.zero_point
        tensors[op.inputs[1]] = replace(tensor, data=data)
    return replace(graph, tensors=tuple(tensors))


def test_dead_channels_go_with_their_constants_kept() -> None:
    graph = load_tflite(TESTS / "models" / "residual_int8.tflite")
    small = exact_passes(graph)
    channels = {op.name: small.tensors[op.outputs[0]].shape[-1] for op in small.ops}
    assert channels["head"] == 7
    assert channels["deep"] < 8
    assert OpKind.PAD not in {op.kind for op in small.ops}


def test_the_passes_are_idempotent() -> None:
    for path in sorted((TESTS / "models").glob("*.tflite")):
        once = exact_passes(load_tflite(path))
        assert eliminate_dead(once) is not None
        twice = exact_passes(once)
        assert [op.name for op in twice.ops] == [op.name for op in once.ops]
        assert macs(twice) == macs(once)


def test_every_shared_model_survives_the_passes(shared_data: Path) -> None:
    done = 0
    for path in sorted(shared_data.rglob("*.tflite")):
        try:
            graph = load_tflite(path)
        except JouletError:
            continue
        small = exact_passes(graph)
        assert sum(macs(small)) <= sum(macs(graph))
        done += 1
    assert done >= 26


def relu_after_conv(out_scale: float) -> bytes:
    """Return conv then relu, whose output has ``out_scale``."""
    b = ModelBuilder("test")
    x = b.tensor("x", (1, 3, 3, 2), scale=0.1, zero=0)
    w = b.tensor("w", (2, 1, 1, 2), scale=0.1, data=np.ones((2, 1, 1, 2), np.int8))
    y = b.tensor("y", (1, 3, 3, 2), scale=0.1, zero=4)
    z = b.tensor("z", (1, 3, 3, 2), scale=out_scale, zero=4)
    sizes = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    b.op("CONV_2D", (x, w, -1), (y,), "Conv2DOptions", Padding=1, **sizes)
    b.op("RELU", (y,), (z,))
    return b.finish((x,), (z,))


def test_an_activation_is_fused_only_where_it_is_a_clamp() -> None:
    fused = fuse_activations(load_tflite(relu_after_conv(0.1)))
    assert [op.kind for op in fused.ops] == [OpKind.CONV2D]
    attrs = fused.ops[0].attrs
    assert isinstance(attrs, Conv)
    assert attrs.activation is Activation.RELU
    apart = fuse_activations(load_tflite(relu_after_conv(0.2)))
    assert [op.kind for op in apart.ops] == [OpKind.CONV2D, OpKind.UNARY]


def test_float_activations_are_fused(shared_data: Path) -> None:
    graph = load_tflite(next(shared_data.rglob("mediapipe_face_short_fp16.tflite")))
    assert len(exact_passes(graph).ops) < len(graph.ops)


def test_reshapes_of_constants_fold() -> None:
    graph = load_tflite(TESTS / "models" / "arithmetic_int8.tflite")
    constant = next(i for i, t in enumerate(graph.tensors) if t.name == "constant")
    old = graph.tensors[constant]
    moved = len(graph.tensors)
    reshape = replace(
        graph.ops[0], kind=OpKind.RESHAPE, name="r", inputs=(constant,), outputs=(moved,), attrs=Reshape()
    )
    ops = [replace(op, inputs=tuple(moved if i == constant else i for i in op.inputs)) for op in graph.ops]
    tensor = Tensor(name="moved", shape=(1, 1, 1, 6), dtype=DType.S8, quant=old.quant)
    longer = replace(graph, tensors=(*graph.tensors, tensor), ops=(reshape, *ops))
    verify(longer)
    folded = fold_constants(longer)
    assert len(folded.ops) == len(graph.ops)
    assert any(t.name == "moved" and t.data is not None for t in folded.tensors)


def broken_graphs() -> list[tuple[str, Graph, str]]:
    """Return graphs that break one rule each, with a word of the message."""
    graph = load_tflite(TESTS / "models" / "dense_int8.tflite")
    ops, first = graph.ops, graph.ops[0]
    bare = list(graph.tensors)
    bare[graph.inputs[0]] = replace(bare[graph.inputs[0]], quant=None)
    long = list(graph.tensors)
    long[first.outputs[0]] = replace(long[first.outputs[0]], shape=(1, 3))
    return [
        ("order", graph.with_ops(tuple(reversed(ops))), "not computed yet"),
        ("twice", graph.with_ops((*ops, ops[-1])), "fresh tensor"),
        ("attributes", graph.with_ops((replace(first, attrs=Concat(axis=0)), *ops[1:])), "attributes of type Concat"),
        ("arity", graph.with_ops((replace(first, inputs=first.inputs[:1]), *ops[1:])), "1 inputs"),
        ("quantisation", replace(graph, tensors=tuple(bare)), "without quantisation"),
        ("shape", replace(graph, tensors=tuple(long)), "fully_connected 'first'"),
        ("output", graph.with_ops(ops[:-1]), "never computed"),
        ("kind", graph.with_ops((replace(first, kind=OpKind.CONV2D, attrs=Dense()), *ops[1:])), "attributes"),
    ]


@pytest.mark.parametrize(("graph", "words"), [row[1:] for row in broken_graphs()], ids=[r[0] for r in broken_graphs()])
def test_a_broken_graph_is_named(graph: Graph, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        verify(graph)
