# SPDX-License-Identifier: Apache-2.0
"""Several .tflite files of one task as operating points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_zoo import RELU, Net

import joulet
from joulet import session
from joulet.container.read import Container
from joulet.energy.synthetic import ConstantHarvester
from joulet.engine.answers import Answers
from joulet.engine.litert import LiteRTEngine, LiteRTLadder
from joulet.errors import EngineError, UsageError
from joulet.plan.cost import board_costs, cost_table, ladder_table
from joulet.tools.main import main

pytest.importorskip("ai_edge_litert", reason="needs joulet[tflite]")


def rung(folder: Path, name: str, width: int, *, classes: int = 4, scale: float = 0.04) -> Path:
    net = Net(name, width)
    x = net.act("input", (1, 16), scale, 8)
    hidden = net.dense(x, width, activation=RELU, name="hidden")
    path = folder / f"{name}.tflite"
    path.write_bytes(net.finish((x,), (net.softmax(net.dense(hidden, classes, name="logits")),)))
    return path


def samples(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 128, (n, 16)).astype(np.int8)


def test_every_file_is_a_path(tmp_path: Path) -> None:
    files = [rung(tmp_path, "small", 4), rung(tmp_path, "large", 64)]
    ladder = LiteRTLadder(files)
    assert ladder.path_names == ("small", "large")
    x = samples(12)
    for file in files:
        alone = LiteRTEngine(file).infer([x])
        np.testing.assert_array_equal(ladder.infer([x], path=file.stem).outputs[0], alone.outputs[0])
    with pytest.raises(UsageError, match="this ladder has small, large"):
        ladder.infer([x], path="medium")
    ladder.start([x[0]], 1)
    with pytest.raises(EngineError, match="no answer yet"):
        ladder.answer()
    assert ladder.run_to_exit(0).exit == 0
    np.testing.assert_array_equal(ladder.answer(), ladder.infer([x[:1]], path=1).outputs[0][0])
    with pytest.raises(EngineError, match="share nothing"):
        ladder.switch(0)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    small = rung(tmp_path, "small", 4)
    with pytest.raises(UsageError, match=r"'five\.tflite' has other outputs than 'small\.tflite'"):
        LiteRTLadder([small, rung(tmp_path, "five", 4, classes=5)])
    with pytest.raises(UsageError, match=r"'fine\.tflite' has other inputs"):
        LiteRTLadder([small, rung(tmp_path, "fine", 4, scale=0.02)])
    with pytest.raises(UsageError, match="two or more"):
        LiteRTLadder([small])
    with pytest.raises(UsageError, match=r"cannot read .*none\.tflite"):
        LiteRTLadder([small, tmp_path / "none.tflite"])


def test_infer_takes_a_ladder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = rung(tmp_path, "small", 4), rung(tmp_path, "large", 64)
    x = samples(9)
    np.savez(tmp_path / "in.npz", input_0=x)
    words = ["infer", str(small), "--engine", f"litert:{large}", "--input", str(tmp_path / "in.npz")]
    assert main([*words, "--output", str(tmp_path / "out.npz"), "--precision", "large"]) == 0
    with np.load(tmp_path / "out.npz") as file:
        np.testing.assert_array_equal(file["output_0"], LiteRTEngine(large).infer([x]).outputs[0])
    assert main([*words, "--output", str(tmp_path / "out.npz"), "--precision", "w8"]) == 2
    assert "small, large" in capsys.readouterr().err


def test_a_policy_chooses_among_the_files(tmp_path: Path) -> None:
    """A ladder runs in the control loop: the cheap file when energy is scarce, costs from the files themselves."""
    files = [rung(tmp_path, "small", 4), rung(tmp_path, "large", 256)]
    board = joulet.load_board("nucleo_l4r5zi")
    tables = []
    for file in files:
        container = Container.from_bytes(joulet.compile_model(file, exits="off", precisions=("w8",)).container)
        tables.append(cost_table(container, board_costs(container, board)))
    costs = ladder_table([file.stem for file in files], tables)
    cheap, dear = (costs.steps[path][0][0] for path in (0, 1))
    assert cheap is not None
    assert dear is not None
    assert cheap.cycles < dear.cycles
    x = samples(16)
    for path, name in enumerate(costs.path_names):
        record = session.run(
            Answers(LiteRTLadder(files), [x], np.zeros(16, np.int64), costs.prefixes),
            costs,
            board.load,
            harvester=ConstantHarvester(5e-3),
            converter=joulet.ConstantConverter(0.8),
            storage=joulet.Capacitor(1e-3, max_v=3.6),
            policy=joulet.make_policy(f"fixed:{name}@last"),
            settings=joulet.SessionSettings(period_s=1.0, duration_s=20.0),
        )
        assert record.summary.served > 0
        assert record.ledger.closes
        assert record.summary.mean_energy_j is not None
        if path == 0:
            first = record.summary.mean_energy_j
        else:
            assert record.summary.mean_energy_j > first


def test_compile_says_what_several_files_are_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = rung(tmp_path, "small", 4), rung(tmp_path, "large", 64)
    assert main(["compile", str(small), str(large), "-o", str(tmp_path / "m.jlt")]) == 2
    assert "a container holds one network, 2 files were given" in capsys.readouterr().err
    assert not (tmp_path / "m.jlt").exists()
