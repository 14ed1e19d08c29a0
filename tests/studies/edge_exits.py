# SPDX-License-Identifier: Apache-2.0
"""A cap on measured power: exits decided at each exit against an exit fixed before each event, at the same cap.

Keyword spotting on speakers who were not compiled on. The machine is a program: it idles at 2 W and draws 6 W more while it
computes, for times that follow the plan's cycles but for a factor of each path that the plan does not know; its meter is a RAPL
counter in a file. Answers are the C engine's. Each split is a run of one event a clip.

    python tests/studies/edge_exits.py --shared ../shared [--splits 6] [--clips 600] [--json]

Exit code 1 when deciding at exits does not give more right answers over the caps together, by the paired 95 % interval, gives
fewer at one of them, by its mean, or when a cap is not kept.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from edge_world import SteppedWorldEngine, World
from kws_exits import _STUDENT_95, speakers

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.edge import EdgeRecord, EdgeSettings, points_of_table, run
from joulet.edge.account import parse_cap
from joulet.edge.metered import Metered
from joulet.engine.host import HostEngine
from joulet.plan.cost import board_costs, cost_table
from joulet.records import CostTable

IDLE_W, BUSY_W, WHOLE_S, PERIOD_S, WINDOW_S = 2.0, 8.0, 0.1, 0.2, 10.0
SHARES = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8)  # of what answering everything at w8 to the end draws above idle


def go(
    container: bytes, table: CostTable, clips: np.ndarray, labels: np.ndarray, cap_w: float, *, fixed: bool
) -> EdgeRecord:
    """Run once through all clips under a cap."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), {}, idle_w=IDLE_W)
        machine = world.machine()
        engine = SteppedWorldEngine(world, HostEngine(container), table, busy_w=BUSY_W, whole_s=WHOLE_S)
        metered = Metered("rapl", machine, rate_hz=None, allow_estimate=False)
        world.ticks.append(metered.poll)
        points, _ = points_of_table(table)
        settings = EdgeSettings(
            period_s=PERIOD_S, duration_s=PERIOD_S * len(clips), window_s=WINDOW_S, cap=parse_cap(f"{cap_w}W")
        )
        record = run(
            engine, [clips], labels, points, metered, machine, settings, table=None if fixed else table
        )  # fmt: skip
        metered.close()
    return record


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and half width of the 95 % interval over splits."""
    if len(values) < 2:
        return float(np.mean(values)), math.nan
    t = _STUDENT_95.get(len(values) - 1, 1.96)
    return float(np.mean(values)), float(t * np.std(values, ddof=1) / math.sqrt(len(values)))


def main() -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--first", type=int, default=100, help="number of the first split (100)")
    parser.add_argument("--clips", type=int, default=600, help="events of a run (600)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = args.shared / "data" / "mlperf_tiny" / "models" / "kws_ref_model_int8.tflite"
    with np.load(args.shared / "data" / "speech_commands" / "mfcc.npz", allow_pickle=False) as file:
        clips, labels, names = file["mfcc_int8"][..., None], file["y"].astype(np.int64), file["names"]
    who, board = speakers(names), load_board("virtual_m4")
    everyone = np.unique(who)
    found: dict[float, list[dict[str, float]]] = {share: [] for share in SHARES}
    for split in range(args.first, args.first + args.splits):
        rng = np.random.default_rng(split)
        fit = np.isin(who, rng.permutation(everyone)[: len(everyone) // 2])
        data = {"input_0": clips[fit], "labels": labels[fit]}
        result = compile_model(model, data=data, exits=3, precisions=("w8", "w4"))
        engine = HostEngine(result.container)
        table = cost_table(engine.container, board_costs(engine.container, board))
        judged = rng.permutation(np.flatnonzero(~fit))[: args.clips]
        for share in SHARES:
            cap_w = IDLE_W + share * (BUSY_W - IDLE_W) * WHOLE_S / PERIOD_S
            fixed, each = (
                go(result.container, table, clips[judged], labels[judged], cap_w, fixed=fixed)
                for fixed in (True, False)
            )
            n = len(judged)
            assert fixed.cap is not None
            assert each.cap is not None
            found[share].append(
                {
                    "cap_w": cap_w, "fixed_right": 100 * (fixed.correct or 0) / n, "each_right": 100 * (each.correct or 0) / n,
                    "fixed_answered": 100 * fixed.answered / n, "each_answered": 100 * each.answered / n,
                    "fixed_w": fixed.cap.mean_w, "each_w": each.cap.mean_w,
                    "kept": float(fixed.cap.kept and each.cap.kept),
                }
            )  # fmt: skip
        print(f"split {split} done", file=sys.stderr)
    return _tell(found, args)


def _tell(found: dict[float, list[dict[str, float]]], args: argparse.Namespace) -> int:
    rows: list[dict[str, float]] = []
    worse = 0
    for rows_of in found.values():
        mean = {key: float(np.mean([row[key] for row in rows_of])) for key in rows_of[0]}
        gain, half = interval([row["each_right"] - row["fixed_right"] for row in rows_of])
        rows.append({**mean, "gain": gain, "gain_half": half})
        worse += gain < 0.0 or mean["kept"] < 1.0
    splits = zip(*found.values(), strict=True)
    gain, half = interval([np.mean([row["each_right"] - row["fixed_right"] for row in split]) for split in splits])
    worse += gain - (half if math.isfinite(half) else 0.0) <= 0.0
    if args.json:
        print(json.dumps(rows, indent=2))
        return 1 if worse else 0
    print(f"{'cap':>7} {'fixed':>18} {'at each exit':>22} {'gain, points':>16}  cap")
    for row in rows:
        print(
            f"{row['cap_w']:5.2f} W {row['fixed_right']:7.1f} % {row['fixed_w']:5.2f} W"
            f" {row['each_right']:11.1f} % {row['each_w']:5.2f} W {row['gain']:+9.1f} ± {row['gain_half']:.1f}"
            f"  {'kept' if row['kept'] == 1.0 else 'NOT KEPT'}"
            f"   answered {row['fixed_answered']:.0f} / {row['each_answered']:.0f} %"
        )
    print(f"over the caps together: {gain:+.1f} ± {half:.1f} points, paired over splits")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
