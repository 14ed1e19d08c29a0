# SPDX-License-Identifier: Apache-2.0
"""Cycles of the inner loops for AVX-512 VNNI, as llvm-mca models them: products a cycle, and of the peak.

    python tests/studies/model_vnni.py [--cpu icelake-server] [--compiler gcc] [--json loops.json]

Modelled: from the compiled kernels, without caches and mispredicted branches. The peak is the model's own, of independent
VPDPBUSD on all its ports. The last line adds up the loops of a convolution 3x3, 56x56x64 to 64.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from counted_programs import MissingToolError, tool

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc" / "kernels" / "avx512vnni"
FLAGS = ("-std=gnu11", "-O3", "-fno-strict-aliasing", "-ffp-contract=off", "-I", str(ROOT / "csrc"), "-S", "-o", "-")
PRODUCTS = 64  # of one VPDPBUSD on 64 bytes
ROUNDS = 200
OF_PEAK = 0.75
END_CYCLES = 10.1  # of sixteen sums, where they are also shifted to the left: GCC's slowest loop
LABEL = "modelled: cycles of llvm-mca, not time"
PEAK = "".join(f"vpdpbusd %zmm31, %zmm30, %zmm{i}\n" for i in range(16))


@dataclass(frozen=True)
class Loop:
    """An innermost loop: its function, its instructions, and how many of them multiply."""

    function: str
    body: str
    products: int
    instructions: int


def assembly(compiler: str, source: Path) -> str:
    """Return a kernel's assembly."""
    return subprocess.run(
        [tool(compiler, compiler), *FLAGS, str(source)], check=True, capture_output=True, text=True
    ).stdout


def loops_of(text: str) -> Iterator[Loop]:
    """Yield the innermost loops: from a label to a jump back to it, with no label between them."""
    function, label, body = "", "", list[str]()
    for line in text.splitlines():
        word = line.strip()
        if found := re.match(r"(\.?\w+):", word):
            label, body = found[1], []
            function = function if label.startswith(".L") else label
        elif word and not word.startswith((".", "#")):
            body.append(word)
            if re.match(rf"j\w+\s+{re.escape(label)}$", word):
                joined = "\n".join(body) + "\n"
                yield Loop(function, joined, len(re.findall(r"\bvpdpbusd\b", joined)), len(body))


def cycles(cpu: str, body: str) -> float:
    """Return the modelled cycles of one round."""
    model = tool("llvm-mca", "llvm")
    # a jump's target is no part of what is modelled
    text = re.sub(r"(?m)^(j\w+)\s+\S+$", r"\1 0", re.sub(r"#.*", "", body))
    command = [model, "-mtriple=x86_64", f"-mcpu={cpu}", f"-iterations={ROUNDS}", "-"]
    said = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Total Cycles:\s+(\d+)", said)
    assert found is not None
    return int(found[1]) / ROUNDS


def rows_of(cpu: str, compiler: str, peak: float) -> Iterator[dict[str, object]]:
    """Yield a row for each loop that multiplies or requantises."""
    for name in ("conv_s8", "fc_s8", "dwconv_s8", "add_s8"):
        for loop in loops_of(assembly(compiler, KERNELS / f"{name}.c")):
            if loop.products or "vpmuldq" in loop.body:
                each = cycles(cpu, loop.body)
                yield {"compiler": compiler, "file": name, "function": loop.function, "instructions": loop.instructions,
                       "products": loop.products, "rounds": "vpmovq2m" in loop.body,
                       "cycles": each, "of_peak": loop.products / each / peak}  # fmt: skip


def large_convolution(rows: list[dict[str, Any]], peak: float) -> float:
    """Return what share of the peak a convolution 3x3, 56x56x64 to 64, has at 8 bits: tiles, and ends without ReLU.

    Left out are gathering and what surrounds loops; ``make bench-vnni`` counts their instructions. Ends in which a compiler leaves
    branches are not modelled: they count as ``END_CYCLES``.
    """
    tile = next(row["cycles"] for row in rows if row["function"] == "tile_8_8_2")
    ends = [row["cycles"] for row in rows if row["file"] == "conv_s8" and row["rounds"]]
    pixels, blocks, steps = 56 * 56, 4, 3 * (3 * 64 // 4)
    whole = pixels / 8 * (blocks / 2) * steps * tile + pixels * blocks * min(ends, default=END_CYCLES)
    return pixels * blocks * steps / whole / peak


def main() -> int:
    """Print the table; exit code 1 where the large convolution stays below three quarters of the peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", default="icelake-server", help="a name that llvm-mca knows")
    parser.add_argument("--compiler", action="append", help="gcc and clang without")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    missed, kept = False, []
    try:
        peak = PEAK.count("\n") / cycles(args.cpu, PEAK)
        print(f"{LABEL}; {args.cpu}, peak {peak:.1f} VPDPBUSD a cycle = {peak * PRODUCTS:.0f} products")
        print(f"  {'':<6} {'loop':<28} {'instructions':>12} {'products':>9} {'cycles':>7} {'of peak':>8}")
        for compiler in args.compiler or ("gcc", "clang"):
            rows: list[dict[str, Any]] = list(rows_of(args.cpu, compiler, peak))
            for row in rows:
                share = f"{row['of_peak']:>8.0%}" if row["products"] else ""
                print(
                    f"  {compiler:<6} {row['function']:<28} {row['instructions']:>12} "
                    f"{row['products'] * PRODUCTS:>9} {row['cycles']:>7.1f} {share}"
                )
            share_of_peak = large_convolution(rows, peak)
            print(f"  {compiler:<6} 3x3 convolution 56x56x64 to 64, its loops: {share_of_peak:.1%} of peak", flush=True)
            missed |= share_of_peak < OF_PEAK
            kept += rows
    except MissingToolError as error:
        print(f"model_vnni: {error}", file=sys.stderr)
        return 2
    if args.json:
        args.json.write_text(json.dumps({"modelled": LABEL, "cpu": args.cpu, "peak": peak, "rows": kept}, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
