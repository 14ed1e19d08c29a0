# SPDX-License-Identifier: Apache-2.0
"""Measured costs go back into a board's file or a container, and prices are theirs from then on."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_tools import container, need_board, samples
from profile_truth import judge, record

from joulet.boards import load_board
from joulet.container.measured import measured_section, read_measured
from joulet.container.parts import with_measured, without_measured
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.errors import ContainerError, PlanError, UsageError
from joulet.measured import Figure, MeasuredCosts, MeasuredExit, MeasuredStep, measured_from, merged
from joulet.plan.cost import board_costs, cost_table
from joulet.plan.measured import apply, measured_on, priced
from joulet.plan.on_board import planned_for
from joulet.profile.figures import Interval, Profile, Row, Sync
from joulet.tools.main import main
from joulet.tools.profile_write import measured_of, write_board, write_container

BOARD = "virtual_m4"


def figure(mean: float, half: float = 0.01) -> Figure:
    return Figure(mean=mean, low=mean * (1 - half), high=mean * (1 + half))


def costs(kind: str = "simulated", *, energy: float = 1.0, paths: tuple[str, ...] = ("w8",)) -> MeasuredCosts:
    """Return a table for the small model: exits at 10, 20, 30, 40 microjoules times ``energy``, one milliwatt."""
    names = HostEngine(container()).exit_names
    return MeasuredCosts(
        board=BOARD,
        model_hash=Container.from_bytes(container()).model_hash.hex(),
        kind=kind,
        provenance=f"{kind}: by hand",
        exits=tuple(
            MeasuredExit(
                path=path, exit=name, n=5, energy_j=figure(1e-5 * (k + 1) * energy), latency_s=figure(1e-2 * (k + 1))
            )
            for path in paths
            for k, name in enumerate(names)
        ),
    )  # fmt: skip


def exits_nj(table, board, path: str = "w8") -> list[float]:  # type: ignore[no-untyped-def]
    row = table.steps[table.path_names.index(path)][0]
    return [step.cycles * board.load.energy_pj_per_cycle / 1e3 for step in row]


def test_a_table_comes_back_and_anything_else_is_refused() -> None:
    table = replace(
        costs(),
        steps=(MeasuredStep(precision="w8", op=0, energy_j=Figure(mean=0.0, low=0.0, high=1.0), latency_s=figure(1.0)),),
        steps_provenance="simulated: counted",
    )  # fmt: skip
    assert measured_from(json.loads(json.dumps(table.to_dict()))) == table
    good = table.to_dict()
    for wrong, message in (
        ({**good, "kind": "guessed"}, "kind is 'guessed'"),
        ({**good, "exits": []}, "no exits"),
        ({**good, "exits": good["exits"] * 2}, "twice"),
        ({**good, "exits": [{**good["exits"][0], "energy_j": [1.0, 2.0, 3.0]}]}, "within its interval"),
        ({**good, "exits": [{**good["exits"][0], "energy_j": [1.0, 0.0]}]}, r"not \[mean, low, high\]"),
        ({**good, "exits": [{**good["exits"][0], "n": -1}]}, "no count"),
        ({**good, "board": 3}, "no text"),
        ({}, "lacks or misplaces"),
        ([], "lacks or misplaces"),
    ):
        with pytest.raises(ValueError, match=message):
            measured_from(wrong)


def test_rows_are_merged_and_two_kinds_are_not() -> None:
    old, new = costs(paths=("w8", "w4")), replace(costs(energy=2.0), provenance="simulated: again")
    both = merged(old, new, "the file")
    assert len(both.exits) == len(old.exits)
    by_path = {path: next(row.energy_j.mean for row in both.exits if row.path == path) for path in ("w8", "w4")}
    assert by_path == {"w8": 2e-5, "w4": 1e-5}
    assert both.provenance == "simulated: by hand | simulated: again"
    assert merged(costs(), new, "the file").provenance == "simulated: again"  # nothing of the old one is left
    with pytest.raises(UsageError, match="the file holds measured costs, these are simulated"):
        merged(costs("measured"), new, "the file")


def test_a_section_holds_a_table_and_leaves_the_model_alone() -> None:
    whole = with_measured(container(), costs())
    decoded = Container.from_bytes(whole)
    assert decoded.measured == (costs(),)
    assert decoded.model_hash == Container.from_bytes(container()).model_hash
    HostEngine(whole)  # the C side takes it
    again = Container.from_bytes(with_measured(whole, costs(energy=3.0)))
    assert again.measured == (costs(energy=3.0),)
    assert without_measured(whole) == container()
    assert without_measured(container()) == container()
    assert planned_for(whole, BOARD) == planned_for(container(), BOARD)  # a board's flash has better uses
    with pytest.raises(PlanError, match="of another one"):
        with_measured(container(), replace(costs(), model_hash="00" * 32))


def test_a_broken_section_is_refused() -> None:
    good, model = measured_section(costs()), Container.from_bytes(container()).model_hash
    assert read_measured(good, 1, model) == costs()
    rng = np.random.default_rng(1)
    for wrong in (good[:39], good[:-1], good + b" ", good[:40] + b"[" * (len(good) - 40), b"x" + good[1:]):
        with pytest.raises(ContainerError, match="INV-34"):
            read_measured(wrong, 1, model)
    with pytest.raises(ContainerError, match="another board or model"):
        read_measured(good, 1, bytes(32))
    for _ in range(200):
        bytes_ = bytearray(good)
        bytes_[int(rng.integers(len(good)))] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(ContainerError):  # anything else would come out
            read_measured(bytes(bytes_), 1, model)


def test_prices_are_the_measured_ones_and_steps_add_up() -> None:
    decoded, board = Container.from_bytes(container()), load_board(BOARD)
    table = cost_table(decoded, board_costs(decoded, board))
    new, priced_board = apply(decoded, table, board, costs())
    assert priced_board.load.energy_pj_per_cycle == round(1e12 * 1e-3 / board.load.clock_hz)
    found = exits_nj(new, priced_board)
    assert found == pytest.approx([1e4 * (k + 1) for k in range(len(found))], rel=1e-3)
    index = new.path_names.index("w8")
    for before in range(len(found) - 1):
        for after in range(before + 1, len(found)):
            on, whole = new.steps[index][before + 1][after], new.steps[index][0][after]
            assert on is not None
            assert whole is not None
            passed = whole.cycles - on.cycles  # the way to the first exit without its head
            assert 0 < passed < new.steps[index][0][before].cycles  # type: ignore[union-attr]
    other = new.path_names.index("w4")
    assert exits_nj(new, priced_board, "w4") == pytest.approx(exits_nj(table, board, "w4"), rel=0.01)
    assert new.accuracy[other] == table.accuracy[other]
    assert "of w4" in priced_board.provenance["pj_per_cycle"]
    wrong = replace(costs(), exits=(replace(costs().exits[0], exit="nowhere"),))
    with pytest.raises(UsageError, match="w8 to nowhere, which the container does not have"):
        apply(decoded, table, board, wrong)


def test_heads_are_as_measured_where_their_ops_were() -> None:
    decoded, board = Container.from_bytes(container()), load_board(BOARD)
    table = cost_table(decoded, board_costs(decoded, board))
    heads = np.flatnonzero(decoded.ops["exit"] == 0)
    steps = tuple(
        MeasuredStep(precision="w8", op=int(op), energy_j=figure(1e-6), latency_s=figure(1e-3)) for op in heads
    )
    new, priced_board = apply(decoded, table, board, replace(costs(), steps=steps))
    index, pj = new.path_names.index("w8"), priced_board.load.energy_pj_per_cycle
    on = new.steps[index][1][1]
    assert on is not None
    # the second exit's 20 uJ, less the way to the first: its 10 uJ without the head
    assert on.cycles * pj / 1e6 == pytest.approx(20.0 - (10.0 - len(heads)), rel=1e-3)


def test_a_container_and_a_board_of_two_kinds_are_not_mixed() -> None:
    decoded = Container.from_bytes(with_measured(container(), costs("measured")))
    board = load_board(BOARD)
    assert measured_on(decoded, board) == costs("measured")
    assert measured_on(Container.from_bytes(container()), board) is None
    beside = replace(board, measured=(costs(),))
    assert measured_on(Container.from_bytes(container()), beside) == costs()
    with pytest.raises(UsageError, match="holds simulated costs, these are measured"):
        priced(decoded, beside)


def test_a_file_of_a_board_is_written_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    write_board(path, costs(), replace=False)
    board = load_board(path)
    assert (board.name, board.measured) == (BOARD, (costs(),))
    assert board.load.energy_pj_per_cycle == round(1e12 * 1e-3 / board.load.clock_hz)
    assert board.provenance["pj_per_cycle"] == "simulated: by hand"
    other = replace(costs(), model_hash="ab" * 32)
    write_board(path, other, replace=False)
    assert load_board(path).measured == (costs(), other)
    with pytest.raises(UsageError, match="holds simulated costs, these are measured"):
        write_board(path, costs("measured"), replace=False)
    assert load_board(path).measured == (costs(), other)
    write_board(path, costs("measured"), replace=True)
    assert load_board(path).measured == (costs("measured"),)
    path.write_text(path.read_text().replace("[energy]", "seen = 'silicon'\n[energy]", 1))
    with pytest.raises(UsageError, match="holds seen, which joulet profile did not write"):
        write_board(path, costs("measured"), replace=False)
    (tmp_path / "other.toml").write_text('like = "virtual_m0plus"\n')
    with pytest.raises(UsageError, match="is like 'virtual_m0plus'"):
        write_board(tmp_path / "other.toml", costs(), replace=False)
    with pytest.raises(UsageError, match=r"ends in \.toml"):
        write_board(tmp_path / "other.txt", costs(), replace=False)
    (tmp_path / "broken.toml").write_text('like = "virtual_m4"\n[[measured]]\nkind = "simulated"\n')
    with pytest.raises(UsageError, match="lacks or misplaces"):
        load_board(tmp_path / "broken.toml")


def test_a_container_is_written_on(tmp_path: Path) -> None:
    path = tmp_path / "out.jlt"
    write_container(path, container(), costs(paths=("w4",)), replace=False)
    write_container(path, path.read_bytes(), costs(), replace=False)
    assert {row.path for row in Container.from_bytes(path.read_bytes()).measured[0].exits} == {"w8", "w4"}
    with pytest.raises(UsageError, match="the container holds simulated costs"):
        write_container(path, path.read_bytes(), costs("measured"), replace=False)
    write_container(path, path.read_bytes(), costs("measured"), replace=True)
    assert Container.from_bytes(path.read_bytes()).measured == (costs("measured"),)


def test_without_an_interval_nothing_is_written() -> None:
    wide = Interval(mean=1.0, low=-np.inf, high=np.inf)
    row = Row(path="w8", exit="final", n=1, excluded=0, energy_j=wide, latency_s=wide, power_w=1.0)
    profile = Profile(
        model="m", model_hash="h", engine="e", meter="x", provenance="measured: x",
        sync=Sync(method="markers", error_s=0, detail=""), inside="", idle_w=None, coverage=1.0, rows=(row,), board=BOARD,
    )  # fmt: skip
    with pytest.raises(Exception, match="one inference tells no interval"):
        measured_of(profile, 0.0)


def test_what_the_virtual_board_drew_is_what_is_foretold_after_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_board()
    model, board, out = tmp_path / "m.jlt", tmp_path / "mine.toml", tmp_path / "out.jlt"
    model.write_bytes(container())
    words = ["--engine", f"virtual:{BOARD}", "--repeats", "6", "--steps", "--json"]
    assert main(["profile", str(model), *words, "--write-board", str(board), "--write-container", str(out)]) == 0
    capsys.readouterr()
    truth = judge(record(container(), samples("residual_int8")[:1], 2), "markers")
    cost, there = priced(Container.from_bytes(container()), load_board(board))
    again, here = priced(Container.from_bytes(out.read_bytes()), load_board(BOARD))
    assert (cost, there.load) == (again, here.load)
    assert (
        there.load.energy_pj_per_cycle == load_board(BOARD).load.energy_pj_per_cycle
    )  # this board's power is one figure
    known = {(row.path, row.exit): row for row in load_board(board).measured[0].exits}
    assert len(known) == len(truth.rows)
    for row, true_j in zip(truth.rows, truth.true_j, strict=True):
        path, exit = cost.path_names.index(row.path), cost.exit_names.index(row.exit)
        foretold_j = cost.steps[path][0][exit].cycles * there.load.energy_pj_per_cycle * 1e-12  # type: ignore[union-attr]
        seen = known[row.path, row.exit].energy_j
        assert seen.low <= true_j <= seen.high
        assert seen.low <= foretold_j <= seen.high
        assert foretold_j == pytest.approx(true_j, rel=0.02)
    # and what the commands then say and do
    assert main(["inspect", str(out), "--costs", "--board", BOARD, "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)["costs"]
    assert seen["measured"]["kind"] == "simulated"
    w8 = next(each for each in seen["precisions"] if each["precision"] == "w8")
    assert all(step["measured_j"]["mean"] > 0.0 for step in w8["steps"])
    assert main(["inspect", str(model), "--costs", "--board", str(board)]) == 0
    text = capsys.readouterr().out
    assert "simulated: path" in text
    assert "measured nJ" in text
    data = tmp_path / "in.npz"
    x = samples("residual_int8")
    np.savez(data, input_0=x, labels=np.zeros(len(x), np.int64))
    run = [
        "run",
        str(model),
        "--input",
        str(data),
        "--trace",
        "constant:20mW",
        "--duration",
        "20s",
        "--policy",
        "fixed:w8@last",
    ]
    assert main([*run, "--board", str(board), "--out", str(tmp_path / "run"), "--json"]) == 0
    spent = json.loads(capsys.readouterr().out)["summary"]["mean_energy_j"]
    assert spent == pytest.approx(known["w8", cost.exit_names[-1]].energy_j.mean, rel=0.1)  # and waking, asking
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["provenance"]["pj_per_cycle"].startswith("simulated: a PPK2 at a virtual board")


def test_costs_of_this_machine_are_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.jlt"
    model.write_bytes(container())
    assert main(["profile", str(model), "--meter", "simulated:1W", "--write-board", str(tmp_path / "b.toml")]) == 2
    assert "costs are those of a board" in capsys.readouterr().err
