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
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from judges import Judge, judge_for

from joulet.container.write import write_container
from joulet.engine.host import HostEngine
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


def real_inputs(shared: Path, name: str, judge: Judge) -> list[np.ndarray] | None:
    """Return the recorded inputs that fit a model, or None where there are none."""
    inputs = shared / "data" / "mlperf_tiny" / "inputs"
    if name == "kws_ref_model_int8":
        with np.load(shared / "data" / "speech_commands" / "mfcc.npz", allow_pickle=False) as data:
            return [data["mfcc_int8"].reshape(-1, *judge.inputs[0][0])]
    if name.startswith("ic_resnet8"):
        with np.load(shared / "data" / "cifar10" / "test.npz", allow_pickle=False) as data:
            return [(data["x"][:500].astype(np.int16) - 128).astype(np.int8).reshape(-1, *judge.inputs[0][0])]
    golden = shared / "data" / "tflite_corpus" / "golden" / f"{name}.npz"
    samples = {"vww_96_int8": "vww_sample_inputs.npz", "sww_streaming_int8": "sww_calibration_samples.npz"}.get(name)
    source = inputs / samples if samples else golden
    if not source.exists():
        return None
    shape, dtype = judge.inputs[0]
    with np.load(source, allow_pickle=False) as data:
        fits = [
            data[key] for key in data.files if data[key].dtype == dtype and data[key].size % int(np.prod(shape)) == 0
        ]
    fits = [array for array in fits if array.size]
    return [fits[0].reshape(-1, *shape)] if fits and len(judge.inputs) == 1 else None


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
    real = real_inputs(shared, path.stem, judge)
    if real is not None:
        sets.append(real)
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
        "samples": sum(len(arrays[0]) for arrays in sets),
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
        path for folder in folders for path in folder.glob("*.tflite") if "int8" in path.stem or "fullint" in path.stem
    )
    rows = []
    for path in paths:
        if args.model not in path.stem:
            continue
        row = compare(path, args.shared, args.samples)
        rows.append(row)
        if not args.json:
            verdict = row.get("refused") or f"{row['differing']} of {row['values']} values differ from {row['judge']}"
            print(f"{row['model']:40} {verdict}", flush=True)
    if args.json:
        print(json.dumps({"models": rows}))
    return int(any(row.get("differing") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
