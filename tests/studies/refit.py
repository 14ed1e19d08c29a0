# SPDX-License-Identifier: Apache-2.0
"""An exit's head fitted again while the world drifts: keywords in noise, with and without, by speakers in three parts.

Each split compiles the MLPerf Tiny keyword model on the clips of one half of the speakers. Of the others, some say what they
said (a label a clip, once each, in a random order), and the rest are judged: nobody is in two parts. Drift: pink noise in the raw
audio, through the integer front end. Without drift the same labels show what fitting does where nothing has changed.

Confidences: the expected calibration error of the exit that has learned, on the judged clips, by the table that was shipped
(``as shipped``) and by the one that the labels have made of it (``told``), csrc/core/prequential.h.

The rule was chosen on splits 1000 to 1003, which are not among those printed (--choose prints that search).

    python tests/studies/refit.py --shared ../shared [--splits 8] [--first 0] [--snr 5] [--choose] [--json]

Exit code 1 when fitting again does not help in drift, by the paired 95 % interval, at the exit named first.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
from kws_exits import _STUDENT_95, speakers
from ood import calibration_error

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.engine.host import HostEngine
from joulet.engine.refit import HeadRefit, RefitRule
from joulet.front import mfcc

BOARD = "virtual_m4"
STEPS = (0, 50, 150)  # labels after which there is a look, and after all of them
_SHARE = 0.6  # of the clips that are not compiled on, by speaker: they teach


def pink(rng: np.random.Generator, n: int, length: int) -> np.ndarray:
    """Return noise ``(n, length)`` whose power falls with frequency, of unit variance."""
    spectrum = np.fft.rfft(rng.normal(size=(n, length)))
    spectrum[:, 1:] /= np.sqrt(np.arange(1, spectrum.shape[1]))
    spectrum[:, 0] = 0.0
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise / noise.std(axis=1, keepdims=True))


def in_noise(pcm: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Return clips with pink noise, of one level for all: so far below the mean power of clips that hold a word."""
    power = pcm.astype(np.float64).var(axis=1)
    level = math.sqrt(float(np.median(power)) / 10.0 ** (snr_db / 10.0))
    noisy = pcm + level * pink(rng, *pcm.shape)
    return np.clip(np.rint(noisy), -32768, 32767).astype(np.int16)


def load(shared: Path, snr_db: float) -> dict[str, np.ndarray]:
    """Return given features of all clips, and our own of the clips with audio, clean and in noise."""
    folder = shared / "data" / "speech_commands"
    with np.load(folder / "mfcc.npz") as file:
        data = {"x": file["mfcc_int8"][..., None], "y": file["y"].astype(np.int64), "who": speakers(file["names"])}
        grid = mfcc.grid_of(float(file["scale"]), int(file["zero_point"]))
    with np.load(folder / "audio.npz") as file:
        pcm, names = file["audio"], file["names"]
        data |= {"audio_y": file["y"].astype(np.int64), "audio_who": speakers(names)}
    for name, clips in (("clean", pcm), ("noisy", in_noise(pcm, snr_db, np.random.default_rng(77)))):
        data[name] = mfcc.features(clips, grid).reshape(len(clips), 49, 10, 1)
    return data


