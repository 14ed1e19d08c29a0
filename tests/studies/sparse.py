# SPDX-License-Identifier: Apache-2.0
"""Absent blocks of weights: from which share on they pay, and what the cycles that they save cost in accuracy, beside fewer bits.

    python tests/studies/sparse.py --shared ../shared [--board virtual_m4] [--limits 1,3,10] [--models kws,ic] [--json]

First the kernels: layers of the sizes of the MLPerf Tiny models' with blocks (2 output channels x 4 input channels) left out at
random, counted on the emulated board as cycles over those of the dense kernel at 8 bits, and the share from which on the sparse
one needs fewer. Then whole networks: `joulet compile --sparse LIMIT` from calibration data, judged on data apart (KWS: speakers
apart), beside w8, w4 and mix without; cycles are the board's model of all steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import sparse_cases
from fit_cycles import op_by_op
from kws_exits import speakers
from resnet_w4 import half_width, images

from joulet.boards import Board, load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.container.read import Container
from joulet.container.values import weight_values
from joulet.engine.host import HostEngine
from joulet.plan.cost import board_costs
from joulet.plan.packings import SPARSE_PACKERS
from joulet.plan.packings.sparse import block_presence

SHARES = (0.125, 0.25, 0.5, 0.625, 0.75)
LAYERS = {  # (rows, columns) of the output, window, channels
    "kws pointwise": ((25, 5), (1, 1), (64, 64)),
    "vww pointwise 16": ((24, 24), (1, 1), (16, 32)),
    "vww pointwise 128": ((6, 6), (1, 1), (128, 128)),
    "ic 3x3 16": ((32, 32), (3, 3), (16, 16)),
    "ic 3x3 32": ((16, 16), (3, 3), (32, 32)),
}


def kernels(board: Board) -> list[dict[str, Any]]:
    """Return, by layer, the cycles with shares of blocks absent over those of the dense kernel, and where both are equal."""
    rows = []
    for name, (out, kernel, channels) in LAYERS.items():
        points = []
        for share in SHARES:
            data = sparse_cases.conv(1, absent=share, out=out, kernel=kernel, channels=channels, zero=-128)
            there = block_presence(weight_values(Container.from_bytes(data), 0), SPARSE_PACKERS[board.isa].rows)
            absent = 1 - float(there.mean())
            dense = float(op_by_op(with_isa_plan(data, board.isa), board).sum())
            points.append((absent, float(op_by_op(sparse_cases.sparse_plan(data, board.isa), board).sum()) / dense))
        slope, start = np.polyfit(*np.array(points).T, 1)
        even = float((1 - start) / slope) if points[-1][1] < 1 else None
        rows.append({"layer": name, "points": points, "break_even": even})
        shown = "  ".join(f"{100 * a:3.0f} %: {ratio:.2f}" for a, ratio in points)
        says = "never pays" if even is None else f"pays from {100 * even:4.1f} %"
        print(f"  {name:<20} {shown}   {says}", flush=True)
    return rows


def keyword_data(shared: Path) -> tuple[Path, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the keyword model, calibration data of one half of the speakers, and clips and classes of the other."""
    with np.load(shared / "data" / "speech_commands" / "mfcc.npz", allow_pickle=False) as file:
        clips, labels, who = file["mfcc_int8"], file["y"].astype(np.int64), speakers(file["names"])
    names = np.unique(who)
    fit = np.isin(who, np.random.default_rng(100).permutation(names)[: len(names) // 2])
    model = shared / "data" / "mlperf_tiny" / "models" / "kws_ref_model_int8.tflite"
    clips = clips.reshape(len(clips), 49, 10, 1)
    return model, {"input_0": clips[fit], "labels": labels[fit]}, clips[~fit], labels[~fit]


def image_data(shared: Path) -> tuple[Path, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return ResNet-8, 1,000 training images of CIFAR-10, and 1,500 test images and their classes."""
    fit = images(shared / "data" / "cifar10" / "train.npz", 1000)
    test = images(shared / "data" / "cifar10" / "test.npz", 1500)
    model = shared / "data" / "mlperf_tiny" / "models" / "ic_resnet8_int8.tflite"
    return model, {"input_0": fit[0], "labels": fit[1]}, *test


MODELS = {"kws": keyword_data, "ic": image_data}


def networks(name: str, shared: Path, board: Board, limits: list[float]) -> list[dict[str, Any]]:
    """Return accuracy and cycles of a model: as it is at w8, w4 and mix, and sparse under each limit."""
    model, data, x, y = MODELS[name](shared)
    rows: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    for limit in [None, *limits]:
        names = ("w8", "w4", "mix") if limit is None else ("w8", "w4")
        found = compile_model(model, data=data, exits="off", precisions=names, board=board.name, sparse=limit)
        cycles = board_costs(Container.from_bytes(found.container), board).cycles.sum(axis=1)
        engine = HostEngine(found.container)
        for place, precision in enumerate(names):
            right = engine.infer([x], path=precision).outputs[0].reshape(len(x), -1).argmax(axis=1) == y
            if not first:
                first = {"cycles": int(cycles[0]), "right": right}
            rows.append(
                {
                    "model": name,
                    "limit": limit,
                    "precision": precision,
                    "cycles": int(cycles[place]),
                    "cycles_percent": 100 * int(cycles[place]) / first["cycles"],
                    "accuracy": float(right.mean()),
                    "points": 100 * float(right.mean() - first["right"].mean()),
                    "half_width": half_width(right, first["right"]) if limit is not None or place else 0.0,
                    "notes": [note for note in found.report.notes if note.startswith("sparse")],
                }
            )
            row = rows[-1]
            how = "dense" if limit is None else f"sparse {100 * limit:g} %"
            print(
                f"  {name:<4} {how:<12} {precision:<4} {row['cycles']:>12,} cycles {row['cycles_percent']:6.1f} %   "
                f"{100 * row['accuracy']:.1f} % right ({row['points']:+.1f} +- {row['half_width']:.1f})",
                flush=True,
            )
        for note in rows[-1]["notes"]:
            print(f"       {note}", flush=True)
    return rows


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder that holds data/; the kernels alone without")
    parser.add_argument("--board", default="virtual_m4", help="a virtual board, or qemu_mps3_an547 (virtual_m4)")
    parser.add_argument("--limits", default="1,3,10", metavar="LIST", help="answers that may change [%%] (1,3,10)")
    parser.add_argument("--models", default="kws,ic", metavar="LIST", help="out of kws, ic (both)")
    parser.add_argument("--no-kernels", action="store_true", help="whole networks alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    args = parser.parse_args()
    board = load_board(args.board)
    result: dict[str, Any] = {"board": board.name}
    if not args.no_kernels:
        print(f"{board.name}: cycles over the dense kernel's at 8 bits, by the share of blocks that is absent")
        result["kernels"] = kernels(board)
    if args.shared is not None:
        limits = [float(each) / 100 for each in args.limits.split(",")]
        print(
            f"{board.name}: whole networks (modelled cycles), accuracy on data apart, 95 % interval of the paired difference to w8"
        )
        result["networks"] = [
            row for name in args.models.split(",") for row in networks(name, args.shared, board, limits)
        ]
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
