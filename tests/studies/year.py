# SPDX-License-Identifier: Apache-2.0
"""A year of one event a minute, decisions at every exit: seconds of the loop in C and of the oracle, on one core.

    python tests/studies/year.py --shared ../shared [--model M.jlt --data EVAL.npz] [--capacitor 10mF] [--json]

Without a model, the keyword model of the shared data is compiled on half of its speakers' clips and judged on the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from joulet.compile import compile_model
from joulet.policies import make_policy
from joulet.simulate.job import Job, make_cell
from joulet.units import parse_quantity

sys.path.append(str(Path(__file__).resolve().parent))

from kws_exits import speakers

TARGETS_S = {"loop": 1.0, "oracle": 60.0}


def keyword_model(shared: Path, folder: Path) -> tuple[Path, Path]:
    """Compile the keyword model on half of the speakers; return container and the others' clips."""
    held = np.load(shared / "data" / "speech_commands" / "mfcc.npz")
    clips, labels = held["mfcc_int8"].reshape(-1, 49, 10, 1), held["y"].astype(np.int64)
    who = speakers(held["names"])
    first = np.isin(who, np.unique(who)[::2])
    source = shared / "data" / "mlperf_tiny" / "models" / "kws_ref_model_int8.tflite"
    result = compile_model(source, data={"input_0": clips[first], "labels": labels[first]}, exits=3)
    (folder / "kws.jlt").write_bytes(result.container)
    np.savez(folder / "eval.npz", input_0=clips[~first], labels=labels[~first])
    return folder / "kws.jlt", folder / "eval.npz"


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    """Return (seconds of CPU, result)."""
    start_s = time.process_time()
    result = what()
    return time.process_time() - start_s, result


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--capacitor", default="10mF")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, data = (args.model, args.data) if args.model else keyword_model(args.shared, Path(folder))
        job = Job(
            model=model,
            data=data,
            trace=str(args.shared / "data" / "energy_traces" / "nrel_ehmodel_2015.csv.gz"),
            policies=(),
            arrivals="periodic:60s",
            capacitor_f=parse_quantity(args.capacitor, "F"),
            harvest_ratio=1.0,
        )
        cell = make_cell(job)
    fit_s, policy = timed(lambda: cell.prepare(lambda: make_policy("shadow")))
    cell.realise(policy)  # lays out the model once
    loop_s, run = timed(lambda: cell.realise(policy))
    expected = cell.expect(policy)
    oracle_s, bound = timed(lambda: cell.oracle_energy)
    found = {
        "events": len(run.status),
        "decisions": run.decisions,
        "fit_s": fit_s,
        "loop_s": loop_s,
        "oracle_s": oracle_s,
        "score": float(run.correct().mean()),
        "pct_of_oracle_energy": 100.0 * float(expected.correct().sum()) / bound,
        "residual": run.ledger.residual_fraction,
    }
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print(f"{found['events']:,} events, {found['decisions']:,} decisions")
        print(
            f"loop {loop_s:.2f} s (target {TARGETS_S['loop']:g}), oracle {oracle_s:.1f} s (target {TARGETS_S['oracle']:g})"
        )
        print(
            f"fit {fit_s:.1f} s; shadow {found['pct_of_oracle_energy']:.1f} % of oracle-energy, score {found['score']:.3f}"
        )
    return 0 if loop_s < TARGETS_S["loop"] and oracle_s < TARGETS_S["oracle"] else 1


if __name__ == "__main__":
    sys.exit(main())
