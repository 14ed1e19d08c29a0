# SPDX-License-Identifier: Apache-2.0
"""``joulet power``: tallies by hand, sources that come and go, clocks that jump, the views, the command itself."""

from __future__ import annotations

import argparse
import csv
import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from meter_trees import HWMON, ORIN_NANO, machine, plant

from joulet.errors import MeterError, UsageError
from joulet.meters import Machine, Quality, Reading
from joulet.meters.tally import Tally, total_w
from joulet.meters.watch import Watch
from joulet.tools import power
from joulet.tools.main import main


def reading(time_s: float, power_w: float | None, **others: object) -> Reading:
    fields: dict[str, object] = {"rail": "r", "provenance": "measured: test", **others}
    return Reading(time_s=time_s, power_w=power_w, **fields)  # type: ignore[arg-type]


# tallies


def test_energy_by_trapezoids_and_window_by_hand() -> None:
    tally = Tally(window_s=2.0, gap_s=5.0)
    for time_s, power_w in [(0.0, 1.0), (1.0, 3.0), (2.0, 1.0), (3.0, 1.0), (4.0, 5.0)]:
        tally.add("s", reading(time_s, power_w))
    ((_, f),) = tally.figures()
    assert f.energy_j == pytest.approx(2.0 + 2.0 + 1.0 + 3.0)
    assert (f.min_w, f.max_w, f.window_s) == (1.0, 5.0, 2.0)
    assert f.mean_w == pytest.approx((1.0 + 3.0) / 2.0)


def test_a_counter_of_its_own_goes_before_trapezoids() -> None:
    tally = Tally(10.0, 5.0)
    tally.add("s", reading(0.0, 1.0, energy_j=7.0))
    tally.add("s", reading(60.0, 1.0, energy_j=12.0))
    ((_, f),) = tally.figures()
    assert f.energy_j == pytest.approx(5.0)
    assert f.covered_s == pytest.approx(60.0)


def test_a_gap_is_missed_and_not_guessed() -> None:
    tally = Tally(100.0, 1.0)
    for time_s in (0.0, 1.0, 11.0, 12.0):
        tally.add("s", reading(time_s, 2.0))
    ((_, f),) = tally.figures()
    assert (f.energy_j, f.covered_s, f.missed_s) == pytest.approx((4.0, 2.0, 10.0))
    assert f.mean_w == pytest.approx(2.0)


def test_marks_and_interruptions() -> None:
    tally = Tally(100.0, 5.0)
    tally.add("s", reading(0.0, 2.0, energy_j=0.0))
    tally.add("s", reading(1.0, 2.0, energy_j=2.0))
    tally.mark()
    tally.add("s", reading(2.0, 2.0, energy_j=4.0))
    tally.interrupt("s", 5.0)
    ((_, f),) = tally.figures()
    assert f.lost
    assert (f.energy_j, f.missed_s) == (2.0, 3.0)
    assert total_w(tally.figures(), "s") is None
    tally.interrupt("s", 6.0)
    tally.add("s", reading(9.0, 2.0, energy_j=0.0))  # opened again: its counter begins anew
    tally.add("s", reading(10.0, 2.0, energy_j=2.0))
    ((_, f),) = tally.figures()
    assert (f.energy_j, f.covered_s, f.missed_s) == pytest.approx((4.0, 2.0, 7.0))


def test_extremes_of_a_mean_are_those_of_its_samples() -> None:
    tally = Tally(10.0, 5.0)
    tally.add("s", reading(0.0, 2.0, low_w=0.5, high_w=9.0))
    ((_, f),) = tally.figures()
    assert (f.min_w, f.max_w) == (0.5, 9.0)


def test_a_sum_leaves_out_what_lies_within_and_keeps_what_is_wrong() -> None:
    tally = Tally(10.0, 5.0)
    tally.add("s", reading(0.0, 6.0, rail="in", quality=Quality.PARTIAL))
    tally.add("s", reading(0.0, 2.5, rail="part", counts=False, quality=Quality.SATURATED))
    assert total_w(tally.figures(), "s") == (6.0, Quality.PARTIAL)
    assert total_w(tally.figures(), "other") is None


