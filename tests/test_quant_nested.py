# SPDX-License-Identifier: Apache-2.0
"""Nested weights, bias correction and the searched mix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import convolve, execute, run, sliced

from joulet.importers.tflite import load_tflite
from joulet.ir import WEIGHTED, Conv, DType, Graph, Op, OpKind, Precision, Quant, Tensor
from joulet.quant.bare import bias_of, weighted_ops, with_exit
from joulet.quant.bias import corrected, mean_products
from joulet.quant.nested import all_four, read_at, search_mix, storage_of, weight_bytes, zero_heavy


@pytest.fixture(scope="module")
def residual(models: Path) -> Graph:
    return with_exit(load_tflite(models / "residual_int8.tflite"))


def samples(graph: Graph, n: int = 64) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(5)
    return {t: rng.integers(-128, 128, (n, *graph.tensors[t].shape[1:]), dtype=np.int8) for t in graph.inputs}


def test_every_weight_is_read_as_the_design_says() -> None:
    q = np.arange(-128, 128, dtype=np.int8)
    np.testing.assert_array_equal(read_at(q, 8), q)
    four = read_at(q, 4)
    assert sorted(set(four.tolist())) == list(range(-120, 121, 16))
    assert np.abs(four - q).max() == 8
    assert 0 not in four


def conv_graph(kind: OpKind, attrs: Conv, weights: np.ndarray, out: tuple[int, ...]) -> tuple[Graph, Op]:
    unit = Quant(scale=(1.0,), zero_point=7)
    tensors = (
        Tensor(name="x", shape=(1, 7, 6, 4), dtype=DType.S8, quant=unit),
        Tensor(name="w", shape=weights.shape, dtype=DType.S8, quant=Quant(scale=(1.0,)), data=weights),
        Tensor(name="y", shape=out, dtype=DType.S8, quant=unit),
    )
    op = Op(kind=kind, name="op", inputs=(0, 1), outputs=(2,), attrs=attrs)
    return Graph(name="g", tensors=tensors, ops=(op,), inputs=(0,), outputs=(2,)), op


@pytest.mark.parametrize(
    ("kind", "attrs", "shape", "out"),
    [
        (OpKind.CONV2D, Conv(pad=(1, 1)), (5, 3, 3, 4), (1, 7, 6, 5)),
        (OpKind.CONV2D, Conv(stride=(2, 2), dilation=(2, 1), pad=(2, 0)), (3, 3, 2, 4), (1, 4, 3, 3)),
        (OpKind.CONV2D, Conv(pad=(0, 0), groups=2), (6, 1, 1, 2), (1, 7, 6, 6)),
        (OpKind.DEPTHWISE_CONV2D, Conv(stride=(2, 1), pad=(1, 1)), (1, 3, 3, 8), (1, 4, 6, 8)),
    ],
)
@pytest.mark.parametrize("bits", [8, 4])
def test_mean_products_follow_from_the_mean_input(kind, attrs, shape, out, bits) -> None:
    rng = np.random.default_rng(1)
    weights = rng.integers(-127, 128, shape, dtype=np.int8)
    graph, op = conv_graph(kind, attrs, weights, out)
    x = rng.integers(-128, 128, (9, 7, 6, 4), dtype=np.int8)
    mean = (x.astype(np.float64) - 7).mean(axis=0)[None]
    w = sliced(weights, bits).astype(np.float64)
    every = convolve(op, x.astype(np.float64) - 7, w, out[1:3])
    np.testing.assert_allclose(mean_products(graph, op, bits, mean), every.mean(axis=(0, 1, 2)), rtol=0, atol=1e-6)


def test_correction_restores_the_mean_logits(residual: Graph) -> None:
    feeds = samples(residual)
    logits = residual.exits[0].logits
    inputs = list(feeds.values())
    w4 = all_four(residual)
    w8 = Precision(name="w8", bits=dict.fromkeys(w4.bits, 8))
    better = corrected(execute, residual, w4, feeds)
    want, bare, fitted = (run(residual, p, inputs)[logits].mean(axis=(0, 1)) for p in (w8, w4, better))
    assert np.abs(fitted - want).max() < 1.0
    assert np.abs(fitted - want).max() < np.abs(bare - want).max()
    assert set(better.bias) == set(weighted_ops(residual))


def test_eight_bits_need_no_correction(residual: Graph) -> None:
    w8 = Precision(name="w8", bits=dict.fromkeys(weighted_ops(residual), 8))
    assert corrected(execute, residual, w8, samples(residual)).bias == {}


def test_mix_stays_within_its_budget_and_lies_between(residual: Graph) -> None:
    feeds = samples(residual)
    mix = search_mix(execute, residual, feeds, budget=0.75)
    total = sum(weight_bytes(residual, residual.ops[i], 8) for i in mix.precision.bits)
    spent = sum(weight_bytes(residual, residual.ops[i], bits) for i, bits in mix.precision.bits.items())
    assert spent <= 0.75 * total
    assert set(mix.precision.bits.values()) == {4, 8}
    assert all(loss >= 0 for loss in mix.sensitivity.values())


def test_layers_of_zeros_keep_eight_bits_in_mix(residual: Graph) -> None:
    index = weighted_ops(residual)[1]
    weight = residual.ops[index].inputs[1]
    data = np.zeros_like(residual.tensors[weight].data)
    tensors = list(residual.tensors)
    tensors[weight] = replace(tensors[weight], data=data)
    sparse = replace(residual, tensors=tuple(tensors))
    assert zero_heavy(sparse) == {index}
    assert search_mix(execute, sparse, samples(sparse, 8), budget=0.5).precision.bits[index] == 8


def test_what_no_precision_slices_is_stored_plain(residual: Graph) -> None:
    w4 = all_four(residual)
    first = weighted_ops(residual)[0]
    mixed = replace(w4, bits={**w4.bits, first: 8})
    assert storage_of(residual, (mixed,))[first] == "s8"
    assert storage_of(residual, (mixed, w4))[first] == "nested"
    assert all(residual.ops[i].kind in WEIGHTED for i in storage_of(residual, (w4,)))
    assert bias_of(residual, residual.ops[first]).dtype == np.int32
