# SPDX-License-Identifier: Apache-2.0
"""Inferences, uploads and recoveries over lines that go wrong, on a virtual board; what counts is what must not happen.

    python tests/studies/link_faults.py [--seeds 100] [--first 0]

Each seed is a line of its own: a probability of 1 to 20 % that a unit (frame, line, command) suffers a fault, one kind of
fault or all, one direction or both. Over it a host connects, uploads inputs and models, runs inferences at every path and
exit and compares each answer with the host engine's; now and then 64 kB of noise come in between. Exit code 1 when an
answer is wrong, the host hangs, a fault takes more than one undamaged frame with it, flash is programmed twice, or more
than one transaction in fifty is given up.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from link_line import FAULTS, FaultyPort, Hang  # noqa: E402

from joulet.compile import compile_model  # noqa: E402
from joulet.emulator.board import VirtualBoard, VirtualPort  # noqa: E402
from joulet.engine.host import HostEngine  # noqa: E402
from joulet.errors import LinkError  # noqa: E402
from joulet.link import Board, connect, wire  # noqa: E402
from joulet.link.frames import Frame, encode  # noqa: E402

TRANSACTIONS = 40  # a seed


class Model:
    """A container with an input and every answer to it."""

    def __init__(self, container: bytes, rng: np.random.Generator) -> None:
        engine = HostEngine(container)
        self.container, self.hash = container, engine.model_hash
        x = rng.integers(-128, 128, (4, *engine.inputs[0].shape[1:]), dtype=np.int8)
        self.inputs = [one.tobytes() for one in x]
        self.answers = {
            (i, path, exit): engine.infer([x[i : i + 1]], path=name, depth=exit).outputs[0].tobytes()
            for i in range(len(x))
            for path, name in enumerate(engine.path_names)
            for exit in range(len(engine.exit_names))
        }


def transact(board: Board, model: Model, rng: np.random.Generator) -> bool:
    """Run one inference; False when its answer is wrong."""
    keys = list(model.answers)
    i, path, exit = keys[int(rng.integers(0, len(keys)))]
    board.upload("INPUT", model.inputs[i])
    reached = board.infer(path, exit)
    return board.answer() == model.answers[i, path, exit] and (reached.path, reached.exit) == (path, exit)


def drive(
    machine: VirtualBoard, line: FaultyPort, models: list[Model], rng: np.random.Generator, total: Counter[str]
) -> None:
    """Do what one seed does."""
    done = 0
    while done < TRANSACTIONS:
        model = models[int(rng.integers(0, len(models)))]
        if rng.random() < 0.05:
            VirtualPort(machine).write(rng.bytes(65_536))
            machine.run()
            total["noises"] += 1
        try:
            with connect(line) as board:
                if board.hello.model_hash != model.hash:
                    board.upload("MODEL", model.container)
                    total["models uploaded"] += 1
                for _ in range(int(rng.integers(1, 9))):
                    done += 1
                    total["transactions"] += 1
                    total["wrong answers"] += not transact(board, model, rng)
                total["sent again"] += board.resent
        except LinkError:
            done += 1
            total["given up"] += 1


def main() -> int:
    """Print the figures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="how many lines (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="first seed (default: 0)")
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    other = compile_model(ROOT / "tests" / "models" / "residual_int8.tflite", exits="off", precisions=("w8", "w4"))
    tiny = (ROOT / "tests" / "golden" / "containers" / "v1" / "tiny.jlt").read_bytes()
    models = [Model(tiny, rng), Model(other.container, rng)]
    machine = VirtualBoard("virtual_m4")
    machine.power_on()
    total: Counter[str] = Counter()
    worst, began_s = 0, time.monotonic()
    for seed in range(args.first, args.first + args.seeds):
        rng = np.random.default_rng(seed)
        kinds = None if rng.random() < 0.5 else [list(FAULTS)[int(rng.integers(0, len(FAULTS)))]]
        to_board, to_host = ((True, True), (True, False), (False, True))[int(rng.integers(0, 3))]
        line = FaultyPort(
            VirtualPort(machine), seed, float(rng.uniform(0.01, 0.2)), kinds, to_board=to_board, to_host=to_host
        )
        try:
            drive(machine, line, models, rng, total)
        except Hang as error:
            total["hangs"] += 1
            print(f"seed {seed}: {error}", file=sys.stderr)
        total["faults injected"] += line.faults
        total["frames"] += line.to_board.frames + line.to_host.frames
        total["resyncs"] += line.to_board.resyncs + line.to_host.resyncs
        if line.worst_lost > 1:
            print(f"seed {seed}: {line.worst_lost} frames lost after a fault", file=sys.stderr)
        worst = max(worst, line.worst_lost)
        # after all that, a quiet line works
        VirtualPort(machine).write(b"\0" + encode(Frame(wire.CODES["Message"]["BYE"], 0, b"")) + b"%")
        with connect(VirtualPort(machine)) as board:
            model = next(m for m in models if m.hash == board.hello.model_hash or m is models[-1])
            if board.hello.model_hash != model.hash:
                board.upload("MODEL", model.container)
            total["wrong answers"] += not transact(board, model, rng)
    names = (
        "transactions",
        "models uploaded",
        "noises",
        "frames",
        "faults injected",
        "resyncs",
        "sent again",
        "given up",
    )
    for name in (*names, "wrong answers", "hangs"):
        print(f"{name:<28}{total[name]:>10,}")
    print(f"{'worst frames lost by a fault':<28}{worst:>10}")
    print(f"{'flash programmed twice':<28}{machine.counts.violations:>10}")
    print(f"{'seconds':<28}{time.monotonic() - began_s:>10.1f}")
    given_up = total["given up"] * 50 > total["transactions"]
    return int(bool(total["wrong answers"] or total["hangs"] or worst > 1 or machine.counts.violations or given_up))


if __name__ == "__main__":
    sys.exit(main())
