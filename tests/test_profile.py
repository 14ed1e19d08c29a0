# SPDX-License-Identifier: Apache-2.0
"""Profiles: markers and clocks by hand, then a virtual board's true energy per exit found again through a simulated PPK2."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_tools import container, need_board, samples
from ppk2_pty import on_pty, steady
from profile_truth import Recording, judge, record
from serial_desk import desk

from joulet.errors import DataError, MeterError
from joulet.meters import Stream, open_meter
from joulet.meters.ppk2_device import Ppk2Device
from joulet.profile import Profile, Row, Sync, load_profile
from joulet.profile.board import windows_by_markers
from joulet.profile.export import rows_csv
from joulet.profile.figures import Interval, interval
from joulet.profile.recorder import Recorder, Trace
from joulet.profile.steps import _figures
from joulet.profile.sync import energy_up_to, find_pulses, fit_arrivals, fit_clock, group_runs, place_windows
from joulet.profile.ticks import find_ticks, known_levels, read_told, runs_between
from joulet.tools.main import main
from joulet.tools.profile import marker_lines, text_of

# by hand


def test_pulses_are_the_phase_in_gray_code_on_three_lines() -> None:
    logic = np.array([0, 1, 1, 3, 1, 0, 9, 1, 0], np.uint8)  # DECIDE is 3; bit 3 is another line
    starts, ends = find_pulses(logic)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(1, 3), (4, 5), (6, 8)]
    starts, _ = find_pulses((logic << np.uint8(2)).astype(np.uint8), first_line=2)
    assert starts.tolist() == [1, 4, 6]
    starts, ends = find_pulses(logic, lines=1)  # DECIDE shows on the first line too
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(1, 5), (6, 8)]
    assert marker_lines(None, "lpm01a:/dev/x") == (7, 1)
    assert marker_lines("D4-D6", "ppk2") == (4, 3)


def drawn(text: str) -> np.ndarray:
    """Return samples of four lines: . idle, i op, e exit told; capitals with the fourth pin low."""
    levels = {".": 0b1000, "i": 0b1001, "e": 0b1100, "_": 0b0000, "E": 0b0100}
    return np.array([levels[letter] for letter in text], np.uint8)


def test_exits_and_ends_of_ops_are_read_from_the_fourth_pin() -> None:
    logic = drawn("..ii.i.eEEeeEEee...i__..ii__..eEEee..")
    told = read_told(logic, 0)
    assert [(each.begin, each.end, each.exit) for each in told] == [(0, 7, 1), (16, 30, 0)]
    assert read_told((logic << np.uint8(2)).astype(np.uint8), 2) == told
    assert [each.exit for each in read_told(logic & np.uint8(7), 0)] == [-1, -1]  # the pin is not wired
    assert [each.exit for each in read_told(logic, 0, ticks=False)] == [-1, -1]
    starts, ends = find_ticks(logic, 0)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(8, 10), (12, 14), (20, 22), (26, 28), (31, 33)]
    assert find_ticks(drawn("__.i__..__"), 0)[0].tolist() == [4]
    assert runs_between(*find_pulses(logic), told).tolist() == [[2, 6], [19, 26]]
    with pytest.raises(DataError, match="inference 1 shows no pulse"):
        runs_between(*find_pulses(logic[:16]), told)


def test_lost_samples_keep_the_levels_before_them() -> None:
    logic = np.array([9, 0, 0, 12], np.uint8)
    assert known_levels(logic, np.array([1.0, np.nan, np.nan, 1.0])).tolist() == [9, 9, 9, 12]


def test_pulses_are_put_together_by_their_largest_pauses() -> None:
    starts = np.array([10, 20, 31, 100, 111, 300])
    ends = np.array([18, 30, 40, 109, 120, 310])
    assert group_runs(starts, ends, 3).tolist() == [[10, 40], [100, 120], [300, 310]]
    assert group_runs(starts[:1], ends[:1], 1).tolist() == [[10, 18]]
    with pytest.raises(DataError, match="do not tell inferences apart"):
        group_runs(starts, ends, 4)
    with pytest.raises(DataError, match="6 pulses for 7"):
        group_runs(starts, ends, 7)


def test_a_clock_is_found_from_questions_of_different_width() -> None:
    rng = np.random.default_rng(1)
    device_s = np.sort(rng.uniform(0.0, 60.0, 40))
    true_s = 5.0 + device_s * (1 + 80e-6)
    before_s = true_s - rng.uniform(0.1e-3, 2e-3, 40)
    after_s = true_s + rng.uniform(0.1e-3, 2e-3, 40)
    fit = fit_clock(device_s, before_s, after_s)
    assert fit.rate == pytest.approx(1 + 80e-6, abs=20e-6)
    assert np.abs(fit.at(device_s) - true_s).max() < fit.error_s < 2e-3
    with pytest.raises(DataError, match="fewer than two"):
        fit_clock(device_s[:1], before_s[:1], after_s[:1])


def test_no_sample_arrives_before_it_was_taken() -> None:
    rng = np.random.default_rng(2)
    index = np.arange(1000, 200_000, 500).astype(float)
    taken_s = 3.0 + index * 1e-5 * (1 - 30e-6)
    arrived_s = taken_s + 0.5e-3 + rng.exponential(2e-3, len(index))
    fit = fit_arrivals(index, arrived_s, 1e-5)
    assert (fit.at(index * 1e-5) <= arrived_s + 1e-9).all()
    assert fit.offset_s == pytest.approx(3.0005, abs=2e-3)
    with pytest.raises(DataError, match="fewer than two"):
        fit_arrivals(index[:1], arrived_s[:1], 1e-5)


def test_samples_that_come_in_bursts_do_not_tilt_the_clock() -> None:
    """As when a host polls after each inference: only the last of each burst is fresh."""
    burst = np.cumsum([50_000, 20_000, 50_000, 20_000, 5_000] * 20)
    index = np.concatenate([np.arange(end - 4_999, end + 1, 1_000) for end in burst]).astype(float)
    arrived_s = 2.0 + np.repeat(burst, 5) * 1e-5 * (1 + 40e-6)
    fit = fit_arrivals(index, arrived_s, 1e-5)
    assert fit.rate == pytest.approx(1 + 40e-6, abs=1e-5)
    assert (fit.at(index * 1e-5) <= arrived_s + 1e-9).all()


def test_energy_between_samples_by_hand() -> None:
    cumulative_j = np.array([0.0, 1.0, 3.0])
    assert energy_up_to(cumulative_j, np.array([-1.0, 0.5, 1.0, 1.5, 2.0, 9.0])).tolist() == [
        0.0,
        0.5,
        1.0,
        2.0,
        3.0,
        3.0,
    ]


def test_windows_are_placed_where_the_energy_is() -> None:
    power_w = np.full(20_000, 1e-3)
    true = [(2_000, 3_000), (9_000, 10_000), (15_000, 16_000)]
    for start, end in true:
        power_w[start:end] = 0.1
    cumulative_j = np.concatenate([[0.0], np.cumsum(power_w) * 1e-5])
    bounds_s = np.array([(start * 1e-5 - 3e-3, end * 1e-5 + 5e-3) for start, end in true]) + 4e-3  # clocks 4 ms apart
    starts_s, _ = place_windows(cumulative_j, 1e-5, bounds_s, np.full(3, 1e-2), 20e-3)
    assert starts_s == pytest.approx([start * 1e-5 for start, _ in true], abs=1.1e-4)


def test_intervals_by_hand() -> None:
    found = interval([1.0, 2.0, 3.0], bias=0.5)
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.303 / math.sqrt(3) + 0.5)
    assert math.isinf(interval([1.0]).half)


def test_a_profile_comes_back_from_its_file(tmp_path: Path) -> None:
    energy, latency = Interval(mean=1.0, low=0.5, high=1.5), Interval(mean=2.0, low=-math.inf, high=math.inf)
    row = Row(path="w8", exit="final", n=3, excluded=1, energy_j=energy, latency_s=latency, power_w=0.5)
    sync = Sync(method="markers", error_s=1e-5, detail="")
    profile = Profile(
        model="m", model_hash="h", engine="e", meter="x", provenance="measured: x", sync=sync, inside="i", idle_w=None,
        coverage=1.0, rows=(row,), notes=("a",),
    )  # fmt: skip
    profile.save(tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == profile
    assert json.loads((tmp_path / "p.json").read_text())["rows"][0]["latency_s"]["low"] is None
    (tmp_path / "q.json").write_text('{"format": "other"}')
    with pytest.raises(DataError, match="of format 'other'"):
        load_profile(tmp_path / "q.json")
    (tmp_path / "q.json").write_text("[]")
    with pytest.raises(DataError, match="no profile"):
        load_profile(tmp_path / "q.json")


# a virtual board through a simulated kit


def measured(repeats: int = 6, **others: bool) -> Recording:
    need_board()
    return record(container(), samples("residual_int8")[:1], repeats, **others)


def test_the_true_energy_per_exit_is_found_within_two_percent() -> None:
    recording = measured(repeats=10)
    for sync in ("markers", "clock"):
        truth = judge(recording, sync)
        assert len(truth.rows) >= 8
        for row, true_j in zip(truth.rows, truth.true_j, strict=True):
            assert row.energy_j.mean == pytest.approx(true_j, rel=0.02), (sync, row.path, row.exit)
            assert row.energy_j.low <= true_j <= row.energy_j.high
            assert row.energy_j.half < 0.05 * row.energy_j.mean
            assert (row.n, row.excluded) == (10, 0)


def test_inferences_with_lost_samples_are_left_out() -> None:
    need_board()
    recording = record(container(), samples("residual_int8")[:1], 6, "virtual_m0plus", lossy=True)
    truth, trace = judge(recording, "markers"), recording.taken.trace
    assert trace.lost > 50
    assert np.isnan(trace.power_w).sum() == trace.lost
    assert sum(row.excluded for row in truth.rows) > 0
    assert all(row.n + row.excluded == 6 for row in truth.rows)
    for row, true_j in zip(truth.rows, truth.true_j, strict=True):
        assert row.energy_j.mean == pytest.approx(true_j, rel=0.03)


def test_without_wires_markers_are_an_error_that_says_so() -> None:
    with pytest.raises(DataError, match="are the board's marker pins in D0 to D2"):
        judge(measured(repeats=2, markers=False), "markers")


def test_exits_are_read_from_the_pins_where_four_are_wired() -> None:
    recording = measured(repeats=2)
    taken = recording.taken
    known = [stamp.exit for stamp in taken.stamps]
    assert sorted(set(known)) == list(range(len(recording.exit_names)))
    told = read_told(taken.trace.logic, 0)
    assert [each.exit for each in told[1:]] == known
    windows, sync = windows_by_markers(taken, 0)
    assert sync.exits == "markers"
    assert f"{len(known)} read" in sync.detail
    for lines, word in ((1, "not wired"), (3, "not wired")):
        others, sync = windows_by_markers(taken, 0, lines)
        assert (others == windows).all()
        assert sync.exits == "device records"
        assert word in sync.detail
    loose = replace(taken, trace=replace(taken.trace, logic=taken.trace.logic | np.uint8(8)))
    assert "D3 tells none" in windows_by_markers(loose, 0)[1].detail


def test_pins_that_show_another_exit_than_the_board_says_are_an_error() -> None:
    taken = measured(repeats=2).taken
    taken.stamps[3].exit += 1
    with pytest.raises(DataError, match="inference 3: the markers show exit"):
        windows_by_markers(taken, 0)


def test_a_thread_takes_a_real_stream_down() -> None:
    with on_pty(Ppk2Device(steady(0.004, logic=1))) as pty:
        meter = open_meter(f"ppk2:{pty.name},voltage=3V")
        assert isinstance(meter, Stream)
        recorder = Recorder(meter, time.monotonic, threaded=True)
        ends_s = time.monotonic() + 30.0
        while recorder.count < 20_000 and time.monotonic() < ends_s:
            recorder.poll()
            time.sleep(0.02)
        trace = recorder.stop()
        meter.close()
    assert len(trace.power_w) >= 20_000
    assert trace.power_w == pytest.approx(12e-3, rel=2e-3)
    assert trace.lost == 0
    fit = fit_arrivals(trace.arrivals[:, 0], trace.arrivals[:, 1], trace.period_s)
    assert fit.error_s >= 0.0
    assert fit.n == len(trace.arrivals)


def test_a_meter_that_is_lost_while_recording_is_an_error() -> None:
    with on_pty(Ppk2Device(steady(0.004))) as pty:
        meter = open_meter(f"ppk2:{pty.name},voltage=3V")
        recorder = Recorder(meter, time.monotonic, threaded=True)  # type: ignore[arg-type]

    def wait() -> None:
        ends_s = time.monotonic() + 30.0
        while time.monotonic() < ends_s:
            recorder.poll()
            time.sleep(0.02)

    with pytest.raises(MeterError):  # the line is gone
        wait()


# the command


def test_one_wire_will_do(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    words = ["--engine", "virtual:virtual_m4", "--precision", "w8", "--depth", "0", "--repeats", "2", "--json"]
    energies = []
    for more in ([], ["--marker-lines", "D0", "--sync", "markers"]):
        assert main(["profile", str(model), *words, *more]) == 0
        energies.append(json.loads(capsys.readouterr().out)["rows"][0]["energy_j"]["mean"])
    assert energies[0] == energies[1]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.jlt"
    path.write_bytes(container())
    return path


def test_the_command_on_a_virtual_board(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    out = model.with_name("p.json")
    words = ["--engine", "virtual:virtual_m4", "--precision", "w8", "--repeats", "3", "--json", "--out", str(out)]
    assert main(["profile", str(model), *words]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["sync"]["method"] == "markers"
    assert "D0 to D2" in table["sync"]["detail"]
    assert table["sync"]["exits"] == "markers"
    assert table["coverage"] == 1.0
    assert table["provenance"].startswith("simulated: a PPK2")
    assert [row["n"] for row in table["rows"]] == [3] * len(table["rows"])
    assert table == json.loads(out.read_text())
    assert 0.0 < table["idle_w"] < 0.01 * table["rows"][0]["power_w"]


def test_steps_through_a_meter_are_those_that_the_board_counts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    words = [
        "--engine",
        "virtual:virtual_m4",
        "--precision",
        "w8",
        "--depth",
        "0",
        "--repeats",
        "8",
        "--steps",
        "--json",
    ]
    tables = []
    for more in ([], ["--meter", "ppk2"]):
        assert main(["profile", str(model), *words, *more]) == 0
        tables.append(json.loads(capsys.readouterr().out))
    counted, metered = (table["steps"] for table in tables)
    assert counted["method"].startswith("counted")
    assert counted["provenance"].startswith("simulated: a virtual board")
    assert metered["method"].startswith("markers: pulses on D3")
    assert metered["provenance"].startswith("simulated: a PPK2")
    assert len(counted["rows"]) == len(metered["rows"]) > 10
    inside = 0
    for true, row in zip(counted["rows"], metered["rows"], strict=True):
        assert (true["name"], true["exit"], true["precision"]) == (row["name"], row["exit"], "w8")
        assert (true["n"], row["n"]) == (1, 8)
        assert true["energy_j"]["low"] == true["energy_j"]["mean"] == true["energy_j"]["high"] > 0.0
        for figure, worst in (("energy_j", 0.4e-6), ("latency_s", 20e-6)):
            low, mean, high = (row[figure][key] for key in ("low", "mean", "high"))
            assert low <= mean <= high
            assert high - mean < worst
            assert abs(mean - true[figure]["mean"]) < worst
            inside += low <= true[figure]["mean"] <= high
    assert inside >= 0.85 * 2 * len(counted["rows"])  # of intervals of 95 %
    # heads of other exits are run too, so that steps to an exit are what its inference takes
    to_first = [row for row in counted["rows"] if row["exit"] in (None, "exit0")]
    first = next(k for k, row in enumerate(counted["rows"]) if row["exit"] == "exit0")
    alone = counted["rows"][:first] + [row for row in to_first if row["exit"] == "exit0"]
    whole_j = next(row for row in tables[0]["rows"] if row["exit"] == "exit0")["energy_j"]
    assert sum(row["energy_j"]["mean"] for row in alone) == pytest.approx(whole_j["mean"], rel=0.03)
    profile = load_profile_of(tables[1], model.with_name("steps.json"))
    assert rows_csv(profile).count("\n") == 1 + 1 + len(metered["rows"])
    assert metered["rows"][0]["name"] in text_of(profile)


def load_profile_of(table: dict, path: Path) -> Profile:
    path.write_text(json.dumps(table))
    return load_profile(path)


def test_an_op_that_is_never_seen_lies_between_nothing_and_what_would_have_been() -> None:
    trace = Trace(
        power_w=np.full(4, 0.02), logic=np.zeros(4, np.uint8), period_s=1e-5, voltage_v=3.0, arrivals=np.zeros((1, 2)),
        lost=0, uncertain=0,
    )  # fmt: skip
    energy, latency, _ = _figures(np.zeros(10), np.zeros(10), trace, 0.02)
    assert (latency.low, latency.mean) == (0.0, 0.0)
    assert latency.high == pytest.approx(3e-6)  # longer ones are seen in ten repeats 95 times of 100
    assert energy.high == pytest.approx(6e-8)
    energy, latency, _ = _figures(np.full(4, 2e-7), np.full(4, 1e-5), trace, 0.02)
    assert latency.half == pytest.approx(5e-6)  # four readings alike, each within a sample
    assert energy.half >= 1e-7


def test_the_command_on_this_machine(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--meter", "simulated:10mW", "--window", "50ms", "--idle", "50ms", "--precision", "w8", "--depth", "0"]
    assert main(["profile", str(model), *words]) == 0
    text = capsys.readouterr().out
    assert "10 mW" in text
    assert "sync: host window" in text
    assert main(["profile", str(model), *words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["energy_j"]["mean"] == pytest.approx(0.010 * row["latency_s"]["mean"], rel=1e-3)


Check = Callable[[str], None]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "qemu:x"], "QEMU tells neither"),
        (["--engine", "serial:/dev/nowhere"], "say what measures the board"),
        (["--engine", "virtual:virtual_m4", "--meter", "rapl"], "hangs at a simulated PPK2"),
        (["--repeats", "1"], "needs 2 or more"),
        (["--meter", "simulated:1W", "--sync", "markers"], "no marker pins"),
        (["--meter", "simulated:1W", "--steps"], "cannot tell ops apart"),
        (["--meter", "simulated:1W", "--depth", "auto"], "tells each exit by itself"),
        (["--meter", "replay:nowhere.csv"], "no such file"),
        (["--marker-lines", "D0-D1"], "four neighbours"),
        (["--marker-lines", "8"], "four neighbours"),
    ],
)
def test_wrong_wishes_are_one_line(
    model: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(model), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_board_and_a_kit_on_serial_ports(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    with desk() as here:
        words = ["--engine", f"serial:{here.board_port}", "--meter", f"ppk2:{here.kit_port},voltage=2.4V"]
        more = ["--precision", "w8", "--repeats", "3", "--sync", "markers", "--json"]
        assert main(["profile", str(model), *words, *more]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["sync"]["method"] == "markers"
    assert table["provenance"].startswith("measured: ppk2:")
    assert table["coverage"] == 1.0
    truth = judge(measured(repeats=3), "markers")
    known_j = {(row.path, row.exit): true_j for row, true_j in zip(truth.rows, truth.true_j, strict=True)}
    for row in table["rows"]:
        assert row["energy_j"]["mean"] == pytest.approx(known_j[row["path"], row["exit"]], rel=0.02)
