# SPDX-License-Identifier: Apache-2.0
"""Lay out everything that the study of the price of a joule needs in one folder: samples, models, traces, study.toml.

Models are fitted on samples that they are not judged on: keyword spotting by speaker, images by CIFAR-10's own split.
The folder needs nothing else, so it can be moved to where a cluster sees it.

    python tests/studies/price_data.py --shared ../shared --out build/study-price
    joulet sweep build/study-price/study.toml --out build/study-price/results
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np

IMAGES = 2500
SPLIT_SEED = 2024


def speakers(names: np.ndarray) -> np.ndarray:
    """Return who speaks in each clip; every clip without a speaker in its name (silence) is a speaker of its own."""
    found = []
    for name in names.tolist():
        stem = name.split("/")[-1]
        found.append(stem.split("_nohash")[0].split("_")[-1] if "_nohash" in stem else name)
    return np.asarray(found)


def keyword_clips(shared: Path, out: Path) -> dict[str, int]:
    """Write kws_fit.npz and kws_eval.npz, no speaker in both; return their sizes."""
    with np.load(shared / "data" / "speech_commands" / "mfcc.npz", allow_pickle=False) as file:
        clips, labels, names = file["mfcc_int8"][..., None], file["y"].astype(np.int64), file["names"]
    who = speakers(names)
    people, group = np.unique(who, return_inverse=True)
    chosen = np.random.default_rng(SPLIT_SEED).permutation(len(people))[: len(people) // 2]
    fit = np.isin(who, people[chosen])
    np.savez_compressed(out / "kws_fit.npz", input_0=clips[fit], labels=labels[fit], groups=group[fit])
    np.savez_compressed(out / "kws_eval.npz", input_0=clips[~fit], labels=labels[~fit])
    return {"kws_fit": int(fit.sum()), "kws_eval": int((~fit).sum())}


def images(shared: Path, out: Path) -> dict[str, int]:
    """Write ic_fit.npz from training images and ic_eval.npz from test images; return their sizes."""
    sizes = {}
    for name, source in (("ic_fit", "train"), ("ic_eval", "test")):
        with np.load(shared / "data" / "cifar10" / f"{source}.npz", allow_pickle=False) as file:
            x, y = file["x"][:IMAGES], file["y"][:IMAGES].astype(np.int64)
        np.savez_compressed(out / f"{name}.npz", input_0=(x.astype(np.int16) - 128).astype(np.int8), labels=y)
        sizes[name] = len(y)
    return sizes


def main() -> int:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    data = args.shared / "data"
    if not (data / "energy_traces").is_dir():
        print(
            f"price_data: error: there is no {data / 'energy_traces'}; name the folder with --shared", file=sys.stderr
        )
        return 2
    (args.out / "traces").mkdir(parents=True, exist_ok=True)
    sizes = {**keyword_clips(args.shared, args.out), **images(args.shared, args.out)}
    for model in ("kws_ref_model_int8.tflite", "ic_resnet8_int8.tflite"):
        shutil.copyfile(data / "mlperf_tiny" / "models" / model, args.out / model)
    traces = sorted((data / "energy_traces").glob("*.csv.gz"))
    for trace in traces:
        shutil.copyfile(trace, args.out / "traces" / trace.name)
    shutil.copyfile(Path(__file__).with_name("price.toml"), args.out / "study.toml")
    print(
        ", ".join(f"{name} {count:,}" for name, count in sizes.items()) + f" samples, {len(traces)} traces: {args.out}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
