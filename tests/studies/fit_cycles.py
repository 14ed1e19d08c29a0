# SPDX-License-Identifier: Apache-2.0
"""Fit the [cycles] table of a virtual board: the linear model of board.toml to cycles counted op by op on that board.

    python tests/studies/fit_cycles.py --shared ../shared --board virtual_m4

Weighted ops come from the four MLPerf Tiny models at every precision, the others from tests/models too. Prints the table,
how far single ops are off, and how far whole models are off.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.layout import CODES
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.live.measure import measured_costs
from joulet.plan.cost import board_costs, work_class

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("kws_ref_model_int8", "vww_96_int8", "ic_resnet8_int8", "ad01_int8")
DENSE = ("conv", "conv1x1", "fc")
FACTORS = ("s8", "nested_w8", "nested_w4")


def sample_of(container: bytes) -> tuple[np.ndarray, ...]:
    """Return one random input."""
    rng = np.random.default_rng(0)
    arrays = []
    for info in HostEngine(container).inputs:
        if info.dtype.kind == "f":
            arrays.append(rng.standard_normal(info.shape).astype(info.dtype))
        else:
            limits = np.iinfo(np.dtype(info.dtype.str))
            arrays.append(rng.integers(limits.min, limits.max, info.shape, info.dtype.str, endpoint=True))
    return tuple(arrays)


def containers(shared: Path) -> dict[str, bytes]:
    """Return the models by name; the small ones hold the operators that the large ones lack."""
    source = shared / "data" / "mlperf_tiny" / "models"
    paths = [source / f"{name}.tflite" for name in MODELS] + sorted((ROOT / "tests" / "models").glob("*_int8.tflite"))
    return {path.stem: compile_model(path, exits="off").container for path in paths}


def main() -> int:
    """Fit; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--board", default="virtual_m4")
    args = parser.parse_args()
    weighted, plain, whole = defaultdict(list), defaultdict(list), {}
    for name, data in containers(args.shared).items():
        container = Container.from_bytes(data)
        measured = measured_costs(data, args.board, sample_of(data)).cycles.astype(np.float64)
        whole[name] = (container, measured)
        for precision in range(len(container.precisions)):
            for index, op in enumerate(container.ops):
                work, cycles = work_class(container, index), measured[precision, index]
                elements = int(container.tensors[int(op["output"])]["elements"])
                if work in (*DENSE, "dwconv"):
                    if name in MODELS:
                        storage = int(container.weights[int(op["weight"])]["storage"])
                        bits = int(container.layers[precision * len(container.weights) + int(op["weight"])]["bits"])
                        reading = "s8" if storage == CODES["Storage"]["S8"] else f"nested_w{bits}"
                        weighted[work].append((reading, int(op["macs"]), elements, cycles))
                else:
                    inputs = [int(container.tensors[int(t)]["elements"]) for t in op["inputs"][: int(op["n_inputs"])]]
                    plain[work].append((max([elements, *inputs]), cycles))
    factors = defaultdict(list)
    print("[cycles.per_mac]")
    per_output = {}
    for work, rows in weighted.items():
        readings = sorted({row[0] for row in rows})
        matrix = np.array([[row[1] * (row[0] == r) for r in readings] + [row[2]] for row in rows], np.float64)
        cycles = np.array([row[3] for row in rows])
        solved, *_ = np.linalg.lstsq(matrix / cycles[:, None], np.ones(len(rows)), rcond=None)
        slope = dict(zip(readings, solved, strict=False))
        base = slope.get("s8") or slope["nested_w8"] / 1.0
        per_output[work] = solved[-1]
        for reading in readings:
            factors["dw_" * (work == "dwconv") + reading].append(slope[reading] / base)
        error = matrix @ solved / cycles - 1
        print(f"{work} = {base:.2f}  # single ops {error.min():+.1%} to {error.max():+.1%}, {len(rows)} of them")
    print("\n[cycles.per_output]")
    for work, value in per_output.items():
        print(f"{work} = {max(value, 0.1):.1f}")
    print("\n[cycles.per_element]")
    for work, rows in sorted(plain.items()):
        ratio = np.array([cycles / elements for elements, cycles in rows if elements >= 64] or [c / e for e, c in rows])
        print(f"{work} = {np.median(ratio):.1f}  # {ratio.min():.1f} to {ratio.max():.1f}")
    print("\n[cycles.weight_factor]")
    for reading, values in factors.items():
        print(f"{reading} = {np.mean(values):.2f}")
    print("\n# whole models, the table as it stands in board.toml against what was counted")
    board = load_board(args.board)
    for name in MODELS:
        container, measured = whole[name]
        model = board_costs(container, board).cycles.astype(np.float64)
        errors = model.sum(axis=1) / measured.sum(axis=1) - 1
        print(
            f"# {name}: " + ", ".join(f"{p} {e:+.1%}" for p, e in zip(container.precision_names, errors, strict=True))
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
