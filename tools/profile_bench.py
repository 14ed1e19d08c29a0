# SPDX-License-Identifier: Apache-2.0
"""What ``joulet profile`` measures on: a board with a meter at its supply, real or a program."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from joulet.engine.seam import Array
from joulet.errors import UsageError
from joulet.link import wire
from joulet.meters.machine import Machine
from joulet.meters.open import open_meter
from joulet.meters.seam import Stream
from joulet.plan.on_board import planned_for
from joulet.profile.board import StampCounter
from joulet.profile.figures import Steps
from joulet.profile.recorder import Recorder

if TYPE_CHECKING:
    from joulet.emulator.board import VirtualBoard
    from joulet.engine.board import BoardEngine
    from joulet.link import Board


def provenance_of(args: argparse.Namespace, board: Board) -> str:
    if args.engine.startswith("virtual:"):
        from joulet.boards import load_board
        from joulet.emulator.cycle_model import PROVENANCE

        figures = load_board(args.engine.partition(":")[2]).provenance.get("pj_per_cycle", "")
        return f"simulated: a PPK2 at a virtual board; energy {figures}; cycles {PROVENANCE}"
    return f"measured: {args.meter} at board {board.hello.board}"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Engine and board, what counts its inferences, a meter, a recorder that runs, and the board that is a program if it is."""

    engine: BoardEngine
    board: Board
    counter: StampCounter
    meter: Stream
    recorder: Recorder
    virtual: VirtualBoard | None = None


@contextmanager
def open_bench(args: argparse.Namespace) -> Iterator[Bench]:
    """Open what ``--engine`` and ``--meter`` name."""
    kind, _, where = args.engine.partition(":")
    if kind == "virtual":
        if args.meter not in (None, "ppk2"):
            raise UsageError(f"--meter {args.meter}: a virtual board hangs at a simulated PPK2; leave --meter out")
        with virtual_bench(planned_for(args.model.read_bytes(), where), where) as bench:
            yield bench
        return
    if args.meter is None:
        raise UsageError("--meter: say what measures the board, as in --meter ppk2:/dev/ttyACM1,voltage=3.3V")
    from joulet.engine.board import BoardEngine
    from joulet.engine.host import HostEngine
    from joulet.tools.engines import open_board

    data = args.model.read_bytes()
    HostEngine(data, isa="REF")  # every byte is checked here, where errors have names
    machine = Machine()
    with ExitStack() as stack:
        meter = open_meter(args.meter, machine, allow_estimate=args.allow_estimate)
        stack.callback(meter.close)
        if not isinstance(meter, Stream):
            raise UsageError(f"--meter {args.meter}: on a board only meters that sample will do: ppk2, lpm01a")
        recorder = Recorder(meter, machine.clock, threaded=True)
        stack.callback(recorder.close)
        board, _ = stack.enter_context(open_board(args.engine, {}))
        counter = StampCounter(machine.clock)
        data = planned_for(data, board.hello.board)
        engine = BoardEngine(data, board, counter=counter)
        yield Bench(engine=engine, board=board, counter=counter, meter=meter, recorder=recorder)


