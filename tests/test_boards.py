# SPDX-License-Identifier: Apache-2.0
"""Boards: figures agree with the measurements they claim to come from, and bad files say what is wrong."""

from __future__ import annotations

import csv
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from joulet.boards import DEFAULT_BOARD, board_names, load_board
from joulet.compile import compile_model
from joulet.container.read import Container
from joulet.errors import UsageError
from joulet.plan.cost import board_costs, cost_table

MODELS = {"ad": "ad01_int8", "kws": "kws_ref_model_int8", "ic": "ic_resnet8_int8", "vww": "vww_96_int8"}


def measured(shared_data: Path) -> dict[str, dict[str, float]]:
    """Latency [ms] and energy [µJ] of the rows that the board file names."""
    with (shared_data / "mcu_measured_mlperf" / "measured.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["round"] == "v1.3" and r["board"] == "NUCLEO_L4R5ZI-P"]
    return {
        r["benchmark"]: {"ms": float(r["latency_ms"]), "uj": float(r["energy_uJ_per_inf"])}
        for r in rows
        if r["benchmark"] in MODELS
    }


def test_energy_per_cycle_is_what_was_measured(shared_data: Path) -> None:
    load = load_board().load
    per_cycle = [row["uj"] * 1e6 / (row["ms"] * 1e-3 * load.clock_hz) for row in measured(shared_data).values()]
    assert len(per_cycle) == 4
    assert load.energy_pj_per_cycle == round(float(np.mean(per_cycle)))
    assert max(abs(value / load.energy_pj_per_cycle - 1.0) for value in per_cycle) < 0.016


@pytest.fixture(scope="module")
def watch() -> Container:
    """The shipped model, bare."""
    model = (resources.files("joulet.demo") / "watch_int8.tflite").read_bytes()
    return Container.from_bytes(
        compile_model(model, exits="off", precisions=("w8", "w4"), board=DEFAULT_BOARD).container
    )


def test_steps_add_up_to_the_whole(watch: Container) -> None:
    board = load_board()
    costs = board_costs(watch, board)
    table = cost_table(watch, costs)
    assert table.path_names[:2] == ("w8", "w4")
    whole = table.steps[0][0][-1]
    assert whole is not None
    assert whole.cycles == int(costs.cycles[0].sum())
    assert whole.macs == int(watch.ops["macs"].sum())
    assert whole.bit_macs == 8 * whole.macs
    four = table.steps[1][0][-1]
    assert four is not None
    assert four.cycles <= whole.cycles * 1.05  # bits that a kernel does not gain by cost next to nothing


def test_a_container_carries_the_same_table(watch: Container) -> None:
    (carried,) = watch.boards
    made = board_costs(watch, load_board())
    assert (carried.name, carried.clock_hz, carried.energy_pj_per_cycle) == ("nucleo_l4r5zi", 120_000_000, 278)
    np.testing.assert_array_equal(carried.cycles, made.cycles)


def test_every_board_names_its_sources() -> None:
    assert DEFAULT_BOARD in board_names()
    for name in board_names():
        board = load_board(name)
        assert board.name == name
        assert {"pj_per_cycle", "sleep_w", "cycles", "f32", "roof", "v_off"} <= set(board.provenance)
        for source in board.provenance.values():
            assert source.startswith(("measured: ", "modelled: ", "datasheet: ", "not modelled: "))


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("pj_per_cycle = 278", "pj_per_cycle = -1", "pj_per_cycle"),
        ("v_off = 1.8", "v_off = 9.0", "must rise"),
        ("clock_hz = 120_000_000", "", "clock_hz"),
        ('seen = "simulated"', 'seen = "dreamt"', "seen"),
        ("[energy]", "[energy", "not TOML"),
        ('kernels = "cortex_m4"', 'kernels = "cortex_x1"', "cortex_x1"),
        ("per_mac = 6.0", "", "'per_mac'"),
        ("sleep_w = 8.4e-6", 'sleep_w = "low"', "must be a number"),
    ],
)
def test_a_bad_board_file_is_named(tmp_path: Path, old: str, new: str, word: str) -> None:
    root = Path(__file__).resolve().parents[1]
    text = (root / "firmware" / "boards" / DEFAULT_BOARD / "board.toml").read_text()
    assert old in text
    path = tmp_path / "board.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(UsageError, match=word):
        load_board(path)


def test_unknown_boards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nucleo_l4r5zi"):
        load_board("arduino")
    with pytest.raises(UsageError, match="cannot be read"):
        load_board(tmp_path / "none.toml")
