# SPDX-License-Identifier: Apache-2.0
"""Four MLPerf Tiny models against LiteRT with XNNPACK on this machine, one thread each, in turns, and one large convolution
against the core's peak of int8 products.

    python tests/studies/bench_host.py --shared ../shared [--isa AVX2]

Medians of the thread's time on the core, without what a call from Python costs, which is measured on calls that do nothing; the
last column is the ratio with it. The targets in the table are those for AVX-512 VNNI; other cores have none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tflite_build import ModelBuilder

from joulet.compile import compile_model
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph
from joulet.tools.bench import samples_for
from joulet.tools.bench_host import against_litert, op_rows, peak_gmac_per_s

MODELS = {"kws": "kws_ref_model_int8", "vww": "vww_96_int8", "ic": "ic_resnet8_int8", "ad": "ad01_int8"}
TARGETS = {("kws", "w8"): 0.6, ("vww", "w8"): 0.4, ("ic", "w8"): 0.9, ("ad", "w8"): 0.8, ("ad", "w4"): 0.6}
OF_PEAK = 0.75


def large_convolution() -> bytes:
    """Return a container of one 3x3 convolution, 56x56x64 to 56x56x64."""
    b, rng = ModelBuilder("large"), np.random.default_rng(0)
    x = b.tensor("x", (1, 56, 56, 64), scale=0.05, zero=-3)
    w = b.tensor("w", (64, 3, 3, 64), scale=[0.004] * 64, data=rng.integers(-127, 128, (64, 3, 3, 64)).astype(np.int8))
    bias = b.tensor("b", (64,), "INT32", data=rng.integers(-900, 900, 64).astype(np.int32))
    y = b.tensor("y", (1, 56, 56, 64), scale=0.2, zero=4)
    b.op("CONV_2D", (x, w, bias), (y,), "Conv2DOptions", StrideH=1, StrideW=1, DilationHFactor=1, DilationWFactor=1,
         Padding=0, FusedActivationFunction=0)  # fmt: skip
    return write_container(bare_quant_graph(load_tflite(b.finish([x], [y])), ("w8", "w4")))


def main() -> int:
    """Print the table; exit code 1 where a target for this core is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--isa", help="whose kernels run; this core's best without")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    isa = HostEngine(large_convolution(), isa=args.isa).isa
    peak = peak_gmac_per_s(isa)
    judged = isa == "AVX512VNNI"
    print(f"{isa}, peak {peak:.0f} GMAC/s" if peak else isa)
    print(
        f"  {'model':<6} {'path':<5} {'LiteRT us':>10} {'us':>8} {'ratio':>6} {'target':>7} {'GMAC/s':>7} {'of peak':>8} "
        f"{'from Python':>12}"
    )
    rows, missed = [], 0
    for name, stem in MODELS.items():
        path = args.shared / "data" / "mlperf_tiny" / "models" / f"{stem}.tflite"
        engine = HostEngine(compile_model(path, exits="off").container, isa=isa)
        paths = [each for each in ("w8", "w4") if each in engine.path_names]
        measured = against_litert(engine, path, paths, samples_for(None, engine.inputs, 1))
        for row in measured["rows"]:
            target = TARGETS.get((name, row["path"])) if judged else None
            missed += target is not None and row["ratio_to_litert"] > target
            rows.append({"model": name, "litert_s": measured["litert_s"], "target": target, **row})
            share = f"{row['gmac_per_s'] / peak:>8.0%}" if peak else f"{'-':>8}"
            print(
                f"  {name:<6} {row['path']:<5} {measured['litert_s'] * 1e6:>10.1f} {row['time_s'] * 1e6:>8.1f} "
                f"{row['ratio_to_litert']:>6.2f} {target or '-':>7} {row['gmac_per_s']:>7.1f} {share} "
                f"{row['ratio_from_python']:>12.2f}",
                flush=True,
            )
    calls = ", ".join(f"{who} {seconds * 1e6:.2f}" for who, seconds in measured["call_s"].items())
    print(f"  a call from Python [us]: {calls}")
    large = HostEngine(large_convolution(), isa=isa)
    for path in ("w8", "w4"):
        rate = op_rows(large, path, 20)[0]["gmac_per_s"]
        rows.append({"model": "conv 3x3 56x56x64 to 64", "path": path, "gmac_per_s": rate})
        print(
            f"  3x3 convolution 56x56x64 to 64, {path}: {rate:.1f} GMAC/s"
            + (f", {rate / peak:.0%} of peak" if peak else "")
        )
        missed += judged and peak is not None and path == "w8" and rate < OF_PEAK * peak
    if args.json:
        args.json.write_text(json.dumps({"isa": isa, "peak_gmac_per_s": peak, "rows": rows}, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