@contextmanager
def virtual_bench(
    model: bytes, name: str, *, seed: int = 0, skew: float = 40e-6, markers: bool = True, lossy: bool = False
) -> Iterator[Bench]:
    """Open a virtual board at a simulated PPK2 whose clock is off by ``skew``; the host takes 1 to 3 ms to say anything.

    ``markers`` wires the pins; ``lossy`` loses some samples of the stream.
    """
    from joulet.boards import load_board
    from joulet.emulator.board import VirtualBoard
    from joulet.emulator.probe import PacedPort, Probe, ProbedSupply
    from joulet.engine.board import BoardEngine
    from joulet.engine.host import HostEngine
    from joulet.link import connect
    from joulet.meters.ppk2_device import DevicePort, Ppk2Device
    from joulet.meters.ppk2_wire import PERIOD_S

    HostEngine(model, isa="REF")
    load = load_board(name).load
    supply = ProbedSupply(load, load.on_v)
    virtual = VirtualBoard(name, power=supply)
    virtual.on_pins = supply.show
    slot = virtual.facts.slots["model"]
    if len(model) > slot.size:
        raise UsageError(f"the container has {len(model):,} bytes, the model slot of {name} {slot.size:,}")
    virtual.load(slot.address, model)
    probe = Probe(supply, PERIOD_S, skew)
    rng = np.random.default_rng(seed)

    def signal(first: int, count: int) -> tuple[Any, Any]:
        current_a, logic = probe.signal(first, count)
        return current_a, logic if markers else np.zeros_like(logic)

    port = DevicePort(Ppk2Device(signal, dither=rng), probe.due, lose=rng if lossy else None)
    around = Machine(open_port=lambda url, baud: port, clock=lambda: supply.now_s)
    meter = open_meter(f"ppk2:simulated,voltage={load.on_v:g}V", around)
    assert isinstance(meter, Stream)
    virtual.power_on()
    line = PacedPort(virtual, lambda: float(rng.uniform(1e-3, 3e-3)))
    with connect(line) as board:
        counter = StampCounter(lambda: virtual.now_s)
        recorder = Recorder(meter, counter.clock, threaded=False)
        engine = BoardEngine(model, board, counter=counter)
        yield Bench(engine=engine, board=board, counter=counter, meter=meter, recorder=recorder, virtual=virtual)
    virtual.check()


def steps_of(
    args: argparse.Namespace, bench: Bench, sample: Sequence[Array], lines: tuple[int, int], provenance: str,
    progress: Callable[[int, int], None],
) -> Steps:  # fmt: skip
    """Return every op at every precision: as the virtual board counts them, or with ``--meter`` through it."""
    from joulet.profile.steps import exact_steps, metered_steps, plan_steps, record_steps

    engine, plan = bench.engine, plan_steps(bench.engine, args.precision)
    if bench.virtual is not None and args.meter is None:
        rows = exact_steps(engine, plan, drawn_by_ops(bench.virtual, engine, sample, plan))
        method = "counted: what the emulated board's supply gives while each op runs, exact of its model"
        return Steps(
            method=method, provenance=provenance.replace("a PPK2 at a virtual board", "a virtual board"), rows=rows
        )
    if lines[1] < 4:
        raise UsageError(
            "--steps: ends of ops are told by the fourth marker pin; wire four neighbours (--marker-lines D0-D3)"
        )
    marks = wire.CODES["Mark"]["EXIT"] | wire.CODES["Mark"]["STEPS"]
    trace = record_steps(engine, plan, sample, bench.recorder, args.repeats or 10, marks, progress)
    rows = metered_steps(engine, plan, trace, lines[0])
    method = f"markers: pulses on D{lines[0] + 3} end ops, each end within {1e6 * trace.period_s:g} us"
    return Steps(method=method, provenance=provenance, rows=rows)


def drawn_by_ops(
    virtual: VirtualBoard, engine: BoardEngine, sample: Sequence[Array], plan: Any
) -> list[tuple[float, float]]:
    """Run all steps once; return energy [J] and time [s] of each op on the virtual board."""
    from joulet.emulator.power import Phase
    from joulet.profile.steps import run_steps

    found: list[tuple[float, float]] = []
    began = [0.0, 0.0]

    def on_phase(before: Phase, after: Phase) -> None:
        now = [virtual.power.drawn_j, virtual.power.now_s]
        if before is Phase.INFER:
            found.append((now[0] - began[0], now[1] - began[1]))
        began[:] = now

    kept, virtual.on_phase = virtual.on_phase, on_phase
    try:
        run_steps(engine, plan, sample, 1, lambda done, total: None)
    finally:
        virtual.on_phase = kept
    return found
