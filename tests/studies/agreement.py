# SPDX-License-Identifier: Apache-2.0
"""Visual wake words and anomaly detection: how far w4 and mix agree with the imported model, on surrogate inputs.

No labelled data of these two comes along. Where a folder of it is given (--vww, --ad; labelled_folders.py says what is in
it), accuracy and AUC are printed; else figures on surrogates, which say nothing about accuracy. Surrogates, labelled as such: for
VWW, CIFAR-10 images three times as large (training images calibrate, test images are judged); for AD, windows of five
log-mel frames (128 bands, 1024 points, 512 apart) of speech commands in place of machine sounds (every other clip
calibrates). VWW: share of equal classes, and Spearman's rank correlation of the score, because most of these inputs fall
into one class. AD: Spearman's rank correlation of the reconstruction error, which is what ranks machines.

    python tests/studies/agreement.py --shared ../shared [--samples 500] [--vww DIR] [--ad DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from labelled_folders import auc_by_machine, clips, images

from joulet.compile import compile_model
from joulet.engine.host import HostEngine
from joulet.errors import JouletError
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


def vww_surrogate(args: argparse.Namespace) -> tuple[list[dict], float]:
    """Return a row a precision, and the share of the larger class [percent]."""
    data, rows = args.shared / "data", []
    fit = enlarged(data / "cifar10" / "train.npz", 0, args.calibration)
    x = enlarged(data / "cifar10" / "test.npz", 0, args.samples)
    for recover in ("exact", "trade"):
        found = outputs(compiled(data / "mlperf_tiny" / "models" / "vww_96_int8.tflite", fit, recover), x)
        if recover == "exact":
            reference = found["w8"]
            imported = reference.argmax(axis=1)
            larger = 100 * float(max(imported.mean(), 1 - imported.mean()))
        for name, scores in found.items():
            same = float((scores.argmax(axis=1) == imported).mean())
            what = {
                "top1_percent": round(100 * same, 1),
                "score_rank_correlation": round(spearman(scores[:, 1], reference[:, 1]), 4),
            }
            rows.append({"model": "vww", "recover": recover, "precision": name, **what})
    return rows, larger


class Autoencoder:
    """The AD model's grids: real features in, reconstruction errors out."""

    def __init__(self, model: Path) -> None:
        graph = load_tflite(model)
        source, target = graph.tensors[graph.inputs[0]].quant, graph.tensors[graph.outputs[0]].quant
        assert source is not None
        assert target is not None
        self.model, self.source, self.target = model, source, target

    def quantised(self, real: np.ndarray) -> np.ndarray:
        """Return features on the grid of the input."""
        q = np.rint(real / self.source.scale[0]) + self.source.zero_point
        return np.clip(q, -128, 127).astype(np.int8)

    def errors(self, fit: np.ndarray, x: np.ndarray, recover: str) -> dict[str, np.ndarray]:
        """Return the mean squared error of each row, by path."""
        own = (x.astype(np.float64) - self.source.zero_point) * self.source.scale[0]
        found = outputs(compiled(self.model, fit, recover), x)
        grid = self.target
        return {n: (((z - grid.zero_point) * grid.scale[0] - own) ** 2).mean(axis=1) for n, z in found.items()}


def ad_surrogate(args: argparse.Namespace) -> list[dict]:
    """Return a row a precision."""
    data, rows = args.shared / "data", []
    judge = Autoencoder(data / "mlperf_tiny" / "models" / "ad01_int8.tflite")
    q = judge.quantised(log_mels(data / "speech_commands" / "audio.npz"))
    for recover in ("exact", "trade"):
        errors = judge.errors(q[::2][: args.calibration], q[1::2][: args.samples], recover)
        if recover == "exact":
            reference = errors["w8"]
        for name, error in errors.items():
            rank = round(spearman(error, reference), 4)
            rows.append({"model": "ad", "recover": recover, "precision": name, "rank_correlation": rank})
    return rows


def vww_labelled(args: argparse.Namespace) -> list[dict]:
    """Return a row a precision: accuracy on images that did not calibrate."""
    x, y, fit = images(args.vww)
    model, rows = args.shared / "data" / "mlperf_tiny" / "models" / "vww_96_int8.tflite", []
    for recover in ("exact", "trade"):
        found = outputs(compiled(model, x[fit][: args.calibration], recover), x[~fit])
        for name, scores in found.items():
            right = round(100 * float((scores.argmax(axis=1) == y[~fit]).mean()), 2)
            rows.append({"model": "vww", "recover": recover, "precision": name, "accuracy_percent": right})
    return rows


def ad_labelled(args: argparse.Namespace) -> list[dict]:
    """Return a row a precision: the AUC of each machine and their mean."""
    judge, rows = Autoencoder(args.shared / "data" / "mlperf_tiny" / "models" / "ad01_int8.tflite"), []
    known, found = clips(args.ad / "train", most=20), clips(args.ad / "test")
    fit = judge.quantised(known.x)[:: max(1, len(known.x) // args.calibration)]
    for recover in ("exact", "trade"):
        for name, errors in judge.errors(fit, judge.quantised(found.x), recover).items():
            areas = {machine: round(area, 4) for machine, area in auc_by_machine(errors, found).items()}
            rows.append({"model": "ad", "recover": recover, "precision": name, "auc": areas})
    return rows


def said(row: dict) -> str:
    """Return a row's figures in words."""
    if "accuracy_percent" in row:
        return f"accuracy {row['accuracy_percent']:.2f} %"
    if "auc" in row:
        return "AUC " + ", ".join(f"{machine} {area:.4f}" for machine, area in row["auc"].items())
    if "top1_percent" in row:
        return f"same class {row['top1_percent']:5.1f} %, rank correlation {row['score_rank_correlation']:.4f}"
    return f"rank correlation of the error {row['rank_correlation']:.4f}"


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--samples", type=int, default=500, help="judged surrogate samples (default: 500)")
    parser.add_argument("--calibration", type=int, default=500, help="calibration samples (default: 500)")
    parser.add_argument("--vww", type=Path, metavar="DIR", help="labelled images: accuracy (see labelled_folders.py)")
    parser.add_argument("--ad", type=Path, metavar="DIR", help="labelled machine sounds: AUC (see labelled_folders.py)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        labelled = [*(vww_labelled(args) if args.vww else []), *(ad_labelled(args) if args.ad else [])]
    except JouletError as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 2
    surrogate, larger = ([], None) if args.vww else vww_surrogate(args)
    surrogate += [] if args.ad else ad_surrogate(args)
    if args.json:
        head = {"samples": args.samples, "vww_larger_class_percent": larger}
        print(json.dumps({**head, "labelled": labelled, "surrogate": surrogate}, indent=1))
        return 0
    if surrogate:
        print("surrogate inputs: agreement with the imported model, not accuracy")
    if larger is not None:
        print(f"vww: the imported model puts {larger:.1f} % of these inputs into one class")
    for kind, rows in (("labelled", labelled), ("surrogate", surrogate)):
        for row in rows:
            print(f"{kind} {row['model']:<4} {row['recover']:<6} {row['precision']:<4} {said(row)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
