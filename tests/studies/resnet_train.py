# SPDX-License-Identifier: Apache-2.0
"""ResNet-8 on CIFAR-10: nested fine-tuning from the reference weights on the 8,000 training images at hand.

A fifth of the training images is held out and chooses the epoch; the test images are looked at once, at the end. Exit code
1 when a target is missed: all-w4 at least 86.5 %, w8 at least 87.0 %, less than 25 minutes of one core.

    python tests/studies/resnet_train.py --shared ../shared [--epochs 2] [--images 8000] [--checkpoint FILE] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from joulet.engine.host import HostEngine
from joulet.train.fit import Options
from joulet.train.front import train_model
from joulet.train.net import torch_module

TARGETS = {"w4_percent": 86.5, "w8_percent": 87.0, "minutes": 25.0}


def images(path: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 images ``(n, 32, 32, 3)`` and their classes."""
    with np.load(path, allow_pickle=False) as file:
        return (file["x"][:most].astype(np.int16) - 128).astype(np.int8), file["y"][:most].astype(np.int64)


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=8000, help="training images, the held-out fifth included")
    parser.add_argument("--rate", type=float, default=Options().rate)
    parser.add_argument("--checkpoint", type=Path, help="keep the state here, and continue from it")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch_module().set_num_threads(1)
    data = args.shared / "data"
    x, y = images(data / "cifar10" / "train.npz", args.images)
    shown = 0.0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal shown
        if done == total or time.monotonic() - shown > 20:
            shown = time.monotonic()
            print(f"  {what} {done}/{total}", file=sys.stderr, flush=True)

    began = time.process_time()
    trained = train_model(
        data / "mlperf_tiny" / "models" / "ic_resnet8_int8.tflite",
        data={"input_0": x, "labels": y},
        options=Options(epochs=args.epochs, rate=args.rate, flip=True),
        mix_bytes=0.6,
        checkpoint=args.checkpoint,
        resume=args.checkpoint is not None,
        progress=progress,
    )
    figures: dict[str, object] = {"minutes": round((time.process_time() - began) / 60, 1)}
    xt, yt = images(data / "cifar10" / "test.npz", 5000)
    engine = HostEngine(trained.result.container)
    whole = trained.result.report.precisions[0].weight_bytes
    for precision in trained.result.report.precisions:
        right = engine.infer([xt], path=precision.name).outputs[0].argmax(axis=1) == yt
        figures[f"{precision.name}_percent"] = round(100 * float(right.mean()), 2)
        figures[f"{precision.name}_bytes_percent"] = round(100 * precision.weight_bytes / whole, 1)
    figures["epochs"] = [
        {"epoch": e.number, "loss": round(e.loss, 4), **{k: round(100 * v, 2) for k, v in e.held_out.items()}}
        for e in trained.epochs
    ]
    met = {
        "w4_percent": float(str(figures["w4_percent"])) >= TARGETS["w4_percent"],
        "w8_percent": float(str(figures["w8_percent"])) >= TARGETS["w8_percent"],
        "minutes": float(str(figures["minutes"])) < TARGETS["minutes"],
    }
    if args.json:
        print(json.dumps({"targets": TARGETS, "met": met, **figures}, indent=1))
    else:
        for key, value in figures.items():
            print(f"{key:<18} {value}")
        for key, value in met.items():
            sign = "<" if key == "minutes" else ">="
            print(f"target {key:<12} {sign} {TARGETS[key]}: {'met' if value else 'MISSED'}")
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
