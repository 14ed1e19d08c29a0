# SPDX-License-Identifier: Apache-2.0
"""No count may grow by more than 3 % over the committed baseline: instructions, memory and sizes on virtual boards.

``joulet bench`` runs the four MLPerf Tiny models on the virtual M4 and M0+ and on QEMU's M55 and RV32IMC, one random sample along
every path to the last exit; instructions are exact. Beside them: RAM as ``joulet inspect --board`` shows it, bytes of the
container with the board's plan, and flash and stack of the firmware. What shrinks by more than 3 % is named, so that the baseline
can follow.

::

    make bench-gate
    python tests/studies/bench_gate.py --shared ../shared --update     # rewrites tests/data/bench_baseline.json

Exit code 1 when something has grown, is new or is gone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.container.ram import ram_of
from joulet.container.read import Container
from joulet.firmware.build import build_firmware
from joulet.firmware.sizes import firmware_sizes
from joulet.tools.main import main as joulet

BASELINE = Path(__file__).resolve().parents[1] / "data" / "bench_baseline.json"
ENGINES = {"virtual_m4": "virtual", "virtual_m0plus": "virtual", "qemu_mps3_an547": "qemu", "qemu_riscv32_virt": "qemu"}
BOARDS = tuple(ENGINES)
MODELS = ("kws_ref_model_int8", "vww_96_int8", "ic_resnet8_int8", "ad01_int8")
PER_CENT = 3

Counts = dict[str, int]


def _bench(path: Path, board: str) -> Iterator[tuple[str, int]]:
    """Yield the instructions of each path, as ``joulet bench`` counts them."""
    out = StringIO()
    with redirect_stdout(out):
        code = joulet(["bench", str(path), "--engine", f"{ENGINES[board]}:{board}", "--json"])
    if code:
        raise SystemExit(f"bench-gate: joulet bench fails on {board} (exit code {code})")
    for row in json.loads(out.getvalue())["rows"]:
        yield f"{row['path']} instructions", int(row["instructions_per_inference"])


def measured(shared: Path) -> Counts:
    """Return every count by its name."""
    found: Counts = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            source = shared / "data" / "mlperf_tiny" / "models" / f"{name}.tflite"
            content = compile_model(source, exits="off").container
            path = Path(folder) / f"{name}.jlt"
            path.write_bytes(content)
            for board in BOARDS:
                isa = load_board(board).isa
                ram = ram_of(Container.from_bytes(content), isa)
                counts = dict(_bench(path, board))
                counts |= {"RAM bytes": ram.total_bytes, "tensor bytes": ram.activation_bytes}
                counts["container bytes"] = len(with_isa_plan(content, isa))
                found |= {f"{board} {name} {what}": count for what, count in counts.items()}
                print(f"  {board} {name}", file=sys.stderr, flush=True)
    for board in BOARDS:
        sizes = firmware_sizes(build_firmware(board, toolchain="gcc"))
        found[f"{board} engine flash bytes"] = sizes.engine_flash
        found[f"{board} firmware flash bytes"] = sizes.flash
        found[f"{board} stack bytes"] = sizes.stack_bound
    return found


def compared(baseline: Counts, found: Counts) -> tuple[list[str], list[str]]:
    """Return what must not be, and what may be taken into the baseline."""
    faults = [f"{name}: not in the baseline" for name in found.keys() - baseline.keys()]
    faults += [f"{name}: no longer measured" for name in baseline.keys() - found.keys()]
    shrunk = []
    for name in sorted(found.keys() & baseline.keys()):
        before, after = baseline[name], found[name]
        change = 100 * (after - before)
        line = f"{name}: {before:,} -> {after:,} ({change / max(before, 1):+.1f} %)"
        if change > PER_CENT * before:
            faults.append(line)
        elif change < -PER_CENT * before:
            shrunk.append(line)
    return sorted(faults), shrunk


def main(argv: list[str] | None = None) -> int:
    """Measure and compare, or measure and write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--update", action="store_true", help="rewrite the baseline")
    args = parser.parse_args(argv)
    found = measured(args.shared)
    if args.update:
        args.baseline.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"bench-gate: {len(found)} counts written to {args.baseline}")
        return 0
    faults, shrunk = compared(json.loads(args.baseline.read_text(encoding="utf-8")), found)
    for line in shrunk:
        print(f"smaller  {line}")
    for line in faults:
        print(f"FAILED   {line}")
    print(f"bench-gate: {len(found)} counts, {len(faults)} beyond {PER_CENT} %, {len(shrunk)} to be updated")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
