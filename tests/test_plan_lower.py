# SPDX-License-Identifier: Apache-2.0
"""Lowering: moves against NumPy, order of heads, aliases, multipliers and scratch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_graph, tiny_quant_graph

from joulet._core import ffi, lib
from joulet.container import layout
from joulet.container.pool import encode_params
from joulet.errors import PlanError, UnsupportedModelError, UsageError
from joulet.ir import (
    Concat,
    Dense,
    DType,
    Exit,
    ExitOrigin,
    Graph,
    Op,
    OpKind,
    Pad,
    Quant,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Tensor,
    Transpose,
)
from joulet.plan.arithmetic import nearest_sources
from joulet.plan.lower import lower
from joulet.plan.scratch import scratch_bytes
from joulet.plan.steps import CopyParams, FillParams, Lowered
from joulet.quant.bare import bare_quant_graph

QUANT = Quant(scale=(0.5,), zero_point=3)
extents = st.integers(1, 4)


def _tensor(name: str, shape: tuple[int, ...], data: np.ndarray | None = None) -> Tensor:
    return Tensor(name=name, shape=shape, dtype=DType.S8, quant=QUANT, data=data)


def _single(kind: OpKind, attrs: object, shapes: list[tuple[int, ...]], out: tuple[int, ...]) -> Graph:
    tensors = (*(_tensor(f"in{i}", shape) for i, shape in enumerate(shapes)), _tensor("out", out))
    inputs = tuple(range(len(shapes)))
    op = Op(kind=kind, name="op", inputs=inputs, outputs=(len(shapes),), attrs=attrs)  # type: ignore[arg-type]
    return Graph(name="single", tensors=tensors, ops=(op,), inputs=inputs, outputs=(len(shapes),))


def _moved(lowered: Lowered, arrays: list[np.ndarray]) -> np.ndarray:
    """Run FILL and COPY steps over flat arrays."""
    memory = {slot: array.ravel() for slot, array in zip(lowered.inputs, arrays, strict=True)}
    for step in lowered.steps:
        out = memory.setdefault(step.output, np.full(lowered.slots[step.output].elements, 99, np.int8))
        if isinstance(step.params, FillParams):
            out[:] = step.params.value
        else:
            params = step.params
            assert isinstance(params, CopyParams)
            index = np.indices(params.dims).reshape(6, -1)
            source = params.in_offset + np.array(params.in_stride) @ index
            target = params.out_offset + np.array(params.out_stride) @ index
            out[target] = memory[step.inputs[0]][source]
    return memory[lowered.outputs[0]].reshape(lowered.slots[lowered.outputs[0]].shape)


def _values(shape: tuple[int, ...], start: int = 0) -> np.ndarray:
    return (np.arange(start, start + np.prod(shape, dtype=int)) % 251 - 125).astype(np.int8).reshape(shape)


@given(st.lists(extents, min_size=1, max_size=6), st.randoms())
def test_transpose(shape: list[int], random: object) -> None:
    perm = list(range(len(shape)))
    random.shuffle(perm)  # type: ignore[attr-defined]
    x = _values(tuple(shape))
    graph = _single(OpKind.TRANSPOSE, Transpose(perm=tuple(perm)), [x.shape], x.transpose(perm).shape)
    np.testing.assert_array_equal(_moved(lower(bare_quant_graph(graph)), [x]), x.transpose(perm))


@given(st.data(), st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_strided_slice(data: st.DataObject, shape: list[int]) -> None:
    slices, begin, stride, sizes = [], [], [], []
    for extent in shape:
        step = data.draw(st.sampled_from((1, 2, 3, -1, -2)))
        first = data.draw(st.integers(0, extent - 1))
        reach = (extent - 1 - first) // step if step > 0 else first // -step
        count = data.draw(st.integers(1, reach + 1))
        slices.append([first + step * i for i in range(count)])
        begin.append(first)
        stride.append(step)
        sizes.append(count)
    x = _values(tuple(shape))
    attrs = Slice(begin=tuple(begin), stride=tuple(stride), sizes=tuple(sizes))
    graph = _single(OpKind.STRIDED_SLICE, attrs, [x.shape], tuple(sizes))
    np.testing.assert_array_equal(_moved(lower(bare_quant_graph(graph)), [x]), x[np.ix_(*slices)])


@given(st.data(), st.lists(extents, min_size=1, max_size=4), st.integers(1, 3))
def test_concat(data: st.DataObject, shape: list[int], parts: int) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    shapes = []
    for _ in range(parts):
        part = list(shape)
        part[axis] = data.draw(extents)
        shapes.append(tuple(part))
    arrays = [_values(each, 17 * index) for index, each in enumerate(shapes)]
    expected = np.concatenate(arrays, axis)
    graph = _single(OpKind.CONCAT, Concat(axis=axis), shapes, expected.shape)
    np.testing.assert_array_equal(_moved(lower(bare_quant_graph(graph)), arrays), expected)


@given(st.lists(st.tuples(extents, st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=4))
def test_pad(dims: list[tuple[int, int, int]]) -> None:
    x = _values(tuple(d[0] for d in dims))
    expected = np.pad(x, [(d[1], d[2]) for d in dims], constant_values=3 + 4)
    attrs = Pad(before=tuple(d[1] for d in dims), after=tuple(d[2] for d in dims), value=2.0)
    graph = _single(OpKind.PAD, attrs, [x.shape], expected.shape)
    np.testing.assert_array_equal(_moved(lower(bare_quant_graph(graph)), [x]), expected)


def test_a_reshape_between_borders_is_copied() -> None:
    graph = _single(OpKind.RESHAPE, Reshape(), [(2, 6)], (3, 4))
    x = _values((2, 6))
    np.testing.assert_array_equal(_moved(lower(bare_quant_graph(graph)), [x]), x.reshape(3, 4))


def test_a_reshape_inside_is_an_alias_with_the_face_of_the_output() -> None:
    tensors = (_tensor("x", (2, 6)), _tensor("y", (6, 2)), _tensor("z", (12,)))
    ops = (
        Op(kind=OpKind.TRANSPOSE, name="t", inputs=(0,), outputs=(1,), attrs=Transpose(perm=(1, 0))),
        Op(kind=OpKind.RESHAPE, name="r", inputs=(1,), outputs=(2,), attrs=Reshape()),
    )
    lowered = lower(bare_quant_graph(Graph(name="g", tensors=tensors, ops=ops, inputs=(0,), outputs=(2,))))
    assert [step.code for step in lowered.steps] == ["COPY"]
    assert lowered.slots[lowered.outputs[0]].shape == (12,)


def test_an_input_handed_through_gets_a_copy() -> None:
    tensors = (_tensor("x", (4,)), _tensor("y", (4,)))
    ops = (Op(kind=OpKind.RESHAPE, name="r", inputs=(0,), outputs=(1,), attrs=Reshape()),)
    lowered = lower(bare_quant_graph(Graph(name="g", tensors=tensors, ops=ops, inputs=(0,), outputs=(1, 0))))
    assert not set(lowered.outputs) & set(lowered.inputs)
    assert len(set(lowered.outputs)) == 2


def test_heads_follow_their_branch_and_segments_never_go_back() -> None:
    lowered = lower(tiny_quant_graph())
    assert [step.name for step in lowered.steps] == [
        "conv",
        "early/pool",
        "early/fc",
        "early/softmax",
        "depthwise",
        "pool",
        "fc",
        "softmax",
    ]
    assert [step.segment for step in lowered.steps] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [step.exit for step in lowered.steps] == [None, 0, 0, 0, None, None, None, None]
    assert [each.last_op for each in lowered.exits] == [3, 7]


def test_a_backbone_that_reads_a_head_is_refused() -> None:
    source = tiny_quant_graph()
    graph = source.graph
    ops = tuple(replace(op, inputs=(5, *op.inputs[1:])) if op.name == "fc" else op for op in graph.ops)
    with pytest.raises(PlanError, match="early/flat"):
        lower(replace(source, graph=graph.with_ops(ops)))


@pytest.mark.parametrize("f32", [False, True])
def test_scratch_is_what_the_kernels_ask_for(f32: bool) -> None:
    mean = _single(OpKind.MEAN, Reduce(axes=(1, 2)), [(2, 5, 3, 7)], (2, 7))
    steps = [*lower(tiny_quant_graph()).steps, *lower(bare_quant_graph(mean)).steps]
    asked = []
    for step in steps:
        params = ffi.from_buffer(bytearray(encode_params(step.params) + step.tail))
        asked.append(lib.jlt_op_scratch_bytes(layout.CODES["OpCode"][step.code], params, f32))
    assert [scratch_bytes(step, f32=f32) for step in steps] == asked
    assert any(asked)


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        (Resize(), [0, 0, 1, 1, 2]),
        (Resize(half_pixel_centers=True), [0, 0, 1, 2, 2]),
        (Resize(align_corners=True), [0, 1, 1, 2, 2]),
    ],
)
def test_nearest_sources(attrs: Resize, expected: list[int]) -> None:
    assert nearest_sources(3, 5, attrs) == expected


def test_bare_finds_the_logits_before_a_softmax() -> None:
    single = _single(OpKind.SOFTMAX, Softmax(), [(1, 5)], (1, 5))
    exits = bare_quant_graph(single).graph.exits
    assert exits == (Exit(name="final", origin=ExitOrigin.IMPORTED, logits=0, output=1, n_classes=5),)
    rows = _single(OpKind.SOFTMAX, Softmax(), [(2, 5)], (2, 5))
    assert bare_quant_graph(rows).graph.exits[0].n_classes == 0


def test_bare_keeps_a_layer_plain_whose_sums_could_overflow() -> None:
    width = 36_000
    tensors = (
        _tensor("x", (1, width)),
        replace(_tensor("w", (1, width), np.ones((1, width), np.int8)), quant=Quant(scale=(1.0,))),
        _tensor("y", (1, 1)),
    )
    op = Op(kind=OpKind.FULLY_CONNECTED, name="wide", inputs=(0, 1), outputs=(2,), attrs=Dense())
    source = bare_quant_graph(Graph(name="g", tensors=tensors, ops=(op,), inputs=(0,), outputs=(2,)), ("w8", "w4"))
    assert source.storage == {0: "s8"}
    assert [precision.bits[0] for precision in source.precisions] == [8, 8]
    assert "wide" in source.notes[0]


def test_bare_mix_keeps_the_sensitive_layers() -> None:
    source = bare_quant_graph(tiny_graph(), ("mix",))
    names = {source.graph.ops[index].name: bits for index, bits in source.precisions[0].bits.items()}
    assert names == {"conv": 8, "depthwise": 8, "fc": 8, "early/fc": 8}


@pytest.mark.parametrize("precisions", [(), ("w8", "w8"), ("w3",)])
def test_bare_refuses_unknown_precisions(precisions: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="w8"):
        bare_quant_graph(tiny_graph(), precisions)


def test_bare_refuses_float_weights() -> None:
    graph = tiny_graph()
    tensors = list(graph.tensors)
    tensors[1] = replace(tensors[1], dtype=DType.F32, data=np.zeros(tensors[1].shape, np.float32), quant=None)
    with pytest.raises(UnsupportedModelError, match="conv"):
        bare_quant_graph(replace(graph, tensors=tuple(tensors)))
