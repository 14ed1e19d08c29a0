# SPDX-License-Identifier: Apache-2.0
"""The BQ25570 as a banded converter, and the reader of its measured tables under hostile bytes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulet.energy.bq25570 import COLD_START_BELOW_V, bq25570, load_buck_tables, load_quiescent_a
from joulet.errors import DataError, JouletError

MEMBER = "Converters/converter_data/BQ25570/buckConverterData_vout=1.8.npy"
REAL = Path(__file__).resolve().parents[2] / "shared/data/energy_traces/harvester_components_ivcurves_bq25570.zip"


def npy(array: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def archive(content: bytes, member: str = MEMBER) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(member, content)
    return buffer.getvalue()


ROWS = np.array(
    [[2.001, 1e-5, 0.5], [1.999, 1e-3, 0.9], [2.5, 1e-5, 1.27], [2.502, 1e-3, 0.8], [2.5, 1e-2, 0.85], [3.0, 1e-5, 0.0],
     [3.0, 1e-3, 0.7]]
)  # fmt: skip


def test_figures_of_the_datasheet() -> None:
    converter = bq25570()
    assert converter.band_edges_v[0] == COLD_START_BELOW_V
    assert converter.output_w(14e-6, 1.0) < 0.0
    assert 0.0 < converter.output_w(1e-4, 1.0) < 0.1 * 1e-4
    assert 0.8 * 1e-3 < converter.output_w(1e-3, 3.0) < 0.95 * 1e-3
    assert converter.output_w(4e-6, 2.1) == pytest.approx(-488e-9 * 2.1, rel=0.05)
    assert all(converter.draw_w(1e-3, v) > 1e-3 for v in (2.0, 2.5, 4.0))
    assert bq25570(buck=None).draw_w(1e-3, 3.0) == 1e-3
    assert "datasheet: " in converter.provenance
    assert "modelled: " in converter.provenance


def test_measured_rows_become_bands_and_artefacts_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "parts.zip"
    path.write_bytes(archive(npy(ROWS)))
    stage = load_buck_tables(path, 1.8)
    assert [band.from_v for band in stage] == [0.0, 2.25, 2.75]
    assert stage[0].table.power_w == pytest.approx((1.8e-5, 1.8e-3))
    assert stage[1].table.efficiency == (0.8, 0.85)
    assert stage[2].table.efficiency == (0.7,)
    converter = bq25570(buck=stage)
    assert converter.draw_w(1.8e-3, 2.1) == pytest.approx(1.8e-3 / 0.9)
    assert converter.draw_w(1.8e-3, 3.3) == pytest.approx(1.8e-3 / 0.7)
    assert "measured" in converter.provenance


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (npy(np.zeros((3, 2))), "3 columns"),
        (npy(np.zeros((0, 3))), "3 columns"),
        (npy(np.full((2, 3), np.nan)), "efficiency in 0..1"),
        (npy(np.array([[None, 1, 2]], object), allow_pickle=True), "cannot be read"),
        (npy(ROWS)[:-5], "cannot be read"),
        (b"PK", "cannot be read"),
        (b"", "cannot be read"),
        (bytes(2 << 20), "larger than"),
    ],
)
def test_refuses_tables_that_are_none(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "parts.zip"
    path.write_bytes(archive(content))
    with pytest.raises(DataError, match=word):
        load_buck_tables(path, 1.8)


def test_names_what_an_archive_holds(tmp_path: Path) -> None:
    path = tmp_path / "parts.zip"
    path.write_bytes(archive(npy(ROWS)))
    with pytest.raises(DataError, match=r"vout=3\.3.*there are: buckConverterData_vout=1\.8"):
        load_buck_tables(path, 3.3)
    with pytest.raises(DataError, match=r"none\.zip"):
        load_buck_tables(tmp_path / "none.zip", 1.8)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read"):
        load_quiescent_a(path)


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, 10_000), value=st.integers(0, 255), inner=st.booleans())
def test_damaged_bytes_never_pass_as_anything_else(
    tmp_path_factory: pytest.TempPathFactory, where: int, value: int, inner: bool
) -> None:
    raw = bytearray(npy(ROWS) if inner else archive(npy(ROWS)))
    raw[where % len(raw)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(archive(bytes(raw)) if inner else bytes(raw))
    try:
        stage = load_buck_tables(path, 1.8)
    except JouletError:
        return
    assert all(0.0 < e <= 1.0 for band in stage for e in band.table.efficiency)


@pytest.mark.skipif(not REAL.is_file(), reason="no measured component data beside the checkout (shared/data)")
def test_the_published_tables() -> None:
    for vout_v in (1.8, 2.0, 2.2, 2.4, 3.0, 3.3):
        stage = load_buck_tables(REAL, vout_v)
        assert len(stage) == 13
        draw_w = bq25570(buck=stage).draw_w(5e-3, 4.0)
        assert 5e-3 / 0.95 < draw_w < 5e-3 / 0.85
    measured = load_quiescent_a(REAL)
    assert 4e-7 < measured[0, 1] < 8e-7