# watching


class Clock:
    """Time that goes on only when told, and a time of day beside it."""

    def __init__(self) -> None:
        self.now_s, self.day_s = 0.0, 1e9

    def clock(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.day_s + self.now_s

    def pass_(self, seconds: float) -> None:
        self.now_s += seconds


def watch_on(tmp_path: Path, faults: dict[str, int], clock: Clock) -> Watch:
    plant(tmp_path, ORIN_NANO)
    around = machine(tmp_path, faults, clock=clock.clock, wall=clock.wall)
    return Watch(["jetson"], around, allow_estimate=False, late_s=1.0)


def test_a_source_that_goes_away_is_said_and_asked_again(tmp_path: Path) -> None:
    clock, faults = Clock(), dict[str, int]()
    watch = watch_on(tmp_path, faults, clock)
    readings, news = watch.poll()
    assert len(readings) == 3
    assert [each.kind for each in news] == ["note"]
    faults["_input"] = errno.ENOENT  # unplugged
    clock.pass_(0.1)
    readings, news = watch.poll()
    assert not readings
    assert [each.kind for each in news] == ["lost"]
    assert "unplugged" in news[0].text
    clock.pass_(0.5)
    assert watch.poll() == ([], [])
    clock.pass_(1.0)
    assert not watch.poll()[0]
    faults.clear()
    clock.pass_(1.0)
    readings, news = watch.poll()
    assert len(readings) == 3
    assert [each.kind for each in news] == ["back"]
    assert "2.5 s are missing" in news[0].text


def test_a_clock_that_jumps_and_a_machine_that_slept_are_said(tmp_path: Path) -> None:
    clock = Clock()
    watch = watch_on(tmp_path, {}, clock)
    watch.poll()
    clock.day_s -= 3600.0
    clock.pass_(0.1)
    readings, news = watch.poll()
    assert [each.kind for each in news] == ["clock"]
    assert "-3600.0 s" in news[0].text
    assert readings[0][1].time_s == pytest.approx(0.1)
    clock.pass_(30.0)
    assert [each.kind for each in watch.poll()[1]] == ["late"]


def test_a_source_that_is_missing_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="no rails of a Jetson"):
        Watch(["jetson"], machine(tmp_path), allow_estimate=False, late_s=1.0)


# the command


def arguments(**others: object) -> argparse.Namespace:
    fields: dict[str, object] = {
        "sources": [], "rate": 10.0, "csv": None, "allow_estimate": False, "json": True, "web": None, **others
    }  # fmt: skip
    return argparse.Namespace(**fields)


def fast(tmp_path: Path, clock: Clock, **others: object) -> Machine:
    return machine(tmp_path, clock=clock.clock, wall=clock.wall, sleep=clock.pass_, **others)


def test_json_lines_and_csv_tell_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, ORIN_NANO)
    file = tmp_path / "out.csv"
    assert power.watch(arguments(csv=file), fast(tmp_path, Clock()), 2.0, 10.0) == 0  # the best source is found
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    readings = [line["data"] for line in lines if line["type"] == "reading"]
    assert len(readings) == 3 * 21
    rails = {rail["rail"]: rail for rail in lines[-1]["data"]["rails"]}
    assert lines[-1]["type"] == "summary"
    assert rails["VDD_IN"]["energy_j"] == pytest.approx(12.0)
    assert rails["VDD_IN"]["coverage"] == 1.0
    rows = list(csv.DictReader(line for line in file.read_text().splitlines() if not line.startswith("#")))
    assert [float(row["power_w"]) for row in rows] == pytest.approx([each["power_w"] for each in readings])
    assert {row["quality"] for row in rows} == {""}


