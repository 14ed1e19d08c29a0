# SPDX-License-Identifier: Apache-2.0
"""Code and constants of the engine for each MLPerf Tiny model on the virtual M4, without the model; beside TFLM's.

The firmware is built with the kernels of one model (``joulet build``), for all its precisions; its engine is linked again
behind the calls of an application, without start-up, drivers, link protocol and application (``joulet.firmware.code_size``).
``check`` is the container's, ``library`` memcpy and the compiler's functions; their sum is ``inference``, which has a limit.
``adaptive`` is what governor, ledger and survival of power cuts take beside it: TFLM has nothing like it.

::

    make study-code-size
    python tests/studies/code_size.py --shared ../shared [--container FILE.jlt ...] [--json]

Exit code 1 when a limit does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.firmware.build import build_firmware
from joulet.firmware.code_size import CodeSize, code_size

BOARD = "virtual_m4"
# model: most that inference may take, TFLM + CMSIS-NN's code and constants on a Cortex-M4 [bytes]: issue "Faster than every peer"
MODELS = {
    "kws_ref_model_int8": (24_000, 56_200),
    "vww_96_int8": (24_000, 56_200),
    "ic_resnet8_int8": (24_000, 56_200),
    "ad01_int8": (10_000, 31_300),
}
_COLUMNS = ("model", "check", "engine", "kernels", "library", "inference", "limit", "TFLM", "adaptive", "both")


def measured(model: bytes | None) -> CodeSize:
    """Return the sizes of an engine for a container; of the one for any model without."""
    planned = None if model is None else with_isa_plan(model, load_board(BOARD).isa)
    return code_size(build_firmware(BOARD, toolchain="gcc", model=planned))


def _row(name: str, size: CodeSize, limit: int | None, peer: int | None) -> tuple[str, ...]:
    numbers = (size.check, size.engine, size.kernels, size.library, size.inference, limit, peer, size.adaptive)
    texts = ("-" if number is None else f"{number:,}" for number in (*numbers, size.inference + size.adaptive))
    return (name, *texts)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--container", type=Path, action="append", default=[], help="this one too; has no limit")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    models = args.shared / "data" / "mlperf_tiny" / "models"
    sizes = {name: measured(compile_model(models / f"{name}.tflite", exits="off").container) for name in MODELS}
    others = {path.name: measured(path.read_bytes()) for path in args.container}
    broken = [name for name, (limit, _) in MODELS.items() if sizes[name].inference > limit]
    every = {**sizes, **others, "any model": measured(None)}
    if args.json:
        print(json.dumps({"board": BOARD, "sizes": {n: s.as_dict() for n, s in every.items()}, "broken": broken}))
        return int(bool(broken))
    rows = [_COLUMNS, *(_row(name, size, *MODELS.get(name, (None, None))) for name, size in every.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        cells = (text.rjust(w) if i else text.ljust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True)))
        print("  ".join(cells).rstrip())
    for name in broken:
        limit = MODELS[name][0]
        print(
            f"FAILED   {name}: {sizes[name].inference:,} bytes, {sizes[name].inference - limit:,} more than {limit:,}"
        )
    print(f"code size: {len(MODELS) - len(broken)} of {len(MODELS)} models within their limits on {BOARD} [bytes]")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
