# SPDX-License-Identifier: Apache-2.0
"""How well harvest can be forecast: each predictor's error on recorded sun, tuned on the first half and judged on the rest.

* MAPE: mean of |error| / power over slots of at least 10 % of the peak, one slot ahead;
* nMAE: sum of |error| / sum of power, one slot ahead;
* 6 h: nMAE of the mean power of the next six hours;
* kept: share of the slots counted by MAPE that gave at least what the 20 % quantile of the best predictor promised (0.8 is right).

    python tests/studies/predictors.py --shared ../shared [--slots 48] [--json]
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import numpy as np

from joulet.policies.predictors import DayOfYear, Ewma, Persistence, Predictor, ProEnergy, Quantile, Wcma

TRACES = {"nrel_ehmodel_2015": 1, "nrel_golden_2018sep": 244, "nrel_golden_2023jan": 1}  # first day of the year
GOLDEN_DEG = 39.74
MINUTES = 1440

Grid = Mapping[str, tuple[object, ...]]


def candidates(day: int) -> dict[str, tuple[Callable[..., Predictor], Grid]]:
    """Return each predictor and the values tried for its parameters."""
    return {
        "persistence": (lambda n_slots: Persistence(), {}),
        "ewma": (Ewma, {"keep": (0.3, 0.5, 0.7, 0.9)}),
        "wcma": (
            Wcma,
            {"alpha": (0.1, 0.2, 0.3), "days": (10, 20), "window": (1, 3), "fade": (1.0, 0.95, 0.9)},
        ),
        "pro-energy": (ProEnergy, {"gamma": (0.3, 0.5, 0.7), "days": (10, 20), "window": (2, 4, 8)}),
        "day-of-year": (
            lambda n_slots, keep: DayOfYear(n_slots, GOLDEN_DEG, day, keep),
            {"keep": (0.3, 0.5, 0.7, 0.9)},
        ),
    }  # fmt: skip


def read_slots(path: Path, n_slots: int) -> np.ndarray:
    """Return the mean power of each slot of the whole days of a trace of minutes [W]."""
    with gzip.open(path, "rt") as file:
        power_w = np.loadtxt(file, delimiter=",", skiprows=1)[:, 1]
    days = len(power_w) // MINUTES
    return power_w[: days * MINUTES].reshape(days * n_slots, MINUTES // n_slots).mean(axis=1)


def forecasts(predictor: Predictor, power_w: np.ndarray, steps: int) -> np.ndarray:
    """Return ``(n, 2)``: forecast of each slot, and of the mean of ``steps`` slots from it on, made before it."""
    predictor.reset()
    found = np.empty((len(power_w), 2))
    for i, seen_w in enumerate(power_w.tolist()):
        ahead_w = predictor.predict(steps)
        found[i] = ahead_w[0], ahead_w.mean()
        predictor.observe(seen_w)
    return found


def errors(found: np.ndarray, power_w: np.ndarray, steps: int, part: slice) -> dict[str, float]:
    """Return the figures of one part, in percent."""
    x, one = power_w[part], found[part, 0]
    big = x >= 0.1 * power_w.max()
    means = np.convolve(power_w, np.full(steps, 1.0 / steps), "valid")
    later = means[part.start or 0 : part.stop]
    return {
        "mape": 100.0 * float(np.mean(np.abs(one - x)[big] / x[big])),
        "nmae": 100.0 * float(np.abs(one - x).sum() / x.sum()),
        "nmae_6h": 100.0 * float(np.abs(found[part, 1][: len(later)] - later).sum() / later.sum()),
    }


def study(power_w: np.ndarray, n_slots: int, day: int) -> dict[str, dict[str, object]]:
    """Return figures of every predictor, each with the parameters that did best on the first half."""
    half, steps = len(power_w) // n_slots // 2 * n_slots, n_slots // 4
    rows: dict[str, dict[str, object]] = {}
    for name, (make, grid) in candidates(day).items():
        best: tuple[float, dict[str, object], np.ndarray] | None = None
        for values in product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            found = forecasts(make(n_slots, **chosen), power_w, steps)
            error = errors(found, power_w, steps, slice(0, half))
            merit = error["nmae"] + error["nmae_6h"]
            if best is None or merit < best[0]:
                best = merit, chosen, found
        assert best is not None
        rows[name] = {**errors(best[2], power_w, steps, slice(half, None)), "chosen": best[1]}
    base = Wcma(n_slots, **rows["wcma"]["chosen"])  # type: ignore[arg-type]
    low_w = forecasts(Quantile(base, 0.2), power_w, 1)[half:, 0]
    x = power_w[half:]
    rows["wcma"]["kept"] = float(np.mean((x >= low_w)[x >= 0.1 * power_w.max()]))
    return rows


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder with data/energy_traces")
    parser.add_argument("--slots", type=int, default=48, help="slots a day; divides 1440 and is a multiple of 4")
    parser.add_argument("--json", action="store_true", help="one object instead of tables")
    options = parser.parse_args()
    folder = options.shared / "data" / "energy_traces"
    results = {
        name: study(read_slots(folder / f"{name}.csv.gz", options.slots), options.slots, day)
        for name, day in TRACES.items()
    }
    if options.json:
        print(json.dumps({"slots_per_day": options.slots, "traces": results}))
        return 0
    for name, rows in results.items():
        print(
            f"{name}, {options.slots} slots a day\n  {'':14}{'MAPE %':>8}{'nMAE %':>8}{'6 h %':>8}  chosen on the first half"
        )
        for predictor, row in rows.items():
            chosen = ", ".join(f"{key} {value}" for key, value in row["chosen"].items())  # type: ignore[attr-defined]
            kept = f"; 20 % quantile kept {row['kept']:.2f}" if "kept" in row else ""
            print(f"  {predictor:14}{row['mape']:8.1f}{row['nmae']:8.1f}{row['nmae_6h']:8.1f}  {chosen}{kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
