# SPDX-License-Identifier: Apache-2.0
"""Exits grafted onto a small network: the imported head stays byte for byte, ours compute what they were fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import execute, run

from joulet.errors import UsageError
from joulet.exits.attach import Attached, attach_exits, wanted_exits
from joulet.exits.cost import exit_macs
from joulet.exits.paths import calibrated_paths, routes_of, segments
from joulet.importers.tflite import load_tflite
from joulet.ir import ExitOrigin, Graph, Precision
from joulet.plan.order import place_ops
from joulet.quant.bare import weighted_ops
from joulet.quant.nested import all_four, head_ops, storage_of


@pytest.fixture(scope="module")
def imported(models: Path) -> Graph:
    return load_tflite(models / "residual_int8.tflite")


def inputs(graph: Graph, n: int = 160) -> np.ndarray:
    """Return blobs that move and change contrast, so that the network has something to tell apart."""
    rng = np.random.default_rng(11)
    base = rng.normal(0, 50, (n, *graph.tensors[graph.inputs[0]].shape[1:]))
    base += np.array([-90, -30, 30, 90])[np.arange(n) % 4, None, None, None]
    return np.clip(base, -128, 127).astype(np.int8)


@pytest.fixture(scope="module")
def attached(imported: Graph) -> Attached:
    feeds = {imported.inputs[0]: inputs(imported)}
    return attach_exits(execute, imported, feeds, np.arange(160) % 4, exits=2, gates=False)


def w8_of(graph: Graph) -> Precision:
    return Precision(name="w8", bits=dict.fromkeys(weighted_ops(graph), 8))


def test_the_imported_head_is_last_and_unchanged(imported: Graph, attached: Attached) -> None:
    x = inputs(imported)
    before = run(imported, w8_of(imported), [x])[imported.outputs[0]]
    graph = attached.graph
    after = run(graph, w8_of(graph), [x])[graph.outputs[0]]
    np.testing.assert_array_equal(before, after)
    origins = [e.origin for e in graph.exits]
    assert origins == [ExitOrigin.ATTACHED, ExitOrigin.ATTACHED, ExitOrigin.REFIT, ExitOrigin.IMPORTED]
    assert graph.exits[-1].output == graph.outputs[0]


def test_heads_answer_in_the_models_own_quantisation(attached: Attached) -> None:
    graph = attached.graph
    own = graph.tensors[graph.outputs[0]]
    for exit in graph.exits:
        tensor = graph.tensors[exit.output]
        assert (tensor.shape, tensor.dtype, tensor.quant) == (own.shape, own.dtype, own.quant)


def test_heads_in_the_graph_compute_the_fitted_heads(attached: Attached) -> None:
    graph = attached.graph
    values = run(graph, w8_of(graph), [inputs(graph)])
    for exit, fitted in zip(graph.exits[:-1], attached.heads[:-1], strict=True):
        features = values[fitted.features].reshape(160, -1)
        got = values[exit.logits].reshape(160, -1)
        assert np.abs(got - fitted.head.answer(features)).max() <= 1
        assert (got.argmax(axis=1) == attached.labels).mean() > 0.5


def test_segments_are_those_of_the_plan(attached: Attached) -> None:
    placed = {p.op: p.segment for p in place_ops(attached.graph)}
    assert segments(attached.graph) == tuple(placed[i] for i in range(len(attached.graph.ops)))


def test_heads_keep_eight_bits_and_cost_little(attached: Attached) -> None:
    graph = attached.graph
    w4 = all_four(graph)
    assert all(w4.bits[i] == 8 for i in head_ops(graph))
    assert len(head_ops(graph)) == 3
    alone = exit_macs(graph, heads_on_the_way=False)
    assert list(alone) == sorted(alone)
    assert exit_macs(graph)[-1] > alone[-1]


def test_paths_have_tables_for_every_exit(imported: Graph, attached: Attached) -> None:
    graph = attached.graph
    precisions = (w8_of(graph), all_four(graph))
    feeds = {graph.inputs[0]: inputs(graph)}
    paths, reports = calibrated_paths(execute, attached, precisions, storage_of(graph, precisions), feeds)
    assert [p.name for p in paths] == [r.name for r in routes_of(graph, precisions)]
    assert {"w8", "w4", "w4>w8@0"} <= {p.name for p in paths}
    for path, report in zip(paths, reports, strict=True):
        assert len(path.confidence_q15) == len(path.auto_threshold_q15) == len(graph.exits)
        assert path.auto_threshold_q15[-1] == 0
        for share, accuracy in zip(path.accuracy_q15, report.accuracies, strict=True):
            assert abs(share / 32767 - accuracy) < 1e-4
    switched = next(p for p in paths if p.name == "w4>w8@0")
    assert switched.precisions == (1, 0, 0, 0)
    constant = next(p for p in paths if p.name == "w4")
    assert switched.confidence_q15[0] == constant.confidence_q15[0]


def test_without_labels_the_models_own_answers_are_taken(imported: Graph) -> None:
    x = inputs(imported)
    result = attach_exits(execute, imported, {imported.inputs[0]: x}, None, exits=1)
    answers = run(imported, w8_of(imported), [x])[imported.ops[-1].inputs[0]].reshape(160, -1).argmax(axis=1)
    np.testing.assert_array_equal(result.labels, answers)
    assert any("own answers" in note for note in result.notes)


def test_a_model_without_classes_says_so(models: Path) -> None:
    graph = load_tflite(models / "conv_int8.tflite")
    feeds = {graph.inputs[0]: np.zeros((8, *graph.tensors[graph.inputs[0]].shape[1:]), np.int8)}
    with pytest.raises(UsageError, match="no classes"):
        attach_exits(execute, graph, feeds, None, exits=2)
    result = attach_exits(execute, graph, feeds, None)
    assert len(result.graph.exits) == 1
    assert "no classes" in result.notes[0]


def test_what_cannot_be_fitted_is_refused(imported: Graph) -> None:
    feeds = {imported.inputs[0]: inputs(imported, 5)}
    with pytest.raises(UsageError, match="too few"):
        attach_exits(execute, imported, feeds, np.zeros(5, np.int64), exits=1)
    with pytest.raises(UsageError, match=r"labels must be 0\.\.3"):
        attach_exits(execute, imported, feeds, np.full(5, 9), exits=1)
    with pytest.raises(UsageError, match="only"):
        attach_exits(execute, imported, {imported.inputs[0]: inputs(imported)}, np.arange(160) % 4, exits=12)


@pytest.mark.parametrize("text", ["many", "-1", "99", "1.5"])
def test_exits_are_auto_off_or_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="auto, off or a number"):
        wanted_exits(text)
    assert wanted_exits("auto") is None
    assert wanted_exits("off") == 0
    assert wanted_exits(3) == 3
