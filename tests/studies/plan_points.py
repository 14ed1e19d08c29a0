# SPDX-License-Identifier: Apache-2.0
"""What ``joulet plan`` takes for two models, and that against what ``joulet build`` makes and a virtual board counts.

    python tests/studies/plan_points.py --shared ../shared

Keywords (400 labelled clips) on the virtual M0+ in 90,000 bytes of flash; visual wake words on the virtual M4, alone and in 30,000
bytes of RAM and 95,000 of flash, on CIFAR-10 images three times as large in place of its own (agreement with the imported model, no
accuracy). Exit code 1 when RAM or flash differ at all, or cycles to the last exit by more than 10 %.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from agreement import enlarged

from joulet.tools.main import main as joulet

CYCLES_LIMIT = 0.10


def clips(shared: Path) -> dict[str, np.ndarray]:
    """Return 400 labelled clips, drawn with a fixed seed."""
    with np.load(shared / "data" / "speech_commands" / "mfcc.npz", allow_pickle=False) as file:
        order = np.random.default_rng(0).permutation(len(file["y"]))[:400]
        return {"input_0": file["mfcc_int8"].reshape(-1, 49, 10, 1)[order], "labels": file["y"][order].astype(int)}


def printed(*words: str) -> dict[str, Any]:
    """Return what a command prints with --json."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        code = joulet([*words, "--json"])
    if code:
        raise SystemExit(f"joulet {' '.join(words)}: exit code {code}")
    found: dict[str, Any] = json.loads(text.getvalue())
    return found


def line(point: dict[str, Any]) -> str:
    """Return a point in words."""
    accuracy = "   -  " if point["accuracy"] is None else f"{100 * point['accuracy']:5.1f} %"
    return (
        f"{point['path']:<6} {point['weight_bits']:.2f} bits {accuracy} mean {point['mean_nj'] / 1e6:5.2f} end "
        f"{point['worst_nj'] / 1e6:5.2f} mJ RAM {point['ram_bytes']:>6,} flash {point['flash_bytes']:>7,} "
        f"bands {point['band_groups']}  {' '.join(point['exits'])}"
    )


def checked(model: Path, board: str, data: dict[str, np.ndarray], limits: list[str]) -> bool:
    """Plan, build, count; print; tell whether all agree."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "cal.npz", **data)
        planned = str(folder / "planned.jlt")
        words = ("plan", str(model), "--board", board, "--data", str(folder / "cal.npz"), "-o", planned, *limits)
        found = printed(*words)
        image = printed("build", planned, "--board", board, "-o", str(folder / "image"))
        path = found["chosen"]["path"]
        bench = printed("bench", planned, "--engine", f"virtual:{board}", "--precision", path)
    print(f"\n{model.stem} on {board} {' '.join(limits)}: {len(found['points'])} points in {found['seconds']:.0f} s")
    for point in sorted(
        (each for each in found["points"] if each["on_front"]), key=lambda each: -(each["accuracy"] or 0)
    ):
        print(f"  {line(point)}")
    chosen = found["chosen"]
    print(f"> {line(chosen)}; tight: {', '.join(each['limit'] for each in found['tight']) or 'nothing'}")
    flash = next(each["bytes"] for each in image["segments"] if each["name"] == "model")
    arena = image["memory"]["arena_bytes"]
    # the board was asked for the last exit alone, so heads on the way are not in its count
    last = sum(step["cycles"] for step in chosen["steps"] if step["exit"] in (None, len(chosen["exits"]) - 1))
    error = last / bench["cycles"] - 1
    print(
        f"  built: flash {flash:,}, arena {arena:,}; cycles {last:,} foretold, {bench['cycles']:,} counted, {error:+.1%}"
    )
    return (flash, arena) == (chosen["flash_bytes"], chosen["ram_bytes"]) and abs(error) <= CYCLES_LIMIT


def main() -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    args = parser.parse_args()
    models = args.shared / "data" / "mlperf_tiny" / "models"
    kws, vww = models / "kws_ref_model_int8.tflite", models / "vww_96_int8.tflite"
    images = {"input_0": enlarged(args.shared / "data" / "cifar10" / "train.npz", 0, 200)}
    fine = checked(kws, "virtual_m0plus", clips(args.shared), ["--flash-limit", "90000"])
    fine &= checked(vww, "virtual_m4", images, [])
    fine &= checked(vww, "virtual_m4", images, ["--ram-limit", "30000", "--flash-limit", "95000"])
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
