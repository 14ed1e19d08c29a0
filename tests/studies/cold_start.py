# SPDX-License-Identifier: Apache-2.0
"""What a power-up costs before the first op: exact instructions on the virtual M4, beside TFLM's AllocateTensors.

The board boots twice. The first boot checks every byte of the container and notes that in FRAM; the second one reopens it. Each
function is counted from its first instruction to its caller's next one, in the firmware as it is built for the board:

* ``check``: jlt_container_check at the first boot, for comparison;
* ``reopen``: jlt_container_reopen, which takes up the board's plan part too (at most 2,000 instructions);
* ``init`` and ``start``: jlt_engine_init and jlt_engine_start.

::

    python tests/studies/cold_start.py --shared ../shared [--json]

Exit code 1 when a reopening takes more than 2,000.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.emulator.board import VirtualBoard
from joulet.firmware.linked import Linked

BOARD = "virtual_m4"
MOST = 2_000
MODELS = {  # TFLM + CMSIS-NN, AllocateTensors on a Cortex-M4 [instructions]: issue "Faster than every peer"
    "kws_ref_model_int8": 790_000,
    "vww_96_int8": 3_520_000,
    "ic_resnet8_int8": 540_000,
    "ad01_int8": 83_000,
}


class Probe:
    """A board whose functions are counted as it boots."""

    def __init__(self, container: bytes) -> None:
        self.board = VirtualBoard(BOARD)
        self.board.load(self.board.facts.slots["model"].address, container)
        self._linked = Linked(self.board.firmware)

    def boot(self) -> None:
        """Turn the power on; nothing has run yet."""
        if self.board.on:
            self.board.cut()
        self.board.power_on()

    def reach(self, function: str) -> None:
        """Run to the next call of a function.

        Raises
        ------
        SystemExit
            When the board never calls it.
        """
        core, entry = self.board.core, self._linked.only(function)
        core.run_to(entry)
        if core.pc & ~1 != entry:
            raise SystemExit(f"cold start: the firmware came to 0x{core.pc:08x} without calling {function}")

    def through(self) -> int:
        """Run to the end of the function at whose beginning the core stands; return its instructions.

        Raises
        ------
        SystemExit
            When it returns an error.
        """
        core = self.board.core
        begun, back = core.instructions, core.register("LR")
        core.run_to(back)
        if core.pc & ~1 != back & ~1 or core.register("R0"):
            raise SystemExit(f"cold start: 0x{core.pc:08x} after an error or a pause, status {core.register('R0')}")
        return core.instructions - begun

    def start(self, engine: int) -> int:
        """Call jlt_engine_start along the first path; return its instructions."""
        self.board.core.enter(self._linked.only("jlt_engine_start"), engine, 0)
        return self.through()


def figures(container: bytes) -> dict[str, int]:
    """Return instructions of each function, at a first boot and at a later one."""
    probe, found = Probe(container), {}
    probe.boot()
    probe.reach("jlt_container_check")
    found["check"] = probe.through()
    probe.board.run(pause_s=10.0)
    probe.boot()
    probe.reach("jlt_container_reopen")
    found["reopen"] = probe.through()
    probe.reach("jlt_engine_init")
    engine = probe.board.core.register("R0")
    found["init"] = probe.through()
    found["start"] = probe.start(engine)
    found["all"] = found["reopen"] + found["init"] + found["start"]
    return found


def main() -> int:
    """Print one row a model; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    rows = {}
    for name, peer in MODELS.items():
        path = args.shared / "data" / "mlperf_tiny" / "models" / f"{name}.tflite"
        container = with_isa_plan(compile_model(path, exits="off").container, load_board(BOARD).isa)
        rows[name] = {**figures(container), "tflm": peer}
    if args.json:
        print(json.dumps({"board": BOARD, "most": MOST, "instructions": rows}))
    else:
        columns = list(next(iter(rows.values())))
        print(f"{'instructions':22}" + "".join(f"{column:>12}" for column in columns))
        for name, row in rows.items():
            print(f"{name:22}" + "".join(f"{row[column]:>12,}" for column in columns))
    return int(any(row["reopen"] > MOST for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
