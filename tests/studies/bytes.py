# SPDX-License-Identifier: Apache-2.0
"""Every int8 model of a folder against its judge, byte for byte.

The judge is TensorFlow Lite Micro; where it lacks an op or type, LiteRT's reference resolver. Prints one row a model
and, with --json, one object. Exit code 1 when any byte differs.

    python tests/studies/bytes.py --shared ../shared [--samples 64] [--model NAME]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from judges import Judge, judge_for

from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.engine.seam import TensorInfo
from joulet.errors import JouletError
from joulet.importers.tflite import load_tflite
from joulet.passes.pipeline import exact_passes
from joulet.quant.bare import bare_quant_graph


def random_inputs(judge: Judge, samples: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return one array an input, ``(samples, *shape)``, over the whole range of its dtype (floats: −4..4)."""
    arrays = []
    for shape, dtype in judge.inputs:
        if np.issubdtype(dtype, np.integer):
            info = np.iinfo(dtype)
            arrays.append(rng.integers(info.min, info.max + 1, (samples, *shape), dtype=dtype))
        else:
            arrays.append(rng.uniform(-4, 4, (samples, *shape)).astype(dtype))
    return arrays


def as_borders(arrays: Sequence[np.ndarray], infos: Sequence[TensorInfo]) -> list[np.ndarray]:
    """Return recorded arrays, one an input, shaped as batches and quantised where they are real values."""
    out = []
    for array, info in zip(arrays, infos, strict=True):
        if array.dtype != info.dtype and array.dtype.kind == "f" and info.scale:
            bounds = np.iinfo(info.dtype)
            array = np.clip(np.round(array / info.scale) + info.zero_point, bounds.min, bounds.max)
        elif array.dtype == np.uint8 and info.dtype == np.int8:
            array = array.astype(np.int16) - 128
        out.append(array.astype(info.dtype).reshape(-1, *info.shape))
    return out


def recorded(data: Path, name: str) -> list[list[np.ndarray]]:
    """Return the recorded inputs that come with a model: sets of one array an input, ``(n, …)``."""
    inputs = data / "mlperf_tiny" / "inputs"
    sets: list[list[np.ndarray]] = []
    if name == "kws_ref_model_int8":
        sets.append([np.load(data / "speech_commands" / "mfcc.npz")["mfcc_int8"]])
        sets.append([np.load(inputs / "kws_sample_inputs.npz")["x"]])
    elif name.startswith("ic_resnet8"):
        sets.append([np.load(data / "cifar10" / "test.npz")["x"][:500]])
        sets.append([np.load(inputs / "ic_sample_inputs.npz")["x"]])
    elif name == "sww_streaming_int8":
        sets.append([np.load(inputs / "sww_calibration_samples.npz")["specs"]])
    elif name.startswith("ad"):
        mels = np.fromfile(next(inputs.glob("ad01_*.bin")), "<f4").reshape(-1, 128)
        sets.append([np.lib.stride_tricks.sliding_window_view(mels, (5, 128))[:, 0].reshape(-1, 640)])
    golden = data / "tflite_corpus" / "golden" / f"{name}.npz"
    if golden.exists():
        with np.load(golden) as vectors:
            count = len({key.split("_")[0] for key in vectors.files if key.startswith("in")})
            for sample in range(sum(key.startswith("in0_") for key in vectors.files)):
                sets.append([vectors[f"in{index}_s{sample}"] for index in range(count)])
    return sets


def compare(path: Path, shared: Path, samples: int) -> dict[str, object]:
    """Return how many bytes of one model's outputs differ from its judge's."""
    try:
        container = write_container(bare_quant_graph(exact_passes(load_tflite(path))))
    except JouletError as error:
        return {"model": path.stem, "refused": str(error)}
    engine = HostEngine(container)
    judge = judge_for(path)
    rng = np.random.default_rng(1)
    sets = [random_inputs(judge, samples, rng)]
    sets += [as_borders(arrays, engine.inputs) for arrays in recorded(shared / "data", path.stem)]
    differing, total, spent = 0, 0, 0.0
    for arrays in sets:
        expected = judge.run(arrays)
        begin = time.perf_counter()
        got = engine.infer(arrays).outputs
        spent += time.perf_counter() - begin
        for ours, theirs in zip(got, expected, strict=True):
            differing += int(np.count_nonzero(ours.reshape(-1) != theirs.reshape(-1)))
            total += theirs.size
    return {
        "model": path.stem,
        "judge": judge.name,
        "samples_random": samples,
        "samples_recorded": sum(len(arrays[0]) for arrays in sets[1:]),
        "values": total,
        "differing": differing,
        "seconds": round(spent, 2),
    }


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shared", type=Path, required=True, help="folder that holds data/mlperf_tiny and data/tflite_corpus"
    )
    parser.add_argument("--samples", type=int, default=64, help="random inputs a model")
    parser.add_argument("--model", default="", help="only models whose name contains this")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    folders = [args.shared / "data" / part / "models" for part in ("mlperf_tiny", "tflite_corpus")]
    paths = sorted(
        path
        for folder in folders
        for path in folder.glob("*.tflite")
        if any(part in path.stem for part in ("int8", "fullint"))
    )
    rows = []
    for path in paths:
        if args.model not in path.stem:
            continue
        row = compare(path, args.shared, args.samples)
        rows.append(row)
        if not args.json:
            verdict = row.get("refused") or f"{row['differing']} of {row['values']} values differ from {row['judge']}"
            if "judge" in row:
                verdict += f" ({row['samples_random']} random and {row['samples_recorded']} recorded samples)"
            print(f"{row['model']:40} {verdict}", flush=True)
    if args.json:
        print(json.dumps({"models": rows}))
    return int(any(row.get("differing") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
