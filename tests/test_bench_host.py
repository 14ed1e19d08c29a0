# SPDX-License-Identifier: Apache-2.0
"""``joulet bench`` on the host: against LiteRT in one process, op by op, and the core's peak."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulet._core import lib
from joulet.container import layout
from joulet.tools.bench_host import peak_gmac_per_s
from joulet.tools.main import main


@pytest.fixture
def compiled(models: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A container and the model that it comes from."""
    source, to = models / "residual_int8.tflite", tmp_path / "model.jlt"
    assert main(["compile", str(source), "-o", str(to), "--exits", "off"]) == 0
    return to, source


def test_against_litert_and_op_by_op(compiled: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert")
    container, source = compiled
    capsys.readouterr()
    assert main(["bench", str(container), "--against", "litert", "--tflite", str(source), "--ops", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {row["path"]: row for row in result["against"]["rows"]}
    assert result["ratio_to_litert"] == rows[result["path"]]["ratio_to_litert"] > 0
    assert result["time_s"] == pytest.approx(result["ratio_to_litert"] * result["against"]["litert_s"])
    assert result["gmac_per_s"] == pytest.approx(result["macs"] / result["time_s"] * 1e-9)
    assert sum(row["macs"] for row in result["ops"]) == result["macs"]
    assert all(row["time_s"] > 0 for row in result["ops"])


@pytest.mark.parametrize(
    "flags", [["--against", "litert"], ["--tflite", "x.tflite"], ["--ops", "--engine", "virtual:virtual_m4"]]
)
def test_what_makes_no_sense_is_refused(compiled: tuple[Path, Path], flags: list[str]) -> None:
    assert main(["bench", str(compiled[0]), *flags]) == 2


def test_another_model_is_refused(compiled: tuple[Path, Path], models: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    other = next(path for path in sorted(models.glob("*int8.tflite")) if path != compiled[1])
    assert main(["bench", str(compiled[0]), "--against", "litert", "--tflite", str(other)]) in (1, 2)


@pytest.mark.parametrize("isa", ["AVX2", "AVX512VNNI", "NEON"])
def test_the_peak_is_a_rate_where_the_instructions_are(isa: str) -> None:
    peak = peak_gmac_per_s(isa)
    assert (peak is not None and 0.1 < peak < 10_000) == bool(lib.jlt_host_runs(layout.CODES["Isa"][isa]))
