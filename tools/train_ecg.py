# SPDX-License-Identifier: Apache-2.0
"""The recipe of the zoo's heartbeat model: trains it, quantises it to int8 and writes ``ecg_int8.tflite``.

Run it as ``python -m joulet.tools.train_ecg --from DIR --out DIR``. It needs PyTorch (``pip install torch``) and the
MIT-BIH Arrhythmia Database. One core, minutes. The split is by patient (``joulet.zoo.ecg.PATIENTS``); choices among
recipes were made on the calibration patients, the test patients are looked at once, after the last step.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.tools.conv1d import Block, Net, layers, right_answers, torch_module, train
from joulet.tools.demo_tflite import write_tflite
from joulet.zoo import ecg

F32 = npt.NDArray[np.float32]
SEED = 11
STEPS = 3000
BATCH = 96
PEAK_RATE = 3e-3


def blocks() -> tuple[Block, ...]:
    """Return the backbone: one convolution and four depthwise-separable blocks."""
    found = [Block(name="stem", inputs=1, outputs=12, kernel=8, stride=2)]
    for index, (inputs, outputs, stride) in enumerate(((12, 24, 2), (24, 32, 2), (32, 48, 2), (48, 64, 1)), start=1):
        kernel = 7 if stride == 1 else 8
        found.append(
            Block(
                name=f"block{index}_depthwise",
                inputs=inputs,
                outputs=inputs,
                kernel=kernel,
                stride=stride,
                groups=inputs,
            )
        )
        found.append(Block(name=f"block{index}_pointwise", inputs=inputs, outputs=outputs, kernel=1, stride=1))
    return tuple(found)


def signals(record: ecg.EcgRecord) -> F32:
    """Return a record at 120 Hz, ``(t,)`` [5 uV]."""
    whole = len(record.signal) // ecg.DECIMATION * ecg.DECIMATION
    slow: F32 = record.signal[:whole].reshape(-1, ecg.DECIMATION).astype(np.float32).mean(axis=1)
    return slow


def augmented_batch(
    records: tuple[ecg.EcgRecord, ...], slow: list[F32], rng: np.random.Generator
) -> tuple[F32, npt.NDArray[np.int64]]:
    """Return ``(BATCH, 1, 192)`` windows and labels, half of them ectopic: moved, stretched, flipped, on a wandering base."""
    x = np.empty((BATCH, ecg.WINDOW), np.float32)
    y = np.zeros(BATCH, np.int64)
    t = np.arange(ecg.WINDOW, dtype=np.float32)
    with_pvc = [i for i, r in enumerate(records) if (r.pvc & ecg.whole(r)).sum() >= 3]
    for row in range(BATCH):
        ectopic = row % 2 == 0
        which = int(rng.choice(with_pvc)) if ectopic else int(rng.integers(len(records)))
        record, signal = records[which], slow[which]
        beats = record.beats[ecg.whole(record) & (record.pvc == ectopic)] // ecg.DECIMATION
        at = float(rng.choice(beats)) + rng.uniform(-4, 4)
        speed = float(np.exp(rng.uniform(-0.2, 0.2)))
        position = np.clip(at + (t - ecg.BEFORE) * speed, 0, len(signal) - 2)
        left = position.astype(int)
        part = (position - left).astype(np.float32)
        window = signal[left] * (1 - part) + signal[left + 1] * part
        spread = float(window.std()) + 1e-3
        window = window + spread * rng.normal() * 0.5 * np.sin(
            2 * np.pi * (t / ecg.WINDOW * rng.uniform(0.2, 1) + rng.random())
        )
        window = window + rng.normal(size=ecg.WINDOW) * spread * 0.05 * rng.random()
        if rng.random() < 0.3:
            window = -window
        x[row] = window
        y[row] = int(ectopic)
    q = ecg.quantise_window(x).astype(np.float32) * np.float32(ecg.INPUT_SCALE)
    return q[:, None], y


def train_ecg(torch: Any, folder: Path, steps: int) -> Net:
    """Return the trained network."""
    records = ecg.load_records(folder, ecg.PATIENTS["train"])
    slow = [signals(r) for r in records]
    return train(
        torch, blocks(), len(ecg.LABELS), lambda rng: augmented_batch(records, slow, rng),
        seed=SEED, steps=steps, peak_rate=PEAK_RATE,
    )  # fmt: skip


def real_input(beats: ecg.Beats) -> F32:
    """Return the windows as the network trains on them, ``(n, 1, 192)``."""
    return np.ascontiguousarray(beats.x[:, 0].astype(np.float32).transpose(0, 2, 1) * np.float32(ecg.INPUT_SCALE))


def scores(torch: Any, net: Net, beats: ecg.Beats, bits: int) -> dict[str, float]:
    """Return the shares of right answers: of all beats, of ectopic ones, of others."""
    right = right_answers(torch, net, real_input(beats), beats.y, bits)
    parts = {"all": right, "ectopic": right[beats.y == 1], "other": right[beats.y == 0]}
    return {name: round(float(part.mean()), 4) for name, part in parts.items()}


def main() -> int:
    """Train, export and print the scores as one JSON object."""
    parser = argparse.ArgumentParser(description="Train the zoo's heartbeat model and write it as int8 .tflite.")
    parser.add_argument("--from", dest="folder", type=Path, required=True, help="folder of the MIT-BIH database")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"optimiser steps (default {STEPS})")
    parser.add_argument("--no-test", action="store_true", help="leave the test patients alone")
    args = parser.parse_args()
    torch = torch_module()
    net = train_ecg(torch, args.folder, args.steps)
    model = write_tflite(
        layers(net, real_input(ecg.load_beats(args.folder, "train"))),
        input_shape=(1, 1, ecg.WINDOW, 1),
        input_scale=ecg.INPUT_SCALE,
        input_zero_point=0,
        description="Joulet zoo: premature ventricular contractions, one lead",
    )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "ecg_int8.tflite").write_bytes(model)
    report: dict[str, Any] = {"seed": SEED, "steps": args.steps, "bytes": len(model), "torch": torch.__version__}
    for split in ("train", "calibration") if args.no_test else ("train", "calibration", "test"):
        beats = ecg.load_beats(args.folder, split)
        report[split] = {"beats": len(beats.y), "ectopic": int(beats.y.sum())}
        report[split] |= {f"{bits} bit": scores(torch, net, beats, bits) for bits in (32, 8, 4)}
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
