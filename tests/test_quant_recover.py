# SPDX-License-Identifier: Apache-2.0
"""Data-driven rounding: patches, the rounding itself, and a network that is recovered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import convolve, execute, run

from joulet.compile import compile_model
from joulet.engine.host import HostEngine
from joulet.errors import UsageError
from joulet.importers.tflite import load_tflite
from joulet.ir import Conv, Graph, Op, OpKind, Precision, Quant, Tensor
from joulet.ir import DType as D
from joulet.quant.bare import bias_of, weighted_ops, with_exit
from joulet.quant.bias import corrected
from joulet.quant.nested import all_four, search_mix
from joulet.quant.patches import blocks, patch_rows, weight_matrix, weight_tensor
from joulet.quant.recover import recovered, with_biases
from joulet.quant.rounding import damped, retargeted, round_high, round_low


@pytest.fixture(scope="module")
def residual(models: Path) -> Graph:
    return with_exit(load_tflite(models / "residual_int8.tflite"))


def samples(graph: Graph, n: int, seed: int) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {t: rng.integers(-128, 128, (n, *graph.tensors[t].shape[1:]), dtype=np.int8) for t in graph.inputs}


@pytest.mark.parametrize(
    ("kind", "attrs", "shape", "out"),
    [
        (OpKind.CONV2D, Conv(pad=(1, 1)), (5, 3, 3, 4), (1, 7, 6, 5)),
        (OpKind.CONV2D, Conv(stride=(2, 2), dilation=(2, 1), pad=(2, 0)), (3, 3, 2, 4), (1, 4, 3, 3)),
        (OpKind.CONV2D, Conv(groups=2), (6, 1, 1, 2), (1, 7, 6, 6)),
        (OpKind.DEPTHWISE_CONV2D, Conv(stride=(2, 1), pad=(1, 1)), (1, 3, 3, 8), (1, 4, 6, 8)),
    ],
)
def test_patches_times_the_weight_matrix_are_the_convolution(kind, attrs, shape, out) -> None:
    rng = np.random.default_rng(1)
    weights = rng.integers(-127, 128, shape, dtype=np.int8)
    unit = Quant(scale=(1.0,), zero_point=7)
    tensors = (
        Tensor(name="x", shape=(1, 7, 6, 4), dtype=D.S8, quant=unit),
        Tensor(name="w", shape=weights.shape, dtype=D.S8, quant=Quant(scale=(1.0,)), data=weights),
        Tensor(name="y", shape=out, dtype=D.S8, quant=unit),
    )
    op = Op(kind=kind, name="op", inputs=(0, 1), outputs=(2,), attrs=attrs)
    graph = Graph(name="g", tensors=tensors, ops=(op,), inputs=(0,), outputs=(2,))
    x = rng.integers(-128, 128, (3, 7, 6, 4), dtype=np.int8)
    place = np.tile(np.arange(out[1] * out[2]), (3, 1))
    rows, matrix = patch_rows(graph, op, x, place), weight_matrix(op, weights)
    got = np.empty((len(rows), len(matrix)))
    for block in blocks(graph, op):
        got[:, block.rows] = rows[:, block.columns] @ matrix[block.rows].T
    want = convolve(op, x.astype(np.float64) - 7, weights.astype(np.float64), out[1:3])
    np.testing.assert_array_equal(got.reshape(want.shape), want)
    np.testing.assert_array_equal(weight_tensor(op, matrix, shape), weights)


def correlated(k: int, n: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, k)) @ rng.normal(size=(k, k)) + 0.3 * rng.normal(size=(n, k))


def test_rounding_by_data_beats_the_nearest_level() -> None:
    x = correlated(24)
    q = np.random.default_rng(4).integers(-128, 128, (9, 24))
    moment = damped(x.T @ x / len(x), 0.01)
    error = {}
    for respect in (0.0, 4.0):
        high = round_high(q.astype(np.float64), moment, q, respect)
        assert high.min() >= 0
        assert high.max() <= 15
        error[respect] = (((16 * high - 120 - q) @ x.T) ** 2).mean()
    nearest = (((16 * ((q + 128) >> 4) - 120 - q) @ x.T) ** 2).mean()
    assert error[0.0] < 0.6 * nearest
    assert error[0.0] <= error[4.0] < nearest


def test_a_strong_pull_leaves_every_weight_in_its_bucket() -> None:
    x = correlated(12)
    q = np.random.default_rng(5).integers(-128, 128, (7, 12))
    moment = damped(x.T @ x / len(x), 0.01)
    np.testing.assert_array_equal(round_high(q.astype(np.float64), moment, q, 1e9), (q + 128) >> 4)


def test_the_low_plane_finds_the_weights_back_where_the_high_plane_allows() -> None:
    x = correlated(12)
    q = np.random.default_rng(6).integers(-128, 128, (7, 12))
    moment = damped(x.T @ x / len(x), 0.01)
    high = (q + 128) >> 4
    np.testing.assert_array_equal(16 * high - 128 + round_low(q.astype(np.float64), moment, high), q)
    other = np.clip(high + 1, 0, 15)
    low = round_low(q.astype(np.float64), moment, other)
    clipped = 16 * other - 128 + np.clip(q - (16 * other - 128), 0, 15)
    fitted = 16 * other - 128 + low
    assert low.min() >= 0
    assert low.max() <= 15
    assert (((fitted - q) @ x.T) ** 2).mean() <= (((clipped - q) @ x.T) ** 2).mean()


def test_weights_aim_at_the_wanted_outputs() -> None:
    rng = np.random.default_rng(7)
    a = correlated(10)
    true = rng.normal(size=(4, 10))
    start = true + rng.normal(size=(4, 10))
    gap = (a @ true.T - a @ start.T).T @ a / len(a)
    np.testing.assert_allclose(retargeted(start, a.T @ a / len(a), gap), true, atol=1e-6)


def test_four_bits_come_nearer_and_eight_stay_near(residual: Graph) -> None:
    feeds, unseen = samples(residual, 256, 1), list(samples(residual, 256, 2).values())
    logits = residual.exits[-1].logits
    w8 = Precision(name="w8", bits=dict.fromkeys(weighted_ops(residual), 8))
    traded = recovered(execute, residual, feeds)
    want = run(residual, w8, unseen)[logits].astype(np.float64)
    before = run(residual, corrected(execute, residual, all_four(residual), feeds), unseen)[logits]
    w4 = corrected(execute, traded.graph, all_four(traded.graph), feeds, reference=residual)
    after = run(traded.graph, w4, unseen)[logits]
    eight = run(traded.graph, w8, unseen)[logits]
    loss = [((z - want) ** 2).mean() for z in (before, after, eight)]
    assert loss[1] < loss[0]
    assert loss[2] < loss[1]
    assert 0 < traded.changed_share < 1
    assert f"{100 * traded.changed_share:.1f} %" in traded.note()


def test_what_a_mix_keeps_at_eight_bits_moves_less(residual: Graph) -> None:
    feeds = samples(residual, 256, 1)
    mix = search_mix(execute, residual, feeds, budget=0.7).precision
    kept = [i for i in all_four(residual).bits if all_four(residual).bits[i] == 4 and mix.bits[i] == 8]
    rest = [i for i in all_four(residual).bits if mix.bits[i] == 4]
    assert kept
    assert rest

    def moved(graph: Graph, layers: list[int]) -> float:
        pairs = [
            (graph.tensors[graph.ops[i].inputs[1]].data, residual.tensors[graph.ops[i].inputs[1]].data) for i in layers
        ]
        return sum(float(np.abs(np.asarray(a).astype(int) - np.asarray(b)).sum()) for a, b in pairs)

    plain, known = (recovered(execute, residual, feeds, mix=bits).graph for bits in (None, mix.bits))
    assert moved(known, kept) < moved(plain, kept)
    assert moved(known, rest) > 0


def test_weights_that_two_layers_share_stay_as_they_are(residual: Graph) -> None:
    first, second = weighted_ops(residual)[:2]
    shared = residual.ops[first].inputs[1]
    ops = list(residual.ops)
    twin = replace(ops[first], name="twin", outputs=(len(residual.tensors),))
    tensors = (*residual.tensors, replace(residual.tensors[ops[first].outputs[0]], name="twin"))
    graph = replace(residual, tensors=tensors, ops=(*ops[: first + 1], twin, *ops[first + 1 :]))
    traded = recovered(execute, graph, samples(graph, 32, 1))
    np.testing.assert_array_equal(traded.graph.tensors[shared].data, residual.tensors[shared].data)
    assert second + 1 in traded.layers


def test_a_layer_without_bias_gets_one(residual: Graph) -> None:
    index = weighted_ops(residual)[0]
    ops = list(residual.ops)
    ops[index] = replace(ops[index], inputs=ops[index].inputs[:2])
    bare = replace(residual, ops=tuple(ops))
    values = np.arange(bias_of(bare, bare.ops[index]).size, dtype=np.int32)
    given = with_biases(bare, {index: values})
    np.testing.assert_array_equal(bias_of(given, given.ops[index]), values)


def test_mix_takes_its_budget_in_other_units(residual: Graph) -> None:
    feeds = samples(residual, 32, 1)
    four = [i for i, bits in all_four(residual).bits.items() if bits == 4]
    dear = four[0]
    costs = {i: (100.0 if i == dear else 2.0, 1.0) for i in four}
    mix = search_mix(execute, residual, feeds, budget=0.5, costs=costs).precision
    assert mix.bits[dear] == 4
    assert all(mix.bits[i] == 8 for i in four if i != dear)
    free = search_mix(execute, residual, feeds, budget=0.5, costs=dict.fromkeys(four, (1.0, 1.5))).precision
    assert set(free.bits.values()) == {8}, "what is no dearer at eight bits keeps them"


def test_trade_is_asked_for_and_says_what_it_cost(models: Path) -> None:
    source = models / "residual_int8.tflite"
    graph = load_tflite(source)
    x = next(iter(samples(graph, 96, 1).values()))
    data = {"input_0": x, "labels": np.arange(96) % 4}
    exact = compile_model(source, data=data, exits="off", mix_bytes=0.6)
    trade = compile_model(source, data=data, exits="off", mix_bytes=0.6, recover="trade")
    bare = compile_model(source, exits="off")
    answer = [HostEngine(r.container).infer([x], path="w8").outputs[0] for r in (exact, trade, bare)]
    np.testing.assert_array_equal(answer[0], answer[2])
    assert not np.array_equal(answer[1], answer[2])
    assert any(note.startswith("recover trade:") for note in trade.report.notes)
    assert not any("recover" in note for note in exact.report.notes)
    sizes = {p.name: p.weight_bytes for p in trade.report.precisions}
    assert sizes["mix"] <= 0.6 * sizes["w8"]
    assert compile_model(source, data=data, exits="off", recover="trade", mix_bytes=0.6).container == trade.container


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recover": "most"}, "exact, trade"),
        ({"recover": "trade"}, "--data"),
        ({"mix_bytes": 0.6}, "--data"),
        ({"mix_bytes": 0.4}, "above 50 %"),
        ({"mix_cycles": 1.5}, "up to 100 %"),
        ({"mix_cycles": 0.9}, "--board"),
        ({"mix_bytes": 0.6, "mix_cycles": 0.9, "board": "nucleo_l4r5zi"}, "either"),
    ],
)
def test_wrong_budgets_name_the_remedy(models: Path, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compile_model(models / "residual_int8.tflite", **options)


def test_a_budget_of_all_cycles_keeps_eight_bits_everywhere(models: Path) -> None:
    source = models / "residual_int8.tflite"
    x = next(iter(samples(with_exit(load_tflite(source)), 48, 1).values()))
    result = compile_model(source, data={"input_0": x}, exits="off", mix_cycles=1.0, board="nucleo_l4r5zi")
    sizes = {p.name: p.weight_bytes for p in result.report.precisions}
    assert sizes["w4"] < sizes["mix"] == sizes["w8"]
