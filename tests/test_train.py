# SPDX-License-Identifier: Apache-2.0
"""Nested fine-tuning: what the trainer computes is what the engine computes, and training can stop and go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from joulet.engine.host import HostEngine
from joulet.errors import DataError, JouletError, UnsupportedModelError, UsageError
from joulet.importers.tflite import load_tflite
from joulet.passes.pipeline import exact_passes
from joulet.quant.bare import weighted_ops, with_exit
from joulet.quant.nested import all_four, setting_of
from joulet.quant.on_engine import execute_on_engine
from joulet.quant.probe import probe
from joulet.tools.main import main
from joulet.train.checkpoint import Store
from joulet.train.fit import Options, Samples, fit
from joulet.train.front import exported, train_model
from joulet.train.net import Net, torch_module

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
TRAINABLE = ("conv", "dense", "depthwise", "pools", "residual")


def net_of(path: Path) -> Net:
    graph = with_exit(exact_passes(load_tflite(path)))
    w8 = dict.fromkeys(weighted_ops(graph), 8)
    return Net(torch_module(), graph, {"w8": w8, "w4": all_four(graph).bits}, {"w8": {}, "w4": {}})


def inputs(net: Net, n: int, seed: int = 0) -> np.ndarray:
    shape = net.graph.tensors[net.graph.inputs[0]].shape[1:]
    return np.random.default_rng(seed).integers(-128, 128, (n, *shape), dtype=np.int8)


def agree(net: Net, x: np.ndarray) -> None:
    """Compare the trainer's integers with the engine's, at every precision."""
    graph, precisions = exported(net)
    logits = graph.exits[-1].logits
    for precision in precisions:
        want = probe(execute_on_engine, graph, setting_of(graph, precision), {graph.inputs[0]: x}, (logits,))[logits]
        with torch.no_grad():
            exact = net.forward(precision.name, [torch.from_numpy(x)], exact=True)[logits].numpy()
            near = net.forward(precision.name, [torch.from_numpy(x)])[logits].numpy()
        np.testing.assert_array_equal(exact.reshape(want.shape), want)
        assert np.abs(near.reshape(want.shape) - want).max() <= 3, "training itself rounds once, so it is off by little"


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_trainers_integers_are_the_engines(models: Path, name: str) -> None:
    net = net_of(models / f"{name}_int8.tflite")
    agree(net, inputs(net, 16))
    rng = np.random.default_rng(1)
    net.load([p + rng.normal(0, 3, p.shape).astype(p.dtype) for p in net.state()])
    agree(net, inputs(net, 16))


@pytest.mark.parametrize("name", [name for name in TRAINABLE if name != "pools"])
def test_every_weight_and_bias_gets_a_gradient(models: Path, name: str) -> None:
    net = net_of(models / f"{name}_int8.tflite")
    logits = net.graph.exits[-1].logits
    for precision in net.bits:
        net.real_logits(net.forward(precision, [torch.from_numpy(inputs(net, 16))]), logits).square().sum().backward()
    weights, biases = net.parameters()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in weights)
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in (*weights, *biases))


def test_training_lowers_the_loss_of_both_precisions(models: Path) -> None:
    net = net_of(models / "residual_int8.tflite")
    x = inputs(net, 96)
    labels = (x.reshape(96, -1).astype(int).sum(axis=1) > 0).astype(np.int64)
    data = Samples(inputs=(x,), labels=labels, teacher=np.zeros((1, 96, 4), np.float32))
    options = Options(epochs=12, batch=32, distil=0.0, rate=1.0)
    scores = iter(range(100))
    epochs = fit(
        net, data, lambda: {"w8": float(next(scores)), "w4": 0.0}, (1.0,), options, Store(None, "", resume=False)
    )
    assert [e.number for e in epochs] == list(range(13))
    assert epochs[-1].loss < 0.9 * epochs[1].loss
    agree(net, x)


def test_interrupted_training_goes_on_as_if_nothing_had_happened(models: Path, tmp_path: Path) -> None:
    x = inputs(net_of(models / "residual_int8.tflite"), 64)
    data = Samples(inputs=(x,), labels=np.arange(64) % 4, teacher=np.zeros((1, 64, 4), np.float32))
    options = Options(epochs=3, batch=16)

    def run(store: Store, stop_at: int | None) -> list[np.ndarray]:
        net = net_of(models / "residual_int8.tflite")
        calls = 0

        def judge() -> dict[str, float]:
            nonlocal calls
            calls += 1
            if stop_at is not None and calls > stop_at:
                raise KeyboardInterrupt
            return {"w8": float(np.abs(net.state()[0]).sum())}

        fit(net, data, judge, (1.0,), options, store)
        return net.state()

    whole = run(Store(None, "a", resume=False), None)
    path = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        run(Store(path, "a", resume=False), 2)
    assert path.exists()
    with pytest.raises(UsageError, match="--resume"):
        Store(path, "a", resume=False)
    for one, other in zip(run(Store(path, "a", resume=True), None), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(DataError, match="another model"):
        run(Store(path, "b", resume=True), None)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", b"not an archive"])
def test_a_damaged_checkpoint_is_named(models: Path, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "state"
    path.write_bytes(damage)
    with pytest.raises(DataError, match=r"state: is not a usable checkpoint .*delete it"):
        Store(path, "a", resume=True).load(net_of(models / "dense_int8.tflite"))


def test_a_checkpoint_of_another_shape_is_named(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "state"
    head = {"format": 1, "identity": "a", "step": 0, "best_score": 0, "losses": [], "epochs": []}
    with path.open("wb") as file:
        np.savez(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), parameters_0=np.zeros(3))
    with pytest.raises(DataError, match="not a usable checkpoint"):
        Store(path, "a", resume=True).load(net_of(models / "dense_int8.tflite"))


def data(models: Path, n: int = 120) -> dict[str, np.ndarray]:
    x = inputs(net_of(models / "residual_int8.tflite"), n)
    return {"input_0": x, "labels": np.arange(n) % 4}


def test_a_container_comes_out_with_exits_and_all_precisions(models: Path) -> None:
    arrays = data(models)
    trained = train_model(models / "residual_int8.tflite", data=arrays, exits=1, options=Options(epochs=1, batch=32))
    engine = HostEngine(trained.result.container)
    assert {"w8", "w4", "mix", "w4>w8@0"} <= set(engine.path_names)
    assert len(trained.shares) == len(engine.exit_names) == 3
    assert sum(trained.shares) == pytest.approx(1)
    assert trained.result.report.calibration_samples < len(arrays["labels"]) / 2, "tables come from held-out samples"
    assert engine.infer([arrays["input_0"]], path="w4", depth="auto").outputs[0].shape[0] == 120


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        ({"labels": np.full(120, 9)}, {}, DataError, "classes 0..3"),
        ({"input_0": np.zeros((120, 3), np.int8)}, {}, DataError, "shape"),
        ({}, {"options": Options(epochs=0)}, UsageError, "at least 1"),
        ({}, {"options": Options(rate=0)}, UsageError, "rate"),
        ({}, {"mix_bytes": 0.3}, UsageError, "above 50 %"),
        ({}, {"shares": (1.0, 2.0)}, UsageError, "give 1 numbers"),
    ],
)
def test_mistakes_name_the_remedy(models: Path, change: dict, options: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        train_model(models / "residual_int8.tflite", data={**data(models), **change}, **options)


def test_few_samples_and_strange_layers_are_refused(models: Path) -> None:
    few = {name: a[:20] for name, a in data(models).items()}
    with pytest.raises(DataError, match="too few"):
        train_model(models / "residual_int8.tflite", data=few)
    with pytest.raises(UnsupportedModelError, match="argmax"):
        net_of(models / "argmax_int8.tflite")


def test_without_pytorch_the_extra_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    real = importlib.import_module

    def absent(name: str, package: str | None = None):
        if name == "torch":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(JouletError, match=r"joulet\[train\]"):
        torch_module()


def test_the_command_writes_once_and_never_over(models: Path, tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "x.npz", **data(models))
    out = tmp_path / "m.jlt"
    words = ["train", str(models / "residual_int8.tflite"), "--data", str(tmp_path / "x.npz"), "--out", str(out)]
    assert main([*words, "--epochs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [e["number"] for e in told["epochs"]] == [0, 1]
    assert not out.with_name("m.jlt.checkpoint").exists()
    content = out.read_bytes()
    assert main([*words, "--epochs", "1"]) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == content
    assert (
        main(["train", str(models / "residual_int8.tflite"), "--data", str(tmp_path / "none.npz"), "--out", "n.jlt"])
        == 2
    )
    assert "no such file" in capsys.readouterr().err


def test_shapes_of_state_round_trip(models: Path) -> None:
    net = net_of(models / "conv_int8.tflite")
    before = net.state()
    net.load([np.zeros_like(p) for p in before])
    assert all(not p.any() for p in net.state())
    net.load(before)
    for one, other in zip(net.state(), before, strict=True):
        np.testing.assert_array_equal(one, other)
