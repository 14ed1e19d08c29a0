# SPDX-License-Identifier: Apache-2.0
"""Inputs of another dataset: is an early exit sure of itself more often than the last exit is?

The keyword model is compiled with exits on half of the speakers; strangers are spoken digits (FSDD) through the integer
MFCC front end, and grey CIFAR-10 images in place of features. ResNet-8 is compiled with exits on training images; strangers
are spectrogram images of spoken digits, and noise. Calibration errors (ECE) of every exit and precision come from the
speakers and images that were not compiled on. For every early exit: the share of strangers at or above the confidence
where the exit stops, and where 0.9 is reached, beside the share for which the last exit is as sure. Exit code 1 when an
early exit is sure more often than the last one, by more than the 95 % interval of the paired difference.

    python tests/studies/ood.py --shared ../shared [--strangers 500] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from joulet.compile import compile_model
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.front import mfcc

SURE = 0.9
_SECOND = 16000


def speakers(names: np.ndarray) -> np.ndarray:
    """Return who speaks in each clip; a clip without a speaker in its name is a speaker of its own."""
    stems = [name.split("/")[-1] for name in names.tolist()]
    return np.asarray([s.split("_nohash")[0].split("_")[-1] if "_nohash" in s else s for s in stems])


def digits(path: Path, most: int) -> np.ndarray:
    """Return spoken digits as one second of 16 kHz PCM each, ``(n, 16000)`` int16, evenly spread over the set."""
    with np.load(path, allow_pickle=False) as file:
        audio, offsets = file["audio"], file["offsets"]
    found = np.zeros((most, _SECOND), np.int16)
    for row, clip in enumerate(np.linspace(0, len(offsets) - 2, most).astype(int)):
        pcm = audio[offsets[clip] : offsets[clip + 1]].astype(np.float64)
        twice = np.interp(np.arange(2 * len(pcm)) / 2, np.arange(len(pcm)), pcm)[:_SECOND]
        start = (_SECOND - len(twice)) // 2
        found[row, start : start + len(twice)] = np.rint(twice)
    return found


def spectrograms(pcm: np.ndarray) -> np.ndarray:
    """Return grey 32 × 32 images ``(n, 32, 32, 3)`` int8 of log spectrograms."""
    frames = np.stack([pcm[:, at : at + 512] for at in np.linspace(0, _SECOND - 512, 32).astype(int)], axis=1)
    power = np.log1p(np.abs(np.fft.rfft(frames * np.hanning(512), axis=2))[:, :, 1:129])
    grey = power.reshape(len(pcm), 32, 32, 4).mean(axis=3)
    grey = 255 * (grey - grey.min(axis=(1, 2), keepdims=True)) / np.ptp(grey, axis=(1, 2), keepdims=True).clip(1e-9)
    return np.repeat((np.rint(grey) - 128).astype(np.int8)[..., None], 3, axis=3)


def images(path: Path, first: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 images and classes."""
    with np.load(path, allow_pickle=False) as file:
        x, y = file["x"][first : first + most], file["y"][first : first + most]
    return (x.astype(np.int16) - 128).astype(np.int8), y.astype(np.int64)


