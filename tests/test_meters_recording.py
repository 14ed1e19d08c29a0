# SPDX-License-Identifier: Apache-2.0
"""Recordings: what is written comes back, what others write is understood, what is broken is said; replay and boards."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from board_tools import need_board

from joulet.errors import MeterError, UsageError
from joulet.meters import Machine, Quality, open_meter
from joulet.meters.recording import load_recording, write_ppk2
from joulet.meters.replay import EndedError
from joulet.meters.tally import Tally
from joulet.meters.watch import Watch


def test_a_ppk2_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "session.ppk2"
    current_a = np.linspace(0.0, 0.05, 25_001)
    current_a[100:110] = np.nan
    logic = (np.arange(25_001) % 251).astype(np.uint8)
    write_ppk2(path, current_a, logic, 100_000.0, 1.7e9)
    (rail,) = load_recording(path, 3.0)
    assert rail.current_a == pytest.approx(current_a, rel=1e-6, nan_ok=True)
    assert np.array_equal(rail.logic if rail.logic is not None else [], logic)
    assert rail.time_s[-1] == pytest.approx(0.25)
    with zipfile.ZipFile(path) as archive:  # as Nordic's application has it
        assert json.loads(archive.read("metadata.json")) == {
            "metadata": {"samplesPerSecond": 100_000.0, "startSystemTime": 1_700_000_000_000},
            "formatVersion": 2,
        }
        raw = archive.read("session.raw")
        minimap = json.loads(archive.read("minimap.raw"))
    assert len(raw) == 6 * 25_001
    assert raw[6 * 5 + 4 : 6 * 5 + 6] == bytes([0b01010101, 0b01100110])  # D0 and D2 high
    assert minimap["data"]["length"] == len(minimap["data"]["min"]) <= 10_000


def test_a_ppk2_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.ppk2"
    path.write_bytes(b"no zip")
    with pytest.raises(MeterError, match=r"no \.ppk2 file"):
        load_recording(path, 3.0)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("session.raw", bytes(13))
        archive.writestr("metadata.json", '{"metadata": {"samplesPerSecond": 1000}}')
    assert "no whole frame" in load_recording(path, 3.0)[0].notes[0]
    with pytest.raises(MeterError, match="give the voltage"):
        load_recording(path)
    with pytest.raises(MeterError, match="no such file"):
        load_recording(tmp_path / "nowhere.csv")


def test_csv_of_ours_and_of_nordic(tmp_path: Path) -> None:
    ours = tmp_path / "ours.csv"
    ours.write_text(
        "time_s,source,rail,voltage_v,current_a,power_w,energy_j,quality,provenance\n# 0.000 s note x\n"
        '0,"a,b",VDD,5,0.1,0.5,,,m\n1,"a,b",VDD,5,0.2,1.0,,,m\n0.5,"a,b",GPU,,,0.25,,coarse,m\n'
    )
    vdd, gpu = load_recording(ours)
    assert (vdd.rail, gpu.rail) == ("VDD", "GPU")
    assert vdd.energy_j().tolist() == [0.0, 0.75]
    assert gpu.current_a is None
    nordic = tmp_path / "nordic.csv"
    nordic.write_text("Timestamp(ms),Current(uA),D0-D7\n0.00,100.5,10000000\n0.01,200.5,01000000\n")
    (rail,) = load_recording(nordic, 2.0)
    assert rail.power_w == pytest.approx([201e-6, 401e-6])
    assert rail.logic is not None
    assert rail.logic.tolist() == [1, 2]


def test_half_written_lines_and_clocks_that_go_back_are_said(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    path.write_text("time_s,power_w\n0,1\n1,x\n5,1\n3,1\n4\n6,1\n7,0.00")
    (rail,) = load_recording(path)
    assert rail.time_s.tolist() == [0, 3, 5, 6]
    notes = " ".join(rail.notes)
    assert "line 3 is left out" in notes
    assert "line 6 is left out: it has 1 of 2 cells" in notes
    assert "line 8 is left out: it has no end" in notes
    assert "goes back 1 time;" in notes
    path.write_text("volts,amps\n1,2\n")
    with pytest.raises(MeterError, match="needs time_s"):
        load_recording(path)
    path.write_text("time_s,power_w\n")
    with pytest.raises(MeterError, match="no lines"):
        load_recording(path)


def test_replay_loses_nothing_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    times = np.arange(0, 10.01, 0.01)
    np.savetxt(path, np.c_[times, 1 + np.sin(times)], delimiter=",", header="time_s,power_w", comments="")
    now = [100.0]
    around = Machine(clock=lambda: now[0], wall=lambda: now[0])
    watch = Watch([f"replay:{path},speed=2"], around, allow_estimate=False, late_s=9.0)
    tally, kinds = Tally(60.0, 9.0), []
    while not watch.over:
        readings, news = watch.poll()
        kinds += [each.kind for each in news]
        for source, reading in readings:
            tally.add(source, reading)
        now[0] += 0.5
    ((_, f),) = tally.figures()
    assert f.energy_j == pytest.approx(10 + 1 - np.cos(10), rel=1e-3)
    assert f.covered_s == pytest.approx(10.0)  # of the recording, though it took half as long
    assert f.mean_w == pytest.approx((11 - np.cos(10)) / 10, rel=0.02)
    assert kinds == ["end"]
    assert (f.min_w, f.max_w) == pytest.approx((0.0, 2.0), abs=1e-3)
    meter = open_meter(f"replay:{path}", around)
    now[0] += 20.0
    meter.read()
    with pytest.raises(EndedError):
        meter.read()


def test_replay_wants_a_file_and_a_speed() -> None:
    with pytest.raises(UsageError, match="say which file"):
        open_meter("replay")
    with pytest.raises(UsageError, match="speed is a number"):
        open_meter("replay:x.csv,speed=fast")


def test_a_boards_own_counter() -> None:
    need_board()
    from joulet.emulator.board import VirtualBoard, VirtualPort
    from joulet.link import connect

    virtual = VirtualBoard("virtual_m4")
    virtual.power_on()
    around = Machine(open_board=lambda where: connect(VirtualPort(virtual)))
    meter = open_meter("board:here", around)
    try:
        first = meter.read()[0].energy_j or 0.0
        begin_j = virtual.power.drawn_j
        for _ in range(100):
            (reading,) = meter.read()
        spent_j = virtual.power.drawn_j - begin_j
    finally:
        meter.close()
    # a step of the INA228's counter is 16 × 3.2 × 1 µA = 51.2 µJ; what is said is what was counted one reading before
    assert (reading.energy_j or 0.0) - first == pytest.approx(spent_j, abs=70e-6)
    assert spent_j > 1e-3
    assert reading.voltage_v == pytest.approx(2.4, abs=2e-3)
    assert reading.quality == Quality.OK
    with pytest.raises(MeterError, match="say which board"):
        open_meter("board")
