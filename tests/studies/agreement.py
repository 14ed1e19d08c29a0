# SPDX-License-Identifier: Apache-2.0
"""Visual wake words and anomaly detection: how far w4 and mix agree with the imported model, on surrogate inputs.

No labelled data of these two is at hand, so these figures say nothing about accuracy. Surrogates, labelled as such: for
VWW, CIFAR-10 images three times as large (training images calibrate, test images are judged); for AD, windows of five
log-mel frames (128 bands, 1024 points, 512 apart) of speech commands in place of machine sounds (every other clip
calibrates). VWW: share of equal classes, and Spearman's rank correlation of the score, because most of these inputs fall
into one class. AD: Spearman's rank correlation of the reconstruction error, which is what ranks machines.

    python tests/studies/agreement.py --shared ../shared [--samples 500] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from joulet.compile import compile_model
from joulet.engine.host import HostEngine
from joulet.importers.tflite import load_tflite

_RATE, _POINTS, _BANDS = 16000, 1024, 128


def enlarged(path: Path, first: int, most: int) -> np.ndarray:
    """Return CIFAR-10 images three times as large, ``(n, 96, 96, 3)`` int8."""
    with np.load(path, allow_pickle=False) as file:
        x = (file["x"][first : first + most].astype(np.int16) - 128).astype(np.int8)
    return x.repeat(3, axis=1).repeat(3, axis=2)


def mel_bands() -> np.ndarray:
    """Return triangular bands equally wide in mel, ``(513, 128)``."""
    top = 2595 * np.log10(1 + _RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    f = np.fft.rfftfreq(_POINTS, 1 / _RATE)[:, None]
    up = (f - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[None, 2:] - f) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(up, down))


def log_mels(path: Path) -> np.ndarray:
    """Return five frames in the middle of every clip, ``(n, 640)`` in dB."""
    with np.load(path, allow_pickle=False) as file:
        pcm = file["audio"].astype(np.float64) / 32768
    frames = np.stack([pcm[:, at : at + _POINTS] for at in range(6000, 6000 + 5 * 512, 512)], axis=1)
    power = np.abs(np.fft.rfft(frames * np.hanning(_POINTS + 1)[:-1], axis=2)) ** 2
    return 10 * np.log10(power @ mel_bands() + 1e-10).reshape(len(pcm), -1)


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    return (first + (counts - 1) / 2)[place]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def outputs(container: bytes, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return output 0 by path, as floats ``(n, …)``."""
    engine = HostEngine(container)
    return {name: engine.infer([x], path=name).outputs[0].astype(np.float64) for name in engine.path_names}


def compiled(model: Path, x: np.ndarray, recover: str) -> bytes:
    """Return a container with a mix of at most 60 % of the weight bytes."""
    names = ("w8", "w4", "mix")
    return compile_model(
        model, data={"input_0": x}, exits="off", precisions=names, recover=recover, mix_bytes=0.6
    ).container


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--samples", type=int, default=500, help="judged samples (default: 500)")
    parser.add_argument("--calibration", type=int, default=500, help="calibration samples (default: 500)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data = args.shared / "data"
    models = data / "mlperf_tiny" / "models"
    rows = []
    fit = enlarged(data / "cifar10" / "train.npz", 0, args.calibration)
    x = enlarged(data / "cifar10" / "test.npz", 0, args.samples)
    for recover in ("exact", "trade"):
        found = outputs(compiled(models / "vww_96_int8.tflite", fit, recover), x)
        if recover == "exact":
            reference = found["w8"]
            imported = reference.argmax(axis=1)
            larger = 100 * float(max(imported.mean(), 1 - imported.mean()))
        for name, scores in found.items():
            same = float((scores.argmax(axis=1) == imported).mean())
            rows.append(
                {
                    "model": "vww",
                    "recover": recover,
                    "precision": name,
                    "top1_percent": round(100 * same, 1),
                    "score_rank_correlation": round(spearman(scores[:, 1], reference[:, 1]), 4),
                }
            )
    graph = load_tflite(models / "ad01_int8.tflite")
    source, target = graph.tensors[graph.inputs[0]].quant, graph.tensors[graph.outputs[0]].quant
    assert source is not None
    assert target is not None
    real = log_mels(data / "speech_commands" / "audio.npz")
    q = np.clip(np.rint(real / source.scale[0]) + source.zero_point, -128, 127).astype(np.int8)
    fit, x = q[::2][: args.calibration], q[1::2][: args.samples]
    own = (x.astype(np.float64) - source.zero_point) * source.scale[0]
    for recover in ("exact", "trade"):
        found = outputs(compiled(models / "ad01_int8.tflite", fit, recover), x)
        errors = {n: (((z - target.zero_point) * target.scale[0] - own) ** 2).mean(axis=1) for n, z in found.items()}
        if recover == "exact":
            reference = errors["w8"]
        for name, error in errors.items():
            rows.append(
                {
                    "model": "ad",
                    "recover": recover,
                    "precision": name,
                    "rank_correlation": round(spearman(error, reference), 4),
                }
            )
    if args.json:
        print(
            json.dumps(
                {"inputs": "surrogate", "samples": args.samples, "vww_larger_class_percent": larger, "rows": rows},
                indent=1,
            )
        )
    else:
        print("surrogate inputs: agreement with the imported model, not accuracy")
        print(f"vww: the imported model puts {larger:.1f} % of these inputs into one class")
        for row in rows:
            if "top1_percent" in row:
                what = f"same class {row['top1_percent']:5.1f} %, rank correlation {row['score_rank_correlation']:.4f}"
            else:
                what = f"rank correlation of the error {row['rank_correlation']:.4f}"
            print(f"surrogate {row['model']:<4} {row['recover']:<6} {row['precision']:<4} {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
