# SPDX-License-Identifier: Apache-2.0
"""I-V curves: the maximum power point by hand, and files that are none."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from joulet.energy.iv_curve import curve_names, load_iv_curve, maximum_power_w
from joulet.errors import DataError

FOLDER = "Harvesters/harvesting_data/IVCurves/"
REAL = Path(__file__).resolve().parents[2] / "shared/data/energy_traces/harvester_components_ivcurves_bq25570.zip"


def archive(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, content in files.items():
            out.writestr(f"{FOLDER}{name}.json", content)
    return path


def test_the_maximum_lies_where_the_parabola_peaks() -> None:
    # a source of 2 V and 1 ohm: 1 W at 1 V, between the points
    assert maximum_power_w(np.array([[0.0, 2.0], [2.0, 0.0]])) == pytest.approx(1.0)
    # a corner: 3 V · 1 A at the point itself
    assert maximum_power_w(np.array([[0.0, 1.0], [3.0, 1.0], [3.1, 0.0]])) == pytest.approx(3.0)
    assert maximum_power_w(np.array([[0.0, 0.0], [1.0, -1.0]])) == 0.0


def test_reads_a_curve(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", X_lux300=json.dumps({"0": {"1.0": 0, "0.5": -0.002}}), X_lux100="{}")
    assert curve_names(path) == {"X": (100, 300)}
    assert load_iv_curve(path, "X", 300).tolist() == [[0.5, 0.002], [1.0, 0.0]]
    with pytest.raises(DataError, match=r"'Y' at 300 lx; there are: \{'X'"):
        load_iv_curve(path, "Y", 300)


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "3",
        "{",
        '{"0": 5}',
        '{"0": {"a": 1}}',
        '{"0": {"1": NaN, "2": 0}}',
        '{"0": {"1": 0}}',
        '{"0": {"1.0": 0, "1": 0}}',
        f'{{"0": {{"1": {"9" * 400}, "2": 0}}}}',
    ],
)
def test_refuses_curves_that_are_none(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match="X_lux300"):
        load_iv_curve(archive(tmp_path / "a.zip", X_lux300=content), "X", 300)
    (tmp_path / "b.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"b\.zip"):
        curve_names(tmp_path / "b.zip")


@pytest.mark.skipif(not REAL.is_file(), reason="no measured component data beside the checkout (shared/data)")
def test_more_light_gives_more_power() -> None:
    for part, levels in curve_names(REAL).items():
        powers_w = [maximum_power_w(load_iv_curve(REAL, part, lux)) for lux in levels]
        assert powers_w == sorted(powers_w), part
        assert 1e-6 < powers_w[0] < powers_w[-1] < 1.0
