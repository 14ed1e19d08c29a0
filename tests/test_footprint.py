# SPDX-License-Identifier: Apache-2.0
"""Carbon and water of an inference, by hand; factors and their sources; provenances that do not mix."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_report import make_run

from joulet.errors import DataError, UsageError
from joulet.footprint import GRID, Factor, Factors, Item, footprint, together
from joulet.profile.figures import Interval, Profile, Row, Sync
from joulet.report.archive import save
from joulet.tools.footprint import parse_factor
from joulet.tools.main import main

ITEM = Item(
    source="m.json", what="w8 to final", kind="measured", provenance="measured: by hand", energy_j=3.6e-3, low_j=3.5e-3,
    high_j=3.7e-3, latency_s=0.5,
)  # fmt: skip


def given(value: float) -> Factor:
    return Factor(value=value, unit="", source="by hand")


def test_operation_by_hand() -> None:
    found = footprint(ITEM, Factors(grid=given(500.0), water=given(2.0), efficiency=given(0.8)))
    # 3.6 mJ at the board are 1.25 nWh·1000 at the wall
    assert found.operational_g == pytest.approx(1.25e-9 * 500.0)
    assert found.operational_l == pytest.approx(1.25e-9 * 2.0)
    assert found.operational_g_interval == pytest.approx(
        (found.operational_g * 3.5 / 3.6, found.operational_g * 3.7 / 3.6)
    )
    assert (found.embodied_g, found.embodied_l, found.inferences) == (None, None, None)
    assert found.total_g == found.operational_g


def test_making_is_spread_over_a_life() -> None:
    life = {"embodied": given(1000.0), "embodied_water": given(50.0), "lifetime": given(1000 * 86400.0)}
    found = footprint(ITEM, Factors(**life, per_day=given(100.0)))
    assert found.inferences == pytest.approx(1e5)
    assert found.embodied_g == pytest.approx(1e-2)
    assert found.embodied_l == pytest.approx(5e-4)
    assert found.total_g == pytest.approx(1e-2 + found.operational_g)
    # 1 % of the time, half a second each
    assert footprint(ITEM, Factors(**life, duty=given(0.01))).inferences == pytest.approx(1000 * 86400.0 * 0.01 / 0.5)
    with pytest.raises(DataError, match="give --per-day, not --duty"):
        footprint(replace(ITEM, latency_s=None), Factors(**life, duty=given(0.01)))
    with pytest.raises(UsageError, match="exclude each other"):
        Factors(**life, duty=given(0.01), per_day=given(1.0))
    with pytest.raises(UsageError, match="--lifetime, and --per-day or --duty"):
        Factors(embodied=given(1.0), lifetime=given(1.0))


def test_what_has_two_provenances_is_summed_only_when_asked_and_says_so() -> None:
    other = replace(ITEM, source="n.json", energy_j=1e-3, low_j=0.9e-3, high_j=1.1e-3, provenance="measured: again")
    both = together([ITEM, other])
    assert (both.energy_j, both.low_j, both.high_j) == pytest.approx((4.6e-3, 4.4e-3, 4.8e-3))
    assert (both.kind, both.latency_s) == ("measured", 1.0)
    assert both.provenance == "measured: by hand; measured: again"
    simulated = replace(other, kind="simulated", provenance="simulated: a PPK2")
    with pytest.raises(UsageError, match="measured and simulated energies, which are not summed unasked"):
        together([ITEM, simulated])
    mixed = together([ITEM, simulated], mix=True)
    assert mixed.kind == "measured + simulated"
    with pytest.raises(UsageError, match="measured and simulated"):
        together([mixed, ITEM])  # a sum of two stays one of two


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("grid", "56 gCO2e/kWh; RTE, France 2023", 56.0),
        ("grid", "0.4kgCO2e/kWh", 400.0),
        ("grid", "0 gCO2e/kWh;a panel on the roof", 0.0),
        ("embodied", "1.9kgCO2e;LCA", 1900.0),
        ("embodied-water", "2m3;LCA", 2000.0),
        ("lifetime", "5y", 5 * 365.25 * 86400.0),
        ("supply-efficiency", "85%", 0.85),
        ("duty", "0.5", 0.5),
        ("per-day", "1e4", 1e4),
        ("water", "1800mL/kWh", 1.8),
    ],
)
def test_factors_have_units_and_sources(name: str, text: str, value: float) -> None:
    found = parse_factor(name, text)
    assert found is not None
    assert found.value == pytest.approx(value)
    assert found.source == (text.partition(";")[2].strip() or "given on the command line, no source stated")


@pytest.mark.parametrize(
    ("name", "text"),
    [("grid", "56"), ("grid", "x g/kWh"), ("grid", "-5gCO2e/kWh"), ("duty", "150%"), ("duty", "0"), ("lifetime", "0y"),
     ("embodied", "1.9kWh"), ("supply-efficiency", "0%"), ("grid", ";source"), ("per-day", "1e999")],
)  # fmt: skip
def test_wrong_factors_are_one_line(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"--{name}"):
        parse_factor(name, text)


def profile(provenance: str, energy_j: float = 3.6e-3) -> Profile:
    energy = Interval(mean=energy_j, low=0.9 * energy_j, high=1.1 * energy_j)
    rows = tuple(
        Row(
            path="w8", exit=name, n=5, excluded=0, energy_j=energy, latency_s=Interval(mean=0.1, low=0.1, high=0.1),
            power_w=energy_j / 0.1,
        )
        for name in ("exit0", "final")
    )  # fmt: skip
    return Profile(
        model="m.jlt", model_hash="h", engine="e", meter="x", provenance=provenance,
        sync=Sync(method="markers", error_s=1e-5, detail=""), inside="", idle_w=None, coverage=1.0, rows=rows,
    )  # fmt: skip


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    profile("measured: a PPK2").save(a)
    profile("simulated: a PPK2 at a virtual board", 1e-3).save(b)
    out, rows = tmp_path / "f.json", tmp_path / "f.csv"
    words = [
        "--embodied",
        "1.9kgCO2e;LCA",
        "--lifetime",
        "5y",
        "--per-day",
        "86400",
        "--csv",
        str(rows),
        "--out",
        str(out),
    ]
    assert main(["footprint", str(a), str(b), *words, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table == json.loads(out.read_text())
    assert [row["item"]["kind"] for row in table["rows"]] == ["measured"] * 2 + ["simulated"] * 2
    first = table["rows"][0]
    assert first["operational_g"] == pytest.approx(1e-9 * GRID.value)
    assert first["embodied_g"] == pytest.approx(1900.0 / (5 * 365.25 * 86400))
    assert table["factors"]["grid"]["source"].startswith("world's mean")
    lines = list(csv.DictReader(rows.read_text().splitlines()))
    assert len(lines) == 4
    assert float(lines[0]["operational_gco2e"]) == pytest.approx(first["operational_g"])
    assert lines[0]["embodied_l"] == ""
    pick = ["--path", "w8", "--exit", "final", "--sum"]
    assert main(["footprint", str(a), str(b), *pick]) == 2
    assert "measured and simulated energies" in capsys.readouterr().err
    assert main(["footprint", str(a), str(b), *pick, "--mix-provenances"]) == 0
    text = capsys.readouterr().out
    assert "measured + simulated" in text
    assert "4.6 mJ" in text
    assert "481 gCO2e/kWh (world's mean" in text
    assert "making the device is not in the carbon" in text
    assert main(["footprint", str(a), "--sum"]) == 2
    assert "has 2 rows" in capsys.readouterr().err
    assert main(["footprint", str(a), "--exit", "nowhere"]) == 2
    assert "it has w8 to exit0, w8 to final" in capsys.readouterr().err
    assert main(["footprint", str(tmp_path / "none.json")]) == 2


def test_a_run_is_modelled_and_has_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = make_run()
    save(tmp_path / "run.json.gz", record)
    assert main(["footprint", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    spent_pj = sum(record.ledger.spent_pj.values()) - record.ledger.spent_pj["clipped"]
    assert row["item"]["energy_j"] == pytest.approx(1e-12 * spent_pj / record.summary.served)
    assert (row["item"]["kind"], row["item"]["low_j"]) == ("modelled", None)
    assert main(["footprint", str(tmp_path)]) == 0
    assert "unknown" in capsys.readouterr().out
