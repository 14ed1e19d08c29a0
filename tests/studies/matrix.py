# SPDX-License-Identifier: Apache-2.0
"""The same container gives the same bytes everywhere: four MLPerf Tiny models on every virtual and QEMU board against
the C engine of this machine, along every path to every exit.

    python tests/studies/matrix.py --shared ../shared                     # all of it: 32 inputs each
    python tests/studies/matrix.py --shared ../shared --inputs 1 --boards virtual:virtual_m4,qemu:qemu_mps3_an547

Outputs, exits, confidences and MACs are compared. Where the image of a virtual board also runs under QEMU, instructions
are compared as well: per op they differ by the few of another timer driver, and by nothing else. Exit code 1 for any
difference.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from joulet.compile import compile_model
from joulet.engine.host import HostEngine
from joulet.tools.engines import open_engine

BOARDS = (
    "virtual:virtual_m4",
    "virtual:virtual_m0plus",
    "qemu:virtual_m4",
    "qemu:virtual_m0plus",
    "qemu:qemu_mps2_an385",
    "qemu:qemu_mps2_an386",
    "qemu:qemu_mps2_an505",
    "qemu:qemu_mps3_an547",
    "qemu:qemu_riscv32_virt",
)
MODELS = {
    "kws": "kws_ref_model_int8",
    "vww": "vww_96_int8",
    "ic": "ic_resnet8_int8",
    "ad": "ad01_int8",
}
CALIBRATION = 96


def samples(model: Path, recorded: Path, count: int) -> np.ndarray:
    """Return recorded inputs as far as there are any, then random ones, in the model's type."""
    info = HostEngine(compile_model(model, exits="off").container).inputs[0]
    limits = np.iinfo(np.dtype(info.dtype.str))
    rng = np.random.default_rng(1)
    x = rng.integers(limits.min, limits.max, (count, *info.shape[1:]), info.dtype.str, endpoint=True)
    if recorded.is_file():
        archive = np.load(recorded)
        for name in archive.files:
            found = archive[name]
            if found.dtype == np.uint8 and info.dtype == np.int8:
                found = (found ^ np.uint8(0x80)).view(np.int8)
            if found.dtype == info.dtype and found.size and found[0].size == x[0].size:
                found = found.reshape(-1, *x.shape[1:])[:count]
                x[: len(found)] = found
    return x


def container_of(model: Path, x: np.ndarray) -> bytes:
    """Compile with two exits, calibrated on random inputs that the model itself has labelled."""
    bare = HostEngine(compile_model(model, exits="off").container)
    if bare.outputs[0].shape[-1] == int(np.prod(bare.inputs[0].shape[1:])):
        return compile_model(model, data={"input_0": x}, exits="off").container  # an autoencoder has no classes
    labels = bare.infer([x]).outputs[0].reshape(len(x), -1).argmax(axis=1)
    return compile_model(model, data={"input_0": x, "labels": labels}, exits=2).container


def compare(path: Path, spec: str, x: np.ndarray) -> dict[str, Any]:
    """Run every path to every exit on a board and on this machine; return what differs."""
    host = HostEngine(path)
    cells = differing = 0
    instructions: dict[str, list[int]] = {}
    begun_s = time.monotonic()
    with open_engine(path, spec) as engine:
        for name in engine.path_names:
            for exit in (*range(len(engine.exit_names)), "auto"):
                ours, theirs = host.infer([x], path=name, depth=exit), engine.infer([x], path=name, depth=exit)
                same = all(np.array_equal(a, b) for a, b in zip(ours.outputs, theirs.outputs, strict=True))
                for field in ("exit", "confidence_q15", "macs"):
                    same = same and np.array_equal(getattr(ours, field), getattr(theirs, field))
                cells += len(x)
                differing += 0 if same else len(x)
                if theirs.instructions is not None and theirs.instructions.any():
                    instructions[f"{name}/{exit}"] = [int(count) for count in theirs.instructions]
    return {
        "model": path.stem,
        "board": spec,
        "inferences": cells,
        "differing": differing,
        "seconds": time.monotonic() - begun_s,
        "instructions": instructions,
    }


def counts_agree(rows: list[dict[str, Any]]) -> list[str]:
    """Return where a virtual board and QEMU count differently for the same image, other than by a constant per op."""
    wrong = []
    by_key = {(row["model"], row["board"]): row["instructions"] for row in rows}
    for (model, board), virtual in by_key.items():
        if not board.startswith("virtual:") or (model, f"qemu:{board[8:]}") not in by_key:
            continue
        qemu = by_key[(model, f"qemu:{board[8:]}")]
        for key, counts in virtual.items():
            gaps = {b - a for a, b in zip(counts, qemu[key], strict=True)}
            # one gap for all inputs of a path and exit, and small: the ops are the same, the inputs are not
            if (len(gaps) != 1 and not key.endswith("/auto")) or any(abs(gap) > 20 * 64 for gap in gaps):
                wrong.append(f"{model} {board} {key}: {sorted(gaps)}")
    return wrong


def main() -> int:
    """Run the matrix; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--inputs", type=int, default=32)
    parser.add_argument("--boards", default=",".join(BOARDS))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    source = args.shared / "data" / "mlperf_tiny"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for short in args.models.split(","):
            model = source / "models" / f"{MODELS[short]}.tflite"
            x = samples(model, source / "inputs" / f"{short}_sample_inputs.npz", max(args.inputs, CALIBRATION))
            path = Path(folder) / f"{short}.jlt"
            path.write_bytes(container_of(model, x))
            for spec in args.boards.split(","):
                rows.append(compare(path, spec, x[: args.inputs]))
                if not args.json:
                    last = rows[-1]
                    print(
                        f"{short:<4} {spec:<24} {last['inferences']:>6} inferences, {last['differing']} differ, "
                        f"{last['seconds']:.0f} s",
                        flush=True,
                    )
    wrong = counts_agree(rows)
    differing = sum(row["differing"] for row in rows)
    total = sum(row["inferences"] for row in rows)
    if args.json:
        print(json.dumps({"rows": rows, "differing": differing, "counts_differ": wrong}, indent=2))
    else:
        print(f"{total} inferences, {differing} differ from this machine; instruction counts: {len(wrong)} disagree")
    for reason in wrong:
        print(f"FAILED: {reason}", file=sys.stderr)
    return 1 if differing or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
