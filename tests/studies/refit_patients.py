# SPDX-License-Identifier: Apache-2.0
"""An exit's head fitted again to one patient: heartbeats of people that the detector never met, in the order of recording.

The zoo's detector of ectopic beats was trained on other patients. Each beat of a test patient is answered first, and then its label
is learned, from the shipped head on for each patient; judged is the second half of each recording. Printed: right answers as
shipped and with labels, and the expected calibration error (ten bins) of the shipped exit, of the learned head by the shipped
table, and of the learned head by what the labels told (csrc/core/prequential.h). Means over patients, who are two: a case, and no
statistic.

    python tests/studies/refit_patients.py --shared ../shared [--json]

Exit code 1 when the first exit does not gain, or its confidences are further off than by the shipped table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from ood import calibration_error

from joulet.engine.host import HostEngine
from joulet.engine.refit import HeadRefit, RefitRule
from joulet.errors import DataError
from joulet.zoo.datasets import load_split
from joulet.zoo.get import shipped_entry
from joulet.zoo.recipe import load_recipe


def detector() -> HostEngine:
    """Return the zoo's own."""
    entry = shipped_entry(load_recipe("ecg"))
    if entry is None:
        raise DataError("the package lacks its ECG model; install joulet again")
    return HostEngine(entry.container)


def follow(engine: HostEngine, exit: int, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the figures of one patient, judged on the second half of the beats."""
    half = len(y) // 2
    table = engine.container.confidence[int(engine.container.paths[0]["confidence"][exit])] / 32768.0
    shipped = engine.infer([x], path=0, depth=exit)
    as_shipped = shipped.outputs[0].reshape(len(y), -1).argmax(axis=1) == y
    refit = HeadRefit(engine, exit, RefitRule())
    right, told, by_table = np.zeros(len(y), bool), np.zeros(len(y)), np.zeros(len(y))
    for k, label in enumerate(y.tolist()):
        engine.start([x[k][None]], 0)
        told[k] = engine.run_to_exit(exit).confidence_q15 / 32768.0
        predicted, margin = refit.last
        right[k], by_table[k] = predicted == label, table[margin >> 3]
        refit.learn(label)
    refit.close()
    late = slice(half, None)
    return {
        "shipped_percent": 100.0 * float(as_shipped[late].mean()),
        "learned_percent": 100.0 * float(right[late].mean()),
        "error_shipped": calibration_error(shipped.confidence_q15[late] / 32768.0, as_shipped[late]),
        "error_by_shipped_table": calibration_error(by_table[late], right[late]),
        "error_told": calibration_error(told[late], right[late]),
    }


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    test, engine = load_split("mitbih", args.shared / "data" / "ecg_mitbih", "test"), detector()
    assert test.groups is not None
    results = []
    for exit, record in enumerate(engine.container.exits):
        if int(record["flags"]) & 1:
            continue
        each = [
            follow(engine, exit, test.x[test.groups == p], test.y[test.groups == p]) for p in np.unique(test.groups)
        ]
        mean = {key: float(np.mean([row[key] for row in each])) for key in each[0]}
        results.append({"exit": engine.exit_names[exit], "patients": len(each), **mean})
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        for r in results:
            print(
                f"{r['exit']:6} as shipped {r['shipped_percent']:.2f} % right, with labels {r['learned_percent']:.2f} %; "
                f"calibration error as shipped {r['error_shipped']:.2f} points, with labels by the shipped table "
                f"{r['error_by_shipped_table']:.2f}, as told {r['error_told']:.2f}; {r['patients']} patients"
            )
    first = results[0]
    gains = first["learned_percent"] > first["shipped_percent"]
    return 0 if gains and first["error_told"] < first["error_by_shipped_table"] else 1


if __name__ == "__main__":
    sys.exit(main())
