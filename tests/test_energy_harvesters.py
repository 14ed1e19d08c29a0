# SPDX-License-Identifier: Apache-2.0
"""Harvesters other than CSV traces: made up, recorded by Shepherd, and from the sun."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulet.energy.load import load_harvester
from joulet.energy.segments import segments
from joulet.energy.shepherd import load_shepherd
from joulet.energy.solar import Panel, Place, clear_sky, load_irradiance
from joulet.energy.synthetic import ConstantHarvester, MarkovHarvester
from joulet.errors import DataError, JouletError, MissingDependencyError, UsageError

CHAIN = {"step_s": 0.5, "duration_s": 5000.0, "seed": 7}


def test_a_constant_source() -> None:
    source = ConstantHarvester(1e-4)
    assert source.segment(1e9) == (1e-4, math.inf)
    starts, powers = segments(source, 100.0)
    assert (starts.tolist(), powers.tolist()) == ([0.0], [1e-4])
    ends = ConstantHarvester(1e-4, duration_s=10.0)
    assert (ends.segment(3.0), ends.segment(10.0)) == ((1e-4, 10.0), (0.0, math.inf))
    assert segments(ends, 100.0)[0].tolist() == [0.0, 10.0]


def test_a_chain_is_deterministic_and_has_its_own_frequencies() -> None:
    levels, rows = [0.0, 1e-3, 5e-3], [[0.9, 0.1, 0.0], [0.0, 0.8, 0.2], [0.5, 0.0, 0.5]]
    first, again = (segments(MarkovHarvester(levels, rows, **CHAIN), 5000.0) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    other = segments(MarkovHarvester(levels, rows, **{**CHAIN, "seed": 8}), 5000.0)
    assert not np.array_equal(first[1], other[1])
    states = np.searchsorted(levels, first[1])
    assert (len(states), states[0]) == (10_000, 0)
    for i, row in enumerate(rows):
        after = np.bincount(states[1:][states[:-1] == i], minlength=3)
        assert after / after.sum() == pytest.approx(row, abs=0.03)
        assert not after[np.array(row) == 0.0].any()


def test_a_chain_loops_and_scales() -> None:
    chain = MarkovHarvester([0.0, 1.0], [[0, 1], [1, 0]], step_s=1.0, duration_s=4.0, seed=0, scale=2.0, loop=True)
    assert segments(chain, 9.0)[1].tolist() == [0, 2, 0, 2, 0, 2, 0, 2, 0]
    assert (chain.mean_w, chain.span_s, chain.duration_s) == (1.0, 4.0, math.inf)


@pytest.mark.parametrize(
    ("levels", "rows", "figures", "word"),
    [
        ([0.0, -1.0], [[1, 0], [0, 1]], {}, "levels"),
        ([0.0, 1.0], [[1, 0]], {}, "rows"),
        ([0.0, 1.0], [[0.5, 0.4], [0, 1]], {}, "sum to 1"),
        ([0.0, 1.0], [[1.5, -0.5], [0, 1]], {}, "sum to 1"),
        ([0.0, 1.0], [[1, 0], [0, 1]], {"start": 2}, "start"),
        ([0.0, 1.0], [[1, 0], [0, 1]], {"step_s": 0.0}, "steps"),
        ([0.0, 1.0], [[1, 0], [0, 1]], {"duration_s": 1e12}, "steps"),
        ([0.0, 1.0], [[1, 0], [0, 1]], {"seed": -1}, "seed"),
    ],
)
def test_refuses_chains_that_are_none(
    levels: list[float], rows: list[list[float]], figures: dict[str, float], word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        MarkovHarvester(levels, rows, **{**CHAIN, **figures})  # type: ignore[arg-type]


def record(
    path: Path,
    time_ns: np.ndarray,
    voltage: np.ndarray,
    current: np.ndarray,
    *,
    mode: str = "harvester",
    datatype: str | None = "ivsample",
    window: int = 0,
    calibrate_time: bool = True,
) -> Path:
    """Write a recording: voltage in steps of 1 mV from −1 V, current in steps of 1 µA."""
    with h5py.File(path, "w") as file:
        file.attrs["mode"] = mode
        data = file.create_group("data")
        if datatype is not None:
            data.attrs["datatype"], data.attrs["window_samples"] = datatype, window
        for key, values, kind in (("time", time_ns, "u8"), ("voltage", voltage, "u4"), ("current", current, "u4")):
            data.create_dataset(key, data=np.asarray(values).astype(kind), compression="gzip")
        calibration = {"voltage": (1e-3, -1.0), "current": (1e-6, 0.0), "time": (1e-9, 0.0)}
        for key, (gain, offset) in calibration.items():
            if key != "time" or calibrate_time:
                data[key].attrs["gain"], data[key].attrs["offset"] = gain, offset
    return path


START_NS = 1_700_000_000_000_000_001  # no double can tell the nanoseconds of such a time


@pytest.mark.parametrize("old", [False, True])
def test_slow_recordings_are_kept_as_they_are(tmp_path: Path, old: bool) -> None:
    time_ns = START_NS + np.array([0, 1, 2, 30, 31], np.uint64) * 500_000_000
    path = record(
        tmp_path / "r.h5", time_ns, np.full(5, 3000), np.array([0, 100, 200, 300, 400]),
        mode="harvesting" if old else "harvester", datatype=None if old else "ivsample", calibrate_time=not old,
    )  # fmt: skip
    harvester = load_harvester(str(path), scale=2.0)
    assert harvester.segment(0.6) == (pytest.approx(4e-4), pytest.approx(1.0))
    assert harvester.segment(5.0)[0] == 0.0  # a gap
    assert harvester.segment(15.1) == (pytest.approx(1.2e-3), pytest.approx(15.5))
    assert (harvester.n_gaps, len(harvester.sha256)) == (1, 64)
    assert "r.h5" in harvester.provenance


def test_fast_recordings_are_averaged(tmp_path: Path) -> None:
    n = 300_000  # three seconds of 100,000 a second, in more than one block
    time_ns = START_NS + np.arange(n, dtype=np.uint64) * 10_000
    current = np.where(np.arange(n) % 2, 100, 300) + np.where(np.arange(n) < n // 2, 0, 100)
    path = record(tmp_path / "r.hdf5", time_ns, np.full(n, 2000), current)
    harvester = load_shepherd(path)
    starts, powers = segments(harvester, 2.999)
    assert len(starts) == pytest.approx(3000, abs=1)
    assert powers[5] == pytest.approx(200e-6)
    assert powers[-5] == pytest.approx(300e-6)
    assert harvester.mean_w == pytest.approx(250e-6, rel=1e-3)
    assert len(segments(load_shepherd(path, step_s=0.5), 2.9)[0]) == 6


def test_of_an_iv_curve_the_largest_power_of_each_window_is_taken(tmp_path: Path) -> None:
    volts, amps = np.array([1000, 2000, 3000, 4000]), np.array([900, 800, 500, 0])
    time_ns = np.arange(12, dtype=np.uint64) * 1_000_000_000
    path = record(
        tmp_path / "c.h5", time_ns, np.tile(volts, 3), np.concatenate([amps, amps * 2, amps]),
        datatype="ivcurve", window=4,
    )  # fmt: skip
    harvester = load_shepherd(path)
    # 0 V·0.9 mA, 1 V·0.8 mA, 2 V·0.5 mA, 3 V·0 mA
    assert [harvester.segment(t)[0] for t in (0.0, 5.0, 9.0)] == pytest.approx([1e-3, 2e-3, 1e-3])


def test_refuses_recordings_of_something_else(tmp_path: Path) -> None:
    time_ns, ones = np.arange(10, dtype=np.uint64) * 10**9, np.full(10, 2000)
    path = tmp_path / "r.h5"
    with pytest.raises(DataError, match="mode 'emulator'"):
        load_shepherd(record(path, time_ns, ones, ones, mode="emulator"))
    with pytest.raises(DataError, match="isc_voc"):
        load_shepherd(record(path, time_ns, ones, ones, datatype="isc_voc"))
    with pytest.raises(DataError, match="does not rise"):
        load_shepherd(record(path, np.array([0, 2, 1, *range(3, 10)], np.uint64) * 10**9, ones, ones))
    with pytest.raises(DataError, match="rise"):
        load_shepherd(record(path, time_ns * 0, ones, ones))
    with pytest.raises(DataError, match="negative"):
        load_shepherd(record(path, time_ns, ones * 0, ones))
    with pytest.raises(DataError, match="9 values"):
        load_shepherd(record(path, time_ns, ones[1:], ones))
    with pytest.raises(DataError, match="make no trace"):
        load_shepherd(record(path, time_ns[:1], ones[:1], ones[:1]))
    record(path, time_ns, ones, ones)
    with h5py.File(path, "a") as file:
        del file["data/current"].attrs["gain"]
    with pytest.raises(DataError, match="gain"):
        load_shepherd(path)
    with h5py.File(path, "a") as file:
        del file["data/current"]
        file["data/current"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/data/current")
    with pytest.raises(DataError, match="no dataset 'current'"):
        load_shepherd(path)
    with pytest.raises(DataError, match=r"none\.h5"):
        load_shepherd(tmp_path / "none.h5")


@settings(max_examples=60, deadline=None)
@given(where=st.integers(0, 10_000), value=st.integers(0, 255), key=st.sampled_from(["time", "voltage", None]))
def test_damaged_data_and_cut_files_end_in_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, where: int, value: int, key: str | None
) -> None:
    # only the samples are damaged: libhdf5 itself may hang on damaged metadata, which nothing here can prevent
    folder = tmp_path_factory.getbasetemp()
    path = folder / "whole.h5"
    if not path.exists():
        record(path, np.arange(40, dtype=np.uint64) * 10**8, np.full(40, 2000), np.arange(40))
    raw = bytearray(path.read_bytes())
    if key is None:
        raw = raw[: where % len(raw)]
    else:
        with h5py.File(path) as file:
            chunk = file["data"][key].id.get_chunk_info(0)
        raw[chunk.byte_offset + where % chunk.size] = value
    (folder / "damaged.h5").write_bytes(raw)
    try:
        harvester = load_shepherd(folder / "damaged.h5")
    except JouletError:
        return
    assert np.all(segments(harvester, 3.0)[1] >= 0.0)


@pytest.mark.parametrize("module", ["h5py", "pvlib"])
def test_names_the_extra_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "r.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    source, extra = (tmp_path / "r.h5", "shepherd") if module == "h5py" else ("solar:file=x.csv,area=1cm2", "solar")
    with pytest.raises(MissingDependencyError, match=rf"pip install joulet\[{extra}\]"):
        load_harvester(source)


FLAT = Panel(area_m2=1e-4, efficiency=0.15, temperature_coefficient_per_k=0.0)


def test_a_clear_day_on_the_equator_has_its_noon_in_the_middle() -> None:
    day = clear_sky(FLAT, Place(0.0, 45.0), "2024-03-20", step_s=600.0)
    powers = segments(day, 86400.0)[1]
    assert len(powers) == 144
    assert abs(int(np.argmax(powers)) - 72) <= 2
    assert 0.8e-3 * 15 < powers.max() < 1.1e-3 * 15
    assert not powers[:30].any()
    assert not powers[-30:].any()
    hot = clear_sky(Panel(area_m2=1e-4), Place(0.0, 45.0), "2024-03-20", step_s=600.0)
    irradiance = powers.max() / 1e-4 / 0.15
    cell_c = 20.0 + 25.0 / 800.0 * irradiance
    assert segments(hot, 86400.0)[1].max() == pytest.approx(powers.max() * (1.0 - 0.004 * (cell_c - 25.0)), rel=1e-9)


def test_a_panel_that_faces_the_winter_sun_gets_more_than_a_flat_one() -> None:
    tilted = Panel(area_m2=1e-4, tilt_deg=60.0)
    flat, south, north = (
        clear_sky(panel, Place(50.0, 10.0), "2024-12-21", step_s=1800.0).mean_w
        for panel in (Panel(area_m2=1e-4), tilted, Panel(area_m2=1e-4, tilt_deg=60.0, azimuth_deg=0.0))
    )
    assert north < flat < south


def test_recorded_irradiance(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text("time,ghi\n0,0\n60,500\n120,1000\n180,-3\n")
    harvester = load_irradiance(path, FLAT)
    assert [harvester.segment(t)[0] for t in (0.0, 60.0, 120.0, 180.0)] == pytest.approx([0.0, 7.5e-3, 15e-3, 0.0])
    path.write_text("time,ghi\n2024-06-21T12:00:00+00:00,800\n2024-06-21T12:01:00+00:00,820\n")
    assert load_irradiance(path, FLAT).segment(61.0)[0] == pytest.approx(820 * 1.5e-5)
    tilted = Panel(area_m2=1e-4, tilt_deg=30.0)
    assert load_irradiance(path, tilted, Place(50.0, 0.0)).mean_w > load_irradiance(path, Panel(area_m2=1e-4)).mean_w
    with pytest.raises(UsageError, match="tilted"):
        load_irradiance(path, tilted)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "begins with"),
        ("time_s,power_w\n0,1\n1,1\n", "begins with"),
        ("time,ghi\n0,1\n", "two rows"),
        ("time,ghi\n0,1\n1\n", "line 3"),
        ("time,ghi\n0,1\n1,nan\n", "row 2 holds nan"),
        ("time,ghi\n0,1\n1,-500\n", "row 2 holds -500"),
        ("time,ghi\n0,1\n1,x\n", "no time and number"),
        ("time,ghi\nyesterday,1\ntoday,1\n", "g.csv"),
        ("time,ghi\n5,1\n4,1\n", "does not rise"),
    ],
)
def test_refuses_irradiance_that_is_none(tmp_path: Path, content: str, word: str) -> None:
    path = tmp_path / "g.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=word):
        load_irradiance(path, FLAT)


def test_specs(tmp_path: Path) -> None:
    assert load_harvester("constant:100uW", scale=3.0).mean_w == pytest.approx(3e-4)
    chain = load_harvester("markov:levels=0W/1mW/2mW,stay=0.5,step=1s,duration=1min,seed=3", loop=True)
    assert (chain.span_s, chain.duration_s) == (60.0, math.inf)
    rows = load_harvester("markov:levels=0W/1mW,transition=0/1:1/0,step=1s,duration=4s,seed=3,start=1")
    assert segments(rows, 4.0)[1].tolist() == [1e-3, 0.0, 1e-3, 0.0]
    sun = load_harvester("solar:lat=0,lon=0,date=2024-03-20,days=2,area=1cm2,step=30min,efficiency=0.2")
    assert sun.span_s == 2 * 86400.0
    (tmp_path / "g.csv").write_text("time,ghi\n0,100\n60,200\n")
    assert load_harvester(f"solar:file={tmp_path / 'g.csv'},area=2cm2,tempco=0").mean_w == pytest.approx(150 * 3e-5)
    (tmp_path / "odd.name").write_text("time_s,power_w\n0,1\n1,2\n")
    assert load_harvester(tmp_path / "odd.name").segment(1.5) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("constant:5V", "constant"),
        ("constant:-1mW", "constant"),
        ("markov:levels=0W/1mW,stay=0.5,step=1s,duration=1min", "lacks seed="),
        ("markov:levels=0W/1mW,stay=2,step=1s,duration=1min,seed=1", "stay"),
        ("markov:levels=0W/1mW,transition=a/b,step=1s,duration=1min,seed=1", "transition"),
        ("markov:levels=0W/1mW,stay=0.5,step=1s,duration=1min,seed=1.5", "seed is 1.5"),
        ("markov:levels=0W/1mW,stay=0.5,step=1s,duration=1min,seed=1,colour=red", "does not know colour"),
        ("markov:levels", "no key=value"),
        ("solar:lat=0,lon=0,date=2024-03-20,area=1acre", "area"),
        ("solar:lat=95,lon=0,date=2024-03-20,area=1cm2", "nowhere"),
        ("solar:lat=0,lon=0,date=soon,area=1cm2", "no date"),
        ("solar:lat=0,lon=0,date=2024-03-20,days=0,area=1cm2", "a day or more"),
        ("solar:lat=x,lon=0,date=2024-03-20,area=1cm2", "lat is 'x'"),
        ("solar:lat=0,lon=0,date=2024-03-20,area=1cm2,efficiency=0", "efficiency"),
    ],
)
def test_refuses_malformed_specs(spec: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        load_harvester(spec)


def test_refuses_a_path_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"nothing\.csv.*constant:1mW"):
        load_harvester("nothing.csv")
    with pytest.raises(DataError, match="scale"):
        load_harvester("constant:1mW", scale=math.nan)