def test_what_is_lost_until_the_end_keeps_its_energy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, ORIN_NANO)
    faults, clock = dict[str, int](), Clock()

    def sleep(seconds: float) -> None:
        clock.pass_(seconds)
        if clock.now_s > 1.0:
            faults["_input"] = errno.ENOENT

    around = machine(tmp_path, faults, clock=clock.clock, wall=clock.wall, sleep=sleep)
    power.watch(arguments(), around, 3.0, 10.0)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["data"]["kind"] for line in lines if line["type"] == "event"] == ["lost"]
    rails = {rail["rail"]: rail for rail in lines[-1]["data"]["rails"]}
    assert rails["VDD_IN"]["lost"]
    assert rails["VDD_IN"]["energy_j"] == pytest.approx(6.0, rel=0.01)
    assert rails["VDD_IN"]["missed_s"] == pytest.approx(2.0, rel=0.01)
    assert rails["VDD_IN"]["coverage"] == pytest.approx(1 / 3, rel=0.02)


def test_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, ORIN_NANO | {f"{HWMON}/hwmon1/curr3_input": 3})
    power.watch(arguments(json=False), fast(tmp_path, Clock()), 2.0, 10.0)
    out = capsys.readouterr().out
    assert "note: jetson: VDD_IN is the total" in out
    assert "coarse" in out
    assert "jetson: VDD_IN 12 J in 2 s; measured: ina3221 (hwmon), label VDD_IN" in out


def test_the_live_view_shows_rails_sum_and_events(tmp_path: Path) -> None:
    rich = pytest.importorskip("rich.console", reason="the live view needs rich")
    from joulet.tools.power_view import View

    plant(tmp_path, ORIN_NANO)
    clock = Clock()
    watch = Watch(["jetson"], fast(tmp_path, clock), allow_estimate=False, late_s=1.0)
    tally = Tally(10.0, 1.0)
    screen = io.StringIO()
    view = View(0.0, 10.0, rich.Console(file=screen, width=120, force_terminal=True))
    for _ in range(3):
        readings, news = watch.poll()
        for source, each in readings:
            tally.add(source, each)
        assert view.update(readings, news, tally) == ""
        clock.pass_(0.2)
    view.finish(tally)
    view.close()
    text = screen.getvalue()
    for word in ("VDD_CPU_GPU_CV", "sum of jetson", "2.4 J", "min, mean, max over 10 s", "VDD_IN is the total"):
        assert word in text


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "joulet.tools.main", "power", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_as_a_user_calls_it() -> None:
    done = run("simulated:10mW", "--duration", "300ms", "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])["data"]["rails"][0]
    assert last["energy_j"] == pytest.approx(0.010 * last["covered_s"], rel=1e-6)
    assert run("--list", "--json").returncode == 0
    for words, message in [
        (("simulated:10mW", "--rate", "0"), "--rate"),
        (("nosuch",), "there is no kind"),
        (("replay:nowhere.csv",), "nowhere.csv"),
    ]:
        done = run(*words)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


# what a user may get wrong


def test_a_source_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="named 2 times"):
        Watch(["simulated:1W", "simulated:1W"], Machine(), allow_estimate=False, late_s=1.0)


def test_an_unknown_kind_names_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "rapls"]) == 2
    assert "there is no kind 'rapls'; did you mean rapl; there are jetson, pi5" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "simulated:1W", "--duration", "1s", "--csv", str(tmp_path / "none" / "x.csv")]) == 2
    assert f"there is no folder '{tmp_path / 'none'}'; make it first" in capsys.readouterr().err


def test_samples_that_a_recording_lacks_are_missing_from_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.csv").write_text("time_s,power_w\n0,1\n1,nan\n2,1\n3,1\n")
    assert main(["power", f"replay:{tmp_path / 'r.csv'},speed=100", "--json"]) == 0
    (rail,) = json.loads(capsys.readouterr().out.splitlines()[-1])["data"]["rails"]
    assert rail["energy_j"] == pytest.approx(1.0)
    assert (rail["covered_s"], rail["missed_s"]) == (pytest.approx(1.0), pytest.approx(2.0))
    assert rail["mean_w"] == pytest.approx(1.0)
