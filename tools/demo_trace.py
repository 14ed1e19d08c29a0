# SPDX-License-Identifier: Apache-2.0
"""Makes the demo's harvesting trace ``trace.csv.gz`` from a day of measured sunlight.

Run it as ``python -m joulet.tools.demo_trace midc_20181014.txt --out DIR``. The source file lies in ``pvlib/data`` of
pvlib's source distribution (0.11.2): global irradiance of one day, one row a minute.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import sys
from pathlib import Path

from joulet.errors import DataError

AREA_M2 = 1e-4
EFFICIENCY = 0.15
COLUMN = "Global PSP [W/m^2]"
MINUTES = 24 * 60


def irradiance_w_m2(path: Path) -> list[float]:
    """Return the day's irradiance [W/m²], one value a minute; the small negative values of the night become 0."""
    with path.open(newline="") as file:
        values = [max(float(row[COLUMN]), 0.0) for row in csv.DictReader(file)]
    if len(values) != MINUTES:
        raise DataError(f"{path.name}: has {len(values)} rows instead of {MINUTES}; give the file pvlib distributes")
    return values


def trace_bytes(values: list[float]) -> bytes:
    """Return the gzipped CSV ``time_s,power_w`` of a 1 cm² cell of 15 %; the same input gives the same bytes."""
    lines = ["time_s,power_w"]
    lines += [f"{minute * 60},{value * AREA_M2 * EFFICIENCY:.4g}" for minute, value in enumerate(values)]
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return packed.getvalue()


def main() -> int:
    """Convert and write."""
    parser = argparse.ArgumentParser(description="Make the demo's harvesting trace from pvlib's midc_20181014.txt.")
    parser.add_argument("source", type=Path, help="midc_20181014.txt of pvlib's source distribution")
    parser.add_argument("--out", type=Path, default=Path("runtime/demo"), help="folder to write to")
    args = parser.parse_args()
    (args.out / "trace.csv.gz").write_bytes(trace_bytes(irradiance_w_m2(args.source)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
