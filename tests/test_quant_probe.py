# SPDX-License-Identifier: Apache-2.0
"""Probes see the integers that the whole network computes, on the oracle and on the C engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import execute, run

from joulet.errors import DataError
from joulet.importers.tflite import load_tflite
from joulet.ir import DType, Graph, Precision
from joulet.quant.nested import all_four, storage_of
from joulet.quant.on_engine import execute_on_engine
from joulet.quant.probe import full, live_at, needed_ops, probe, setting, spread_samples

EXECUTORS = [pytest.param(execute, id="oracle"), pytest.param(execute_on_engine, id="engine")]


@pytest.fixture(scope="module")
def residual(models: Path) -> Graph:
    return load_tflite(models / "residual_int8.tflite")


def samples(graph: Graph, n: int = 20) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(3)
    return {t: rng.integers(-128, 128, (n, *graph.tensors[t].shape[1:]), dtype=np.int8) for t in graph.inputs}


def inner(graph: Graph) -> tuple[int, ...]:
    return tuple(op.outputs[0] for op in graph.ops[:-1] if graph.tensors[op.outputs[0]].dtype is DType.S8)


@pytest.mark.parametrize("how", EXECUTORS)
@pytest.mark.parametrize("bits", [8, 4])
def test_every_inner_tensor_is_that_of_the_whole_network(residual: Graph, how, bits: int) -> None:
    feeds = samples(residual)
    precision = all_four(residual)
    if bits == 8:
        precision = Precision(name="w8", bits=dict.fromkeys(precision.bits, 8))
    whole = run(residual, precision, list(feeds.values()))
    found = probe(how, residual, setting(precision, storage_of(residual, (precision,))), feeds, inner(residual))
    for tensor, values in found.items():
        np.testing.assert_array_equal(values, whole[tensor][:, 0], err_msg=residual.tensors[tensor].name)


@pytest.mark.parametrize("how", EXECUTORS)
def test_a_network_can_be_continued_from_any_op(residual: Graph, how) -> None:
    feeds = samples(residual)
    logits = residual.ops[-1].inputs[0]
    straight = probe(how, residual, full(residual), feeds, (logits,))[logits]
    for start in range(1, len(residual.ops) - 1):
        live = live_at(residual, start, (logits,))
        known = probe(how, residual, full(residual), feeds, live)
        np.testing.assert_array_equal(probe(how, residual, full(residual), known, (logits,))[logits], straight)


@pytest.mark.parametrize("how", EXECUTORS)
def test_tensors_without_a_leading_one_come_with_a_sample_axis(models: Path, how) -> None:
    graph = load_tflite(models / "movement_int8.tflite")
    wanted = next(op.outputs[0] for op in graph.ops if graph.tensors[op.outputs[0]].shape[0] not in (1,))
    feeds = samples(graph, 5)
    precision = Precision(name="w8", bits={})
    whole = run(graph, precision, list(feeds.values()))
    found = probe(how, graph, full(graph), feeds, (wanted,))[wanted]
    np.testing.assert_array_equal(found.reshape(whole[wanted].shape), whole[wanted])


def test_only_ops_on_the_way_are_kept(residual: Graph) -> None:
    first = residual.ops[0].outputs[0]
    assert needed_ops(residual, residual.inputs, (first,)) == (0,)
    with pytest.raises(DataError, match="cannot be computed"):
        needed_ops(residual, (residual.ops[-1].outputs[0],), (first,))


def test_samples_are_spread_over_the_whole_set() -> None:
    spread = spread_samples({0: np.arange(1000)}, 10)[0]
    assert len(spread) == 10
    assert spread[0] == 0
    assert spread[-1] == 999
    assert len(spread_samples({0: np.arange(3)}, 10)[0]) == 3