def confidences(engine: HostEngine, path: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (confidence, class) of every exit, each ``(exits, n)``."""
    runs = [engine.infer([x], path=path, depth=k) for k in range(len(engine.exit_names))]
    return (
        np.stack([run.confidence_q15.astype(np.float64) / 32768 for run in runs]),
        np.stack([run.outputs[0].argmax(axis=1) for run in runs]),
    )


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error in ten bins [points]."""
    place = np.minimum((confidence * 10).astype(int), 9)
    gap = np.bincount(place, weights=confidence - right, minlength=10)
    return float(100 * np.abs(gap).sum() / len(right))


def judge(name: str, container: bytes, own: tuple[np.ndarray, np.ndarray], strangers: dict[str, np.ndarray]) -> dict:
    """Return calibration errors on own samples, and how sure exits are of strangers."""
    engine = HostEngine(container)
    paths = Container.from_bytes(container).paths
    errors, rows = {}, []
    for index, path in enumerate(engine.path_names):
        if path not in ("w8", "w4", "mix"):
            continue
        confidence, answer = confidences(engine, path, own[0])
        errors[path] = [round(calibration_error(c, a == own[1]), 2) for c, a in zip(confidence, answer, strict=True)]
        for kind, x in strangers.items():
            strange, _ = confidences(engine, path, x)
            for k in range(len(strange) - 1):
                stop = int(paths[index]["auto_threshold_q15"][k]) / 32768
                for what, level in (("stop", stop), ("sure", SURE)):
                    early, last = strange[k] >= level, strange[-1] >= level
                    excess = early.astype(float) - last
                    rows.append(
                        {
                            "model": name,
                            "path": path,
                            "strangers": kind,
                            "exit": engine.exit_names[k],
                            "level": what,
                            "confidence": round(level, 3),
                            "early_percent": round(100 * float(early.mean()), 1),
                            "last_percent": round(100 * float(last.mean()), 1),
                            "excess_points": round(100 * float(excess.mean()), 1),
                            "half_width": round(float(196 * excess.std(ddof=1) / np.sqrt(len(x))), 1),
                        }
                    )
    return {"model": name, "exits": list(engine.exit_names), "calibration_errors": errors, "rows": rows}


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--strangers", type=int, default=500, help="inputs of each other dataset (default: 500)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data, most = args.shared / "data", args.strangers
    models = data / "mlperf_tiny" / "models"
    with np.load(data / "speech_commands" / "mfcc.npz", allow_pickle=False) as file:
        clips, labels, who = file["mfcc_int8"][..., None], file["y"].astype(np.int64), speakers(file["names"])
        grid = mfcc.grid_of(float(file["scale"]), int(file["zero_point"]))
    everyone = np.unique(who)
    half = np.isin(who, everyone[np.random.default_rng(100).permutation(len(everyone))[: len(everyone) // 2]])
    pcm = digits(data / "fsdd" / "fsdd.npz", most)
    pictures = images(data / "cifar10" / "test.npz", 0, most)[0]
    grey = pictures[:, :, :, 1].reshape(most, -1)[:, :490].reshape(most, 49, 10, 1)
    keywords = compile_model(
        models / "kws_ref_model_int8.tflite",
        data={"input_0": clips[half], "labels": labels[half], "groups": who[half]},
        exits=3,
        precisions=("w8", "w4"),
    ).container
    found = [
        judge(
            "kws",
            keywords,
            (clips[~half], labels[~half]),
            {"spoken digits": mfcc.features(pcm, grid)[..., None], "images": grey},
        )
    ]
    x, y = images(data / "cifar10" / "train.npz", 0, 1500)
    residual = compile_model(
        models / "ic_resnet8_int8.tflite", data={"input_0": x, "labels": y}, exits=2, precisions=("w8", "w4")
    ).container
    noise = np.random.default_rng(0).integers(-128, 128, (most, 32, 32, 3), dtype=np.int8)
    own = images(data / "cifar10" / "test.npz", 0, 1000)
    found.append(judge("resnet8", residual, own, {"spectrograms": spectrograms(pcm), "noise": noise}))
    rows = [row for each in found for row in each["rows"]]
    missed = [row for row in rows if row["excess_points"] > row["half_width"]]
    if args.json:
        print(json.dumps({"models": found, "met": not missed}, indent=1))
    else:
        for each in found:
            for path, errors in each["calibration_errors"].items():
                shown = "  ".join(f"{e} {v:.1f}" for e, v in zip(each["exits"], errors, strict=True))
                print(f"{each['model']:<8} {path:<4} calibration error [points] on unseen samples: {shown}")
        for row in rows:
            print(
                "{model:<8} {path:<4} {strangers:<14} {exit:<7} {level} at {confidence:.3f}: early {early_percent:5.1f} % "
                "last {last_percent:5.1f} %  excess {excess_points:+.1f} ± {half_width}".format(**row)
            )
        verdict = f"MISSED in {len(missed)} of {len(rows)}" if missed else "met"
        print(f"target no early exit sure more often than the last: {verdict}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
