# SPDX-License-Identifier: Apache-2.0
"""From a model file to a board image in one command, timed: the four MLPerf Tiny networks, as .tflite and as .onnx.

Each row is one ``joulet build --board B MODEL --data CAL.npz``: import, exact passes, exits, precisions, calibration,
planning, firmware, image. The firmware's compiler cache is warmed once before. The int8 rows read the reference
.tflite; the float rows read an ONNX file with channels first that is made here from the float .tflite. Calibration data
of visual wake words and anomaly detection is surrogate: enlarged CIFAR-10 images, windows of the one recording at hand.

Printed are the seconds that passed, and those of one core that were spent: on a machine that others use too, the
second number is what two idle cores take at most.

Exit code 1 when a row takes 300 s or more.

    python tests/studies/one_command.py --shared ../shared [--board nucleo_l4r5zi] [--samples 1000] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from onnx_export import to_onnx

from joulet.importers.tflite import load_tflite
from joulet.passes.pipeline import exact_passes

LIMIT_S = 300.0
NETWORKS = {
    "kws": ("kws_ref_model", "labelled"),
    "ic": ("ic_resnet8", "labelled"),
    "vww": ("vww_96", "surrogate"),
    "ad": ("ad01", "surrogate"),
}


def real_inputs(name: str, data: Path, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return real-valued inputs ``(n, *shape)`` and labels where there are any."""
    if name == "kws":
        with np.load(data / "speech_commands" / "mfcc.npz", allow_pickle=False) as file:
            order = np.random.default_rng(0).permutation(len(file["y"]))[:count]
            x = (file["mfcc_int8"][order].astype(np.float32) - file["zero_point"]) * file["scale"]
            return x.astype(np.float32)[..., None], file["y"][order].astype(np.int64)
    if name == "ad":
        raw = np.fromfile(data / "mlperf_tiny" / "inputs" / "ad01_normal_id_01_00000000_hist_librosa.bin", "<f4")
        windows = np.lib.stride_tricks.sliding_window_view(raw, 640)[:: max(1, (len(raw) - 640) // count)]
        return np.ascontiguousarray(windows[:count], np.float32), None
    with np.load(data / "cifar10" / "train.npz", allow_pickle=False) as file:
        x = file["x"][:count].astype(np.float32)
        if name == "ic":
            return x, file["y"][:count].astype(np.int64)
        return x.repeat(3, axis=1).repeat(3, axis=2) / np.float32(255), None


def as_int8(graph, x: np.ndarray) -> np.ndarray:
    """Return real inputs on the grid of an int8 model's input."""
    quant = graph.tensors[graph.inputs[0]].quant
    return np.clip(np.rint(x / quant.scale[0]) + quant.zero_point, -128, 127).astype(np.int8)


def timed(model: Path, data: Path, board: str, out: Path) -> dict:
    """Return what one command took and said."""
    command = ["build", "--board", board, str(model), "--data", str(data), "-o", str(out), "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "joulet.tools.main", *command], env=env, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.monotonic() - start
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode != 0:
        return {"seconds": seconds, "cpu_seconds": spent, "error": done.stderr.strip().splitlines()[-1]}
    report = json.loads(done.stdout)["compiled"]
    return {
        "seconds": seconds,
        "cpu_seconds": spent,
        "container_bytes": report["container_bytes"],
        "exits": len(report["exits"]),
        "calibration_samples": report["calibration_samples"],
    }


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--board", default="nucleo_l4r5zi")
    parser.add_argument("--samples", type=int, default=1000, help="calibration samples (default 1000)")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="only this one; may be repeated")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data = args.shared / "data"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = Path(__file__).resolve().parents[1] / "models" / "dense_int8.tflite"
        subprocess.run(
            [sys.executable, "-m", "joulet.tools.main", "build", "--board", args.board, str(warm), "-o", str(folder / "w")],
            capture_output=True, check=False,
        )  # fmt: skip
        for network in args.network or NETWORKS:
            stem, kind = NETWORKS[network]
            x, labels = real_inputs(network, data, args.samples)
            more = {} if labels is None else {"labels": labels}
            integer = data / "mlperf_tiny" / "models" / f"{stem}_int8.tflite"
            np.savez(folder / "int8.npz", input_0=as_int8(load_tflite(integer), x), **more)
            np.savez(folder / "float.npz", input_0=x, **more)
            source = exact_passes(load_tflite(data / "mlperf_tiny" / "models" / f"{stem}_float32.tflite"))
            (folder / f"{stem}.onnx").write_bytes(to_onnx(source))
            for model, cal in ((integer, "int8.npz"), (folder / f"{stem}.onnx", "float.npz")):
                row = timed(model, folder / cal, args.board, folder / "out")
                rows.append({"model": model.name, "board": args.board, "calibration": kind, **row})
                if not args.json:
                    text = row.get("error") or f"{row['container_bytes']:,} bytes, {row['exits']} exits"
                    print(
                        f"{model.name:<28} {row['seconds']:7.1f} s  cpu {row['cpu_seconds']:6.1f} s  {kind:<9}  {text}",
                        flush=True,
                    )
    if args.json:
        print(json.dumps(rows, indent=1))
    return 0 if all(r["seconds"] < LIMIT_S and "error" not in r for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
