# SPDX-License-Identifier: Apache-2.0
"""Traces: what a sample means, gaps, loops, and one clear line for every bad file."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from joulet.energy.converter import ConstantConverter, TableConverter
from joulet.energy.trace import load_trace
from joulet.errors import DataError, UsageError
from joulet.units import format_quantity, format_time, parse_quantity


def write(tmp_path: Path, rows: str, header: str = "time_s,power_w\n") -> Path:
    path = tmp_path / "t.csv"
    path.write_text(header + rows)
    return path


def test_a_sample_holds_until_the_next_one(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, "10,1\n11,2\n12,4\n"), scale=0.5)
    assert [trace.segment(t) for t in (0.0, 0.5, 1.0, 2.5)] == [(0.5, 1.0), (0.5, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert trace.duration_s == 3.0
    assert trace.segment(3.0) == (0.0, math.inf)
    assert trace.mean_w == pytest.approx(3.5 / 3)


def test_a_gap_gives_nothing(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, "0,1\n1,1\n2,1\n20,1\n21,1\n"))
    assert trace.n_gaps == 1
    assert trace.segment(2.0) == (1.0, 3.0)
    assert trace.segment(5.0) == (0.0, 20.0)


def test_loops_and_time_always_moves_on(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, "0,1\n0.1,2\n0.2,3\n"), loop=True)
    assert trace.duration_s == math.inf
    now_s, seen = 0.0, []
    for _ in range(60):
        power_w, end_s = trace.segment(now_s)
        assert end_s > now_s
        if end_s - now_s > 1e-6:
            seen.append(power_w)
        now_s = end_s
    assert seen == [1.0, 2.0, 3.0] * (len(seen) // 3) + [1.0, 2.0, 3.0][: len(seen) % 3]


def test_reads_gzip(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"time_s,power_w\n0,1\n1,2\n"))
    assert load_trace(path).segment(1.5) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "no rows"),
        ("0,1\n", "two or more"),
        ("0,1\n1,nan\n", "line 3: power_w is nan"),
        ("0,1\n1,inf\n", "line 3: power_w is inf"),
        ("0,1\n1,-2\n", "line 3: power_w is -2"),
        ("0,1\n1,1\n1,2\n", "line 4: time_s 1"),
        ("0,1\n1,x\n", "line 3 is '1,x'"),
        ("0,1\n1,2,3\n", "line 3 is '1,2,3'"),
        ("0,1\nnan,2\n", "line 3: time_s is nan"),
    ],
)
def test_names_file_and_line(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=f"t.csv.*{message}"):
        load_trace(write(tmp_path, rows))


def test_refuses_what_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="begins with 'time_s,power_w'"):
        load_trace(write(tmp_path, "1,2\n", header="a,b\n"))
    with pytest.raises(DataError, match=r"missing\.csv"):
        load_trace(tmp_path / "missing.csv")
    broken = tmp_path / "b.csv.gz"
    broken.write_bytes(gzip.compress(b"time_s,power_w\n0,1\n1,2\n")[:-9])
    with pytest.raises(DataError, match=r"b\.csv\.gz"):
        load_trace(broken)


def test_converters() -> None:
    assert ConstantConverter(0.8, quiescent_w=1e-6).output_w(1e-3) == pytest.approx(0.8e-3 - 1e-6)
    table = TableConverter([1e-4, 1e-3], [0.5, 0.9])
    assert table.output_w(5.5e-4) == pytest.approx(0.7 * 5.5e-4)
    assert table.output_w(1e-5) == pytest.approx(0.5e-5)
    assert table.output_w(1e-2) == pytest.approx(0.9e-2)
    for arguments in (([1e-3], [0.5, 0.6]), ([2.0, 1.0], [0.5, 0.6]), ([1.0], [1.2]), ([], [])):
        with pytest.raises(UsageError):
            TableConverter(*arguments)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("4.7mF", "F", 4.7e-3), ("50 ms", "s", 0.05), ("2min", "s", 120.0), ("1d", "s", 86400.0), ("3", "V", 3.0),
     ("10µW", "W", 1e-5), ("1Mohm", "ohm", 1e6), (".5J", "J", 0.5), ("1e-3F", "F", 1e-3)],
)  # fmt: skip
def test_parses_quantities(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "mF", "4.7mV", "-1F", "0F", "nanF", "1e999F", "4,7mF", "1 m F"])
def test_refuses_bad_quantities(text: str) -> None:
    with pytest.raises(UsageError, match="--capacitor"):
        parse_quantity(text, "F", what="--capacitor")


def test_formats_quantities() -> None:
    assert format_quantity(1.4306e-3, "J") == "1.43 mJ"
    assert format_quantity(0.99999, "V") == "1 V"
    assert format_quantity(0.0, "W") == "0 W"
    assert format_time(90.0) == "1 min 30 s"
    assert format_time(0.0432) == "43.2 ms"
    assert format_time(97200.0) == "1 d 3 h"
