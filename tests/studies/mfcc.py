# SPDX-License-Identifier: Apache-2.0
"""The integer MFCC front end on real speech: its features beside those given, and what a keyword model makes of either.

Every raw clip goes through the front end; the MLPerf Tiny keyword model, compiled by joulet, judges. Exit code 1 when our
features cost more than a point of accuracy.

    python tests/studies/mfcc.py --shared ../shared [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from joulet.compile import compile_model
from joulet.engine.host import HostEngine
from joulet.front import mfcc, stream

MOST_LOSS_POINTS = 1.0


def load(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, mfcc.Grid]:
    """Return PCM ``(n, 16000)`` int16, features given for it ``(n, 49, 10)`` int8, labels ``(n,)`` and the model's grid."""
    with np.load(data / "audio.npz", allow_pickle=False) as file:
        pcm, labels, names = file["audio"], file["y"].astype(np.int64), file["names"].tolist()
    with np.load(data / "mfcc.npz", allow_pickle=False) as file:
        row = {name: i for i, name in enumerate(file["names"].tolist())}
        given = file["mfcc_int8"][[row[name] for name in names]]
        grid = mfcc.grid_of(float(file["scale"]), int(file["zero_point"]))
    return pcm, given, labels, grid


def in_c(pcm: np.ndarray, grid: mfcc.Grid) -> np.ndarray:
    """Return the features that the C code gives, fed 20 ms at a time."""
    out = []
    for clip in pcm:
        state = stream.MfccStream()
        rows = np.concatenate([state.take(clip[at : at + 320]) for at in range(0, len(clip), 320)])
        out.append(stream.quantise(rows, state.peak, grid))
    return np.stack(out)


def differences(ours: np.ndarray, given: np.ndarray) -> dict:
    """Return how features differ, in steps of the model's grid."""
    away = ours.astype(np.int64) - given
    values, counts = np.unique(away, return_counts=True)
    return {
        "equal_percent": 100 * float((away == 0).mean()),
        "within_one_percent": 100 * float((np.abs(away) <= 1).mean()),
        "clips_equal": int((away == 0).all(axis=(1, 2)).sum()),
        "clips_beyond_one": int((np.abs(away) > 1).any(axis=(1, 2)).sum()),
        "counts": dict(zip(values.tolist(), counts.tolist(), strict=True)),
    }


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    pcm, given, labels, grid = load(args.shared / "data" / "speech_commands")
    began = time.monotonic()
    ours = mfcc.features(pcm, grid)
    twin_s = time.monotonic() - began
    began = time.monotonic()
    streamed = in_c(pcm, grid)
    c_s = time.monotonic() - began
    model = args.shared / "data" / "mlperf_tiny" / "models" / "kws_ref_model_int8.tflite"
    engine = HostEngine(compile_model(model, exits="off").container)
    answers = [engine.infer([x[..., None]], path="w8").outputs[0].argmax(axis=1) for x in (given, ours)]
    right = [100 * float((answer == labels).mean()) for answer in answers]
    result = {
        "clips": len(pcm),
        "c_equals_twin": bool((streamed == ours).all()),
        "features": differences(ours, given),
        "accuracy_given_percent": right[0],
        "accuracy_ours_percent": right[1],
        "loss_points": right[0] - right[1],
        "answers_that_differ": int((answers[0] != answers[1]).sum()),
        "twin_s": round(twin_s, 1),
        "c_s": round(c_s, 1),
    }
    met = result["c_equals_twin"] and result["loss_points"] <= MOST_LOSS_POINTS
    if args.json:
        print(json.dumps({**result, "most_loss_points": MOST_LOSS_POINTS, "met": met}, indent=1))
    else:
        for key, value in {**result.pop("features"), **result}.items():
            print(f"{key:<24} {value:.2f}" if isinstance(value, float) else f"{key:<24} {value}")
        print("met" if met else "MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
