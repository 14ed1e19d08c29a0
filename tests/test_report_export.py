# SPDX-License-Identifier: Apache-2.0
"""Simulation records as files: CSV and JSON hold every figure, JSON reads back, figures are made where they can be."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import sys
from pathlib import Path

import pytest
from report_fakes import block_list, make_price_map, make_record, make_study

from joulet.errors import DataError, MissingDependencyError
from joulet.records import SimulationRecord
from joulet.report import (
    comparison_csv,
    comparison_from_json,
    comparison_json,
    figures,
    read_comparison,
    write_comparison,
)

ALL = {"comparison.html", "comparison.csv", "comparison.json", "comparison.png", "energy.png", "front.png"}


def small() -> list[SimulationRecord]:
    return make_study(days=3, stores=(1.0, 20.0), arrivals=("periodic:6min",), models=("kws",))


def test_json_objects_have_exactly_the_fields() -> None:
    (found,) = json.loads(comparison_json([make_record()]))
    assert list(found) == [field.name for field in dataclasses.fields(SimulationRecord)]
    assert found["blocks"][0] == {"arrived": 200, "correct": 100, "expected": 100.0}


def test_records_survive_their_json() -> None:
    records = [make_record(), make_record("fixed", harvest_ratio=None, latency_p50_s=None, mean_bits=None)]
    assert comparison_from_json(comparison_json(records)) == records


def test_whole_numbers_come_back_as_floats() -> None:
    text = comparison_json([make_record()]).replace('"store_inferences":20.0', '"store_inferences":20')
    assert isinstance(comparison_from_json(text)[0].store_inferences, float)


@pytest.mark.parametrize("change", [{"time_off": float("nan")}, {"energy_nj": {"compute": float("inf")}}])
def test_what_is_not_finite_is_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"record 1 \(shadow on denver\): (time_off|energy_nj.compute)"):
        comparison_json([make_record(), make_record(**change)])


@pytest.mark.parametrize("damage", ["", "{}", "[{}]", "[1]", '[{"score":NaN}]', "[" * 100_000])
def test_a_file_that_is_no_comparison_is_named(damage: str) -> None:
    with pytest.raises(DataError, match="x:"):
        comparison_from_json(damage, name="x")


@pytest.mark.parametrize(
    ("old", "new"), [('"cut":1', '"cut":"many"'), ('"cut":1,', ""), ('"cut":1', '"cut":1,"odd":2')]
)
def test_a_damaged_record_is_counted(old: str, new: str) -> None:
    with pytest.raises(DataError, match="comparison: record 0 is damaged"):
        comparison_from_json(comparison_json([make_record()]).replace(old, new))


def test_csv_is_flat_and_complete() -> None:
    records = [make_record(), make_record("fixed", mean_bits=None, exits_taken=(1, 2))]
    rows = list(csv.DictReader(io.StringIO(comparison_csv(records))))
    assert rows[0]["energy_nj.compute"] == "1000000.0"
    assert rows[0]["exits_taken.2"] == "100"
    assert rows[0]["n_blocks"] == "2"
    assert rows[0]["provenance.compute"] == "modelled: test"
    assert (rows[1]["policy"], rows[1]["mean_bits"], rows[1]["exits_taken.2"]) == ("fixed", "", "")
    names = {name.partition(".")[0].removeprefix("n_") for name in rows[0]}
    assert names == {field.name for field in dataclasses.fields(SimulationRecord)}


def test_names_with_commas_and_quotes_stay_in_their_column() -> None:
    (row,) = csv.DictReader(io.StringIO(comparison_csv([make_record('a,"b"\nc')])))
    assert row["policy"] == 'a,"b"\nc'


def test_everything_is_written_and_read_back(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    records = small()
    written = write_comparison(tmp_path / "out", records, title="t", price_maps=[make_price_map(n_t=6, n_e=8)])
    assert written.left_out == ()
    assert (
        {path.name for path in written.files}
        == ALL | {"price_map.png"}
        == {p.name for p in (tmp_path / "out").iterdir()}
    )
    assert read_comparison(tmp_path / "out" / "comparison.json") == records
    for path in written.files:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_comparison(tmp_path / name, small(), title="t").files for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_gzipped_comparison_is_read(tmp_path: Path) -> None:
    path = tmp_path / "comparison.json.gz"
    path.write_bytes(gzip.compress(comparison_json([make_record()]).encode()))
    assert read_comparison(path) == [make_record()]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"comparison\.json\.gz"):
        read_comparison(path)


def test_without_matplotlib_it_says_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install joulet\[report\]"):
        figures([make_record()])
    written = write_comparison(tmp_path, [make_record()], title="t")
    assert {path.suffix for path in written.files} == {".html", ".csv", ".json"}
    assert "figures as PNG" in written.left_out[0]
    assert "pip install joulet[report]" in written.left_out[0]


def test_nothing_is_written_if_one_part_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="finite"):
        write_comparison(tmp_path / "out", [make_record(residual=float("nan"))], title="t")
    assert not (tmp_path / "out").exists()


def test_figures_take_odd_studies() -> None:
    pytest.importorskip("matplotlib")
    plain = {"oracle_energy_score": None, "oracle_all_score": None, "pct_of_oracle_energy": None, "harvest_ratio": None}
    odd = [make_record("_$\\x$" * 12, **plain), make_record("b", **plain, energy_nj={})]
    nothing = make_record(
        arrived=0, correct_on_time=0, score=0.0, blocks=block_list((0, 0)), energy_nj={"harvested": 0.0}, **plain
    )
    assert set(figures(odd)) == set(figures([nothing])) == {"comparison.png", "energy.png", "front.png"}
