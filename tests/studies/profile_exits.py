# SPDX-License-Identifier: Apache-2.0
"""Is the energy per exit that `joulet profile` finds the one that the board drew? Virtual boards, a simulated PPK2.

    python tests/studies/profile_exits.py [--shared ../shared] [--repeats 5]

The kit's ADC is 14 bits in five ranges, dithered; its clock is 40 ppm off; the host takes 1 to 3 ms to ask. The truth is what
the emulated board's supply gave within what a window says that it holds: between the first op and the last by markers, from START
on by the clock (some hundred cycles more, for the input). Both are found in one recording; the clock does not look at the pins.
The MLPerf Tiny models are tried where ../shared is. Exit code 1 when a figure is off by more than 2 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from board_tools import container, samples
from matrix import MODELS, container_of
from matrix import samples as recorded
from profile_truth import judge, record

BOUND = 0.02


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", default="kws,ad", help="of kws, vww, ic, ad")
    args = parser.parse_args()
    jobs = [("residual (tests)", container(), samples("residual_int8")[:1])]
    corpus = args.shared / "data"
    for name in args.models.split(","):
        found = sorted(corpus.rglob(f"*{MODELS[name]}.tflite")) if corpus.is_dir() else []
        if found:
            x = recorded(found[0], Path("nowhere"), 96)
            jobs.append((name, container_of(found[0], x), x[:1]))
        else:
            print(f"{name}: {corpus} is not there, left out")
    worst = 0.0
    print(
        f"{'model':<18} {'board':<16} {'sync':<8} {'cases':>5} {'worst':>8} {'mean':>8} {'in 95 %':>8} {'widest ±':>9}"
    )
    for name, model, sample in jobs:
        for board in ("virtual_m4", "virtual_m0plus"):
            recording = record(model, sample, args.repeats, board)
            for sync in ("markers", "clock"):
                truth = judge(recording, sync)
                true_j = np.array(truth.true_j)
                off = np.array([row.energy_j.mean for row in truth.rows]) / true_j - 1.0
                inside = np.mean(
                    [row.energy_j.low <= j <= row.energy_j.high for row, j in zip(truth.rows, true_j, strict=True)]
                )
                widest = max(row.energy_j.half / row.energy_j.mean for row in truth.rows)
                worst = max(worst, float(np.abs(off).max()))
                print(
                    f"{name:<18} {board:<16} {sync:<8} {len(off):>5} {100 * np.abs(off).max():>7.2f}% {100 * off.mean():>+7.2f}% "
                    f"{100 * inside:>7.0f}% {100 * widest:>8.2f}%",
                    flush=True,
                )
    print(f"worst {100 * worst:.2f} % of the true energy (at most {100 * BOUND:.0f} %)")
    return 0 if worst <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