def parts(data: dict[str, np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return who is compiled on (of all clips), and which clips with audio teach and are judged."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.unique(data["who"]))
    fit = set(names[: len(names) // 2].tolist())
    rest = [name for name in names if name not in fit]
    teach = set(rest[: round(_SHARE * len(rest))])
    who = data["audio_who"].tolist()
    return (
        np.array([name in fit for name in data["who"].tolist()]),
        rng.permutation(np.flatnonzero([name in teach for name in who])),
        np.flatnonzero([name not in fit and name not in teach for name in who]),
    )


def accuracy(engine: HostEngine, exit: int, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of right answers at an exit."""
    return float((engine.infer([x], path="w8", depth=exit).outputs[0].reshape(len(y), -1).argmax(axis=1) == y).mean())


def learn(refit: HeadRefit, x: np.ndarray, labels: np.ndarray) -> None:
    """Run clips up to the exit, one after the other, each with its label."""
    for clip, label in zip(x, labels, strict=True):
        refit.engine.start([clip[None]], 0)
        refit.engine.run_to_exit(refit.exit)
        refit.learn(int(label))


def judge(
    engine: HostEngine, exit: int, rule: RefitRule, world: str, data: dict[str, np.ndarray], split: tuple
) -> dict:
    """Return accuracies after so many labels in one world, judged in it."""
    _, teach, judged = split
    x, y = data[world], data["audio_y"]
    refit = HeadRefit(engine, exit, rule)
    refit.close()
    row = {"shipped": accuracy(engine, exit, x[judged], y[judged])}
    engine.use_head(refit._refit)
    done = 0
    for upto in (*STEPS, len(teach)):
        upto = min(upto, len(teach))
        learn(refit, x[teach[done:upto]], y[teach[done:upto]])
        done = upto
        row[f"labels_{'all' if upto == len(teach) else upto}"] = accuracy(engine, exit, x[judged], y[judged])
    row |= calibration(refit, x[judged], y[judged])
    if world == "noisy":  # and back where there is none
        row["then_clean"] = accuracy(engine, exit, data["clean"][judged], y[judged])
    refit.close()
    row["labels"] = len(teach)
    return row


def calibration(refit: HeadRefit, x: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return calibration errors of a head as it stands, by the shipped table and by its own [points]."""
    engine = refit.engine
    own, shipped = (
        refit.confidence_q15(),
        engine.container.confidence[int(engine.container.paths[0]["confidence"][refit.exit])],
    )
    bins, right = np.zeros(len(x), np.int64), np.zeros(len(x))
    for k, clip in enumerate(x):
        engine.start([clip[None]], 0)
        engine.run_to_exit(refit.exit)
        predicted, margin = refit.last
        bins[k], right[k] = margin >> 3, predicted == labels[k]
    return {
        "error_as_shipped": calibration_error(shipped[bins] / 32768.0, right),
        "error_told": calibration_error(own[bins] / 32768.0, right),
    }


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return mean and half width of the 95 % interval."""
    t = _STUDENT_95.get(len(values) - 1, 1.96)
    return float(values.mean()), float(t * values.std(ddof=1) / math.sqrt(len(values)))


def compiled(shared: Path, data: dict[str, np.ndarray], fit: np.ndarray) -> HostEngine:
    """Return the keyword model with exits, fitted on some speakers."""
    model = next((shared / "data" / "mlperf_tiny" / "models").glob("*kws*int8*.tflite"))
    given = {"input_0": data["x"][fit], "labels": data["y"][fit]}
    return HostEngine(compile_model(model, data=given, exits=2, precisions=("w8",)).container)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--snr", type=float, default=5.0)
    parser.add_argument("--choose", action="store_true", help="search the rule on splits that are not judged")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data = load(args.shared, args.snr)
    if args.choose:
        return choose(args, data)
    rows = []
    for seed in range(args.first, args.first + args.splits):
        split = parts(data, seed)
        engine = compiled(args.shared, data, split[0])
        exits = [k for k, e in enumerate(engine.container.exits) if not int(e["flags"]) & 1]
        for exit in reversed(exits):
            for world in ("noisy", "clean"):
                name = engine.exit_names[exit]
                row = judge(engine, exit, RefitRule(), world, data, split)
                refit = HeadRefit(engine, exit)
                row |= {"features": refit.n_features, "classes": refit.n_classes}
                refit.close()
                rows.append({"seed": seed, "exit": name, "world": world, "judged": len(split[2]), **row})
        print(f"split {seed}: {len(split[2])} judged", file=sys.stderr)
    return report(rows, as_json=args.json)


def report(rows: list[dict], *, as_json: bool) -> int:
    """Print means and paired intervals; return the exit code."""
    board = load_board(BOARD)
    results, code = [], None
    for exit in dict.fromkeys(row["exit"] for row in rows):
        for world in ("noisy", "clean"):
            mine = [row for row in rows if (row["exit"], row["world"]) == (exit, world)]
            if len(mine) < 2:
                continue
            gain, half = interval(100.0 * np.array([row["labels_all"] - row["shipped"] for row in mine]))
            less, spread = interval(np.array([row["error_as_shipped"] - row["error_told"] for row in mine]))
            keys = [key for key in mine[0] if key.startswith(("shipped", "labels_", "then"))]
            shapes = [
                (row["features"], row["classes"]) for row in mine
            ]  # where an exit lies is each split's own choice
            cycles = [board.refit.cycles(*shape, keep_every=8) for shape in shapes]
            energy_j = float(np.mean(cycles)) * board.load.energy_pj_per_cycle * 1e-12
            found = sorted({features for features, _ in shapes})
            results.append(
                {
                    "exit": exit,
                    "world": world,
                    "splits": len(mine),
                    "judged": sum(row["judged"] for row in mine),
                    "features": found,
                    "labels": float(np.mean([row["labels"] for row in mine])),
                    **{key: 100.0 * float(np.mean([row[key] for row in mine])) for key in keys},
                    "gain_points": gain,
                    "half_width": half,
                    **{key: float(np.mean([row[key] for row in mine])) for key in ("error_as_shipped", "error_told")},
                    "error_less": less,
                    "error_half_width": spread,
                    "j_a_label": energy_j,
                }
            )
            if code is None:
                code = 0 if gain - half > 0.0 else 1
    if as_json:
        print(json.dumps({"results": results, "rows": rows}))
    else:
        for r in results:
            widths = ", ".join(map(str, r["features"]))
            looks = "  ".join(
                f"{k.removeprefix('labels_')} {v:.1f}"
                for k, v in r.items()
                if k.startswith(("ship", "labels_", "then"))
            )
            print(
                f"{r['exit']:6} ({widths} features) {r['world']:5}: {looks} %; {r['gain_points']:+.1f} ± "
                f"{r['half_width']:.1f} points over {r['splits']} splits, {r['labels']:.0f} labels, "
                f"{1e6 * r['j_a_label']:.0f} µJ each; calibration error {r['error_as_shipped']:.1f} points by the shipped "
                f"table, {r['error_told']:.1f} by what labels told ({r['error_less']:+.1f} ± {r['error_half_width']:.1f} less)"
            )
    return code if code is not None else 1


def choose(args: argparse.Namespace, data: dict[str, np.ndarray]) -> int:
    """Print mean accuracies in both worlds for some rules, on splits of their own."""
    table: dict[tuple[float, float], list[tuple[float, float]]] = {}
    for seed in range(1000, 1004):
        split = parts(data, seed)
        engine = compiled(args.shared, data, split[0])
        for forgetting in (0.99, 0.995, 0.998, 1.0):
            for prior in (0.001, 0.01, 0.1, 1.0):
                rule = RefitRule(forgetting=forgetting, prior=prior)
                exits = [k for k, e in enumerate(engine.container.exits) if not int(e["flags"]) & 1]
                for exit in exits:
                    got = [judge(engine, exit, rule, world, data, split) for world in ("noisy", "clean")]
                    key = (exit, forgetting, prior)
                    table.setdefault(key, []).append(tuple(100 * (g["labels_all"] - g["shipped"]) for g in got))
        print(f"split {seed}", file=sys.stderr, flush=True)
    for key, gains in sorted(table.items()):
        noisy, clean = np.mean(gains, axis=0)
        print(
            f"exit {key[0]} forgetting {key[1]:g} prior {key[2]:g}: {noisy:+.1f} points in noise, {clean:+.1f} without"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
