# SPDX-License-Identifier: Apache-2.0
"""The recipe of the demo's model: trains it, quantises it to int8 and writes ``watch_int8.tflite``.

Run it as ``python -m joulet.tools.train_demo --out DIR``. It needs PyTorch (``pip install torch``) and the package
``seglearn``; nothing else of Joulet needs PyTorch. One core, about a minute and a half; the seed fixes every byte on
one machine and version of PyTorch. Weights are trained to be read at eight bits and at the four high bits of the
eight, turn by turn, so that both are good. The test people are looked at once, after the last step.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.demo import watch
from joulet.tools.conv1d import Block, Net, layers, right_answers, torch_module, train
from joulet.tools.demo_tflite import write_tflite

F32 = npt.NDArray[np.float32]
SEED = 7
STEPS = 3600
BATCH = 96
PEAK_RATE = 4e-3


def blocks() -> tuple[Block, ...]:
    """Return the backbone: one convolution and four depthwise-separable blocks, 280 k MACs with the head."""
    found = [Block(name="stem", inputs=6, outputs=16, kernel=5, stride=2)]
    for index, (inputs, outputs, stride) in enumerate(((16, 32, 1), (32, 48, 2), (48, 64, 2), (64, 96, 1)), start=1):
        found.append(
            Block(name=f"block{index}_depthwise", inputs=inputs, outputs=inputs, kernel=5, stride=stride, groups=inputs)
        )
        found.append(Block(name=f"block{index}_pointwise", inputs=inputs, outputs=outputs, kernel=1, stride=1))
    return tuple(found)


def rotations(count: int, spread_rad: float, rng: np.random.Generator) -> F32:
    """Return ``(count, 3, 3)`` random rotations about random axes: a strap that sits a little differently."""
    axis = rng.normal(size=(count, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = (rng.normal(size=count) * spread_rad)[:, None, None]
    cross = np.zeros((count, 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross -= cross.transpose(0, 2, 1)
    return (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).astype(np.float32)


def augmented_batch(
    recordings: tuple[watch.Recording, ...], share: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[F32, npt.NDArray[np.int64]]:
    """Return ``(BATCH, 6, 128)`` windows and labels: other speeds, strap angles, wrists, amplitudes and noise."""
    chosen = rng.choice(len(recordings), BATCH, p=share)
    speed = np.exp(rng.uniform(-0.25, 0.25, BATCH))
    x = np.empty((BATCH, watch.WINDOW, 6), dtype=np.float32)
    for row in range(BATCH):
        signal = recordings[chosen[row]].signal
        start = rng.integers(0, len(signal) - int(watch.WINDOW * speed[row]) - 1)
        position = start + np.arange(watch.WINDOW) * speed[row]
        whole = position.astype(int)
        part = (position - whole)[:, None].astype(np.float32)
        x[row] = signal[whole] * (1 - part) + signal[np.minimum(whole + 1, len(signal) - 1)] * part
        x[row, :, 3:] *= np.float32(speed[row])
    turn = rotations(BATCH, 0.2, rng).transpose(0, 2, 1)
    x[:, :, :3], x[:, :, 3:] = x[:, :, :3] @ turn, x[:, :, 3:] @ turn
    # The other wrist is the mirror image: x of the acceleration flips, and y and z of the rotation.
    x[rng.random(BATCH) < 0.5] *= np.array([-1, 1, 1, 1, -1, -1], dtype=np.float32)
    x *= np.exp(rng.normal(size=(BATCH, 1, 1)) * 0.08).astype(np.float32)
    x += (rng.normal(size=x.shape) * 0.03).astype(np.float32)
    labels = np.array([recordings[index].label for index in chosen], dtype=np.int64)
    return np.clip(x, -4.0, 127 / 32).transpose(0, 2, 1).copy(), labels


def train_watch(torch: Any, steps: int) -> Net:
    """Return the trained network."""
    recordings = watch.load_recordings("train")
    lengths = np.array([len(recording.signal) for recording in recordings], dtype=np.float64)
    share = lengths / lengths.sum()
    return train(
        torch, blocks(), len(watch.LABELS), lambda rng: augmented_batch(recordings, share, rng),
        seed=SEED, steps=steps, peak_rate=PEAK_RATE,
    )  # fmt: skip


def float_input(windows: watch.WatchWindows) -> F32:
    """Return the windows as the network trains on them, ``(n, 6, 128)``."""
    real = windows.x[:, 0].astype(np.float32) * np.float32(watch.INPUT_SCALE)
    return np.ascontiguousarray(real.transpose(0, 2, 1))


def accuracy(torch: Any, net: Net, windows: watch.WatchWindows, bits: int) -> float:
    """Return the share of right answers."""
    return float(right_answers(torch, net, float_input(windows), windows.y, bits).mean())


def main() -> int:
    """Train, export and print the accuracies as one JSON object."""
    parser = argparse.ArgumentParser(description="Train the demo's smartwatch model and write it as int8 .tflite.")
    parser.add_argument("--out", type=Path, default=Path("runtime/demo"), help="folder to write to")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"optimiser steps (default {STEPS})")
    args = parser.parse_args()
    torch = torch_module()
    net = train_watch(torch, args.steps)
    model = write_tflite(
        layers(net, float_input(watch.load_windows("train"))),
        input_shape=(1, 1, watch.WINDOW, 6),
        input_scale=watch.INPUT_SCALE,
        input_zero_point=watch.INPUT_ZERO_POINT,
        description="Joulet demo: smartwatch exercises",
    )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "watch_int8.tflite").write_bytes(model)
    report = {"seed": SEED, "steps": args.steps, "bytes": len(model), "torch": torch.__version__}
    for split in ("train", "calibration", "test"):
        windows = watch.load_windows(split)
        report[split] = {f"{bits} bit": round(accuracy(torch, net, windows, bits), 4) for bits in (32, 8, 4)}
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
