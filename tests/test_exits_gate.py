# SPDX-License-Identifier: Apache-2.0
"""Gates shut out what is unlike the samples, leave answers as they are, and the engine multiplies as NumPy does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import execute, run

from joulet.compile import compile_model
from joulet.engine.host import HostEngine
from joulet.engine.refit import HeadRefit, RefitRule
from joulet.exits import gate, gating
from joulet.exits.attach import Attached, attach_exits
from joulet.exits.confidence import choose_stops
from joulet.exits.gate import RAMPS, Seen, fit_gates, gated, is_too_sure, strictest
from joulet.exits.heads import margins, range_quant
from joulet.exits.ridge import folds
from joulet.importers.tflite import load_tflite
from joulet.ir import Graph, OpKind, Precision
from joulet.quant.bare import weighted_ops

LABELS = np.arange(160) % 4


def inputs(n: int = 160) -> np.ndarray:
    """Return blobs that move and change contrast."""
    rng = np.random.default_rng(11)
    base = rng.normal(0, 50, (n, 12, 12, 2)) + np.array([-90, -30, 30, 90])[np.arange(n) % 4, None, None, None]
    return np.clip(base, -128, 127).astype(np.int8)


def w8_of(graph: Graph) -> Precision:
    return Precision(name="w8", bits=dict.fromkeys(weighted_ops(graph), 8))


@pytest.fixture
def every_exit_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_TOLERANCE", -10.0)
    monkeypatch.setattr(gating, "_MAY_COST", 10.0)
    monkeypatch.setattr(gating, "_MAY_COST_OF_MUCH", 10.0)
    monkeypatch.setattr(gating, "_MAY_LOSE", 1.0)


@pytest.fixture
def imported(models: Path) -> Graph:
    return load_tflite(models / "residual_int8.tflite")


@pytest.fixture
def attached(imported: Graph, every_exit_has_one: None) -> Attached:
    return attach_exits(execute, imported, {imported.inputs[0]: inputs()}, LABELS, exits=2)


def test_gates_are_open_for_samples_and_shut_for_outliers_the_strict_ones_to_more() -> None:
    rng = np.random.default_rng(0)
    source = range_quant(-8.0, 8.0)

    def int8(real: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(real / source.scale[0]) + source.zero_point, -128, 127).astype(np.int8)

    own, far = int8(rng.normal(0, 0.7, (400, 6))), int8(rng.normal(4, 0.7, (200, 6)))
    gates = fit_gates({"w8": Seen(own=own, outliers=far)}, folds(np.arange(400) % 4), source)
    assert len(gates) == len(RAMPS)
    assert all(len(g.without_fold) == 5 for g in gates)
    shares = [(g.row.answer(own) == 127).mean() for g in gates]
    assert shares == sorted(shares)
    np.testing.assert_allclose(shares, RAMPS, atol=0.05)
    assert all((g.row.answer(own) > -128).mean() > 0.97 for g in gates)
    assert all((g.row.answer(far) == -128).all() for g in gates)


def test_an_open_gate_changes_nothing_and_a_shut_one_leaves_no_margin() -> None:
    logits = np.random.default_rng(1).integers(-128, 128, (50, 7))
    np.testing.assert_array_equal(gated(logits, np.full((50, 1), 127), -13), logits)
    assert (margins(gated(logits, np.full((50, 1), -128), -13))[0] == 0).all()


def test_an_exit_gets_a_gate_only_where_it_is_surer_than_the_imported_one() -> None:
    limit = np.full((3, 15), 0.2)
    assert not is_too_sure(limit + 0.05, limit)
    assert is_too_sure(limit + np.eye(3, 15) * 0.2, limit)


def test_the_strictest_gate_is_taken_that_costs_little() -> None:
    source = range_quant(-8.0, 8.0)
    values = np.random.default_rng(2).integers(-60, 60, (40, 5)).astype(np.int8)
    gates = fit_gates({"w8": Seen(own=values, outliers=values[:9])}, np.arange(40) % 2, source)
    assert strictest(gates, lambda g: g in gates[2:]) is gates[2]
    assert strictest(gates, lambda _: False) is None


def test_the_graph_multiplies_logits_by_the_gate_and_answers_as_without(imported: Graph, attached: Attached) -> None:
    graph, x = attached.graph, np.concatenate([inputs(), np.full((1, 12, 12, 2), 127, np.int8)])
    values = run(graph, w8_of(graph), [x])
    plain = attach_exits(execute, imported, {imported.inputs[0]: inputs()}, LABELS, exits=2, gates=False)
    before = run(plain.graph, w8_of(plain.graph), [x])
    for k, fitted in enumerate(attached.heads[:-1]):
        assert fitted is not None
        assert fitted.gate is not None
        exit, times = graph.exits[k], next(op for op in graph.ops if op.kind is OpKind.MUL and op.exit == k)
        logits, share = (values[t].reshape(161, -1) for t in times.inputs)
        quant = graph.tensors[times.inputs[0]].quant
        assert quant is not None
        np.testing.assert_array_equal(values[exit.logits].reshape(161, -1), gated(logits, share, quant.zero_point))
        features = values[fitted.features].reshape(161, -1)
        assert np.abs(share - fitted.gate.row.answer(features)).max() <= 1
        np.testing.assert_array_equal(values[exit.output], before[plain.graph.exits[k].output])
    assert all(head is None or head.gate is None for head in plain.heads)


def test_the_c_engine_has_the_same_confidence_and_a_refit_takes_the_head_behind(
    models: Path, every_exit_has_one: None
) -> None:
    x = inputs()
    data = {"input_0": x, "labels": LABELS}
    made = compile_model(models / "residual_int8.tflite", data=data, exits=1, precisions=("w8", "w4", "f32"))
    engine = HostEngine(made.container)
    assert sum(engine.container.ops["code"] == 9) == len(engine.exit_names) - 1
    for path in ("w8", "w4", "f32"):
        before = engine.infer([x], path=path, depth=0)
        noise = np.random.default_rng(3).integers(-128, 128, x.shape, dtype=np.int8)
        assert engine.infer([noise], path=path, depth=0).confidence_q15.mean() <= before.confidence_q15.mean()
    refit = HeadRefit(engine, 0, RefitRule())
    table = engine.container.confidence[int(engine.container.paths[0]["confidence"][0])]
    margins_seen = []
    for each in [*x[:20], *noise[:20]]:
        engine.start([each[None]], 0)
        event = engine.run_to_exit(0)
        margins_seen.append(int(refit._refit.head.margin))
        assert event.confidence_q15 == table[margins_seen[-1] >> 3]
    assert max(margins_seen[20:]) < max(margins_seen[:20])
    refit.learn(1)
    assert refit.updates == 1


def test_what_a_gate_shuts_out_goes_on() -> None:
    bins = np.zeros((2, 20), np.int64)
    correct, costs = np.stack([np.ones(20), np.zeros(20)]), np.array([0.5, 1.0])
    assert choose_stops(bins, correct, costs, 0.5).bins == (0, 0)
    assert choose_stops(bins, correct, costs, 0.5, least=(1, 0)).bins[0] >= 1
