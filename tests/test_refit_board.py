# SPDX-License-Identifier: Apache-2.0
"""A head fitted again on a virtual board: the host's bytes, labels of all kinds, and what stands after power cuts."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from link_bench import tiny_container
from thumb import need_tools
from tiny import tiny_inputs

from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.host import HostEngine
from joulet.engine.refit import HeadRefit, RefitRule
from joulet.errors import LinkError
from joulet.firmware.build import Firmware, build_firmware
from joulet.firmware.linked import Linked
from joulet.firmware.slots import refit_record, session_slot
from joulet.link import Board, connect, wire
from joulet.link.frames import Frame, encode
from joulet.tools.main import main

RULE = RefitRule(forgetting=0.97, prior=2.0, target=96.0)
BOARDS = ("virtual_m4", "virtual_m0plus")
N = 40


@pytest.fixture(scope="module", params=BOARDS)
def firmware(request: pytest.FixtureRequest) -> Firmware:
    need_tools()
    return build_firmware(request.param, refit=True)


def session(rule: RefitRule = RULE, **fields: float) -> bytes:
    record = refit_record(
        **{"exit": 0, "forgetting": rule.forgetting, "prior": rule.prior, "target": rule.target, **fields}
    )
    return session_slot(
        record, period_us=10**9, deadline_us=10**9, end_us=10**9, full_mv=3600, off_mv=1800, capacity_nf=10**6,
        dearness_q16=65536, energy_fj_per_cycle=278_000,
    )  # fmt: skip


def board_with(firmware: Firmware, plan: bytes) -> VirtualBoard:
    machine = VirtualBoard(firmware.board, firmware=firmware)
    machine.load(machine.facts.slots["model"].address, tiny_container())
    machine.load(machine.facts.slots["session"].address, plan)
    machine.power_on()
    return machine


class Twin:
    """The host's engine on the same labels."""

    def __init__(self, rule: RefitRule = RULE) -> None:
        self.engine = HostEngine(tiny_container())
        self.refit = HeadRefit(self.engine, 0, rule)

    def run(self, x: np.ndarray, path: int) -> bytes:
        self.engine.start([x[None]], path)
        self.engine.run_to_exit(0)
        return self.engine.answer().tobytes()

    def head(self) -> bytes:
        weights, bias, multipliers, shifts = self.refit.head()
        return b"".join(part.tobytes() for part in (bias, multipliers, shifts, weights))


def teach(board: Board, twin: Twin, first: int, count: int) -> None:
    """Run, compare, label and compare again."""
    x = tiny_inputs(N)
    for k in range(first, first + count):
        path = k % len(twin.engine.path_names)
        board.upload("INPUT", x[k].tobytes())
        reached = board.infer(path, 0)
        assert board.answer() == twin.run(x[k], path)
        assert reached.exit == 0
        board.label(k * 7 % 3)
        twin.refit.learn(k * 7 % 3)
        state, head = board.refit()
        assert (int(state["updates"]), head) == (k + 1, twin.head())


def test_host_and_board_make_the_same_bytes_of_the_same_labels(firmware: Firmware) -> None:
    machine, twin = board_with(firmware, session()), Twin()
    with connect(VirtualPort(machine)) as board:
        assert "REFIT" in board.hello.caps
        state, head = board.refit()
        assert (int(state["status"]), int(state["kept"]), int(state["updates"])) == (0, 1, 0)
        assert (int(state["n_features"]), int(state["n_classes"])) == (4, 3)
        assert head == twin.head()
        teach(board, twin, 0, N)
    at = machine.fram.data
    assert bytes(twin.refit.state()) in bytes(at)  # what is kept is what the host has


def test_what_was_learned_outlives_power_and_goes_on(firmware: Firmware) -> None:
    machine, twin = board_with(firmware, session(keep_every=4)), Twin()
    with connect(VirtualPort(machine)) as board:
        teach(board, twin, 0, 8)
        kept = twin.head()
        board.upload("INPUT", tiny_inputs(1)[0].tobytes())
        board.infer(0, 0)
        board.label(1)  # the ninth is not kept yet
        assert board.refit()[1] != kept
    machine.cut()
    machine.power_on()
    with connect(VirtualPort(machine)) as board:
        state, head = board.refit()
        assert (int(state["updates"]), int(state["sequence"]), head) == (8, 2, kept)
        teach(board, twin, 8, 8)


def test_labels_are_checked(firmware: Firmware) -> None:
    machine = board_with(firmware, session())
    with connect(VirtualPort(machine)) as board:
        with pytest.raises(LinkError, match="order of requests"):
            board.label(0)  # nothing has run
        board.upload("INPUT", tiny_inputs(1)[0].tobytes())
        board.infer(0, 1)  # past the exit, whose head was not evaluated
        with pytest.raises(LinkError, match="order of requests"):
            board.label(0)
        board.infer(0, 0)
        with pytest.raises(LinkError, match="out of range"):
            board.label(3)
        with pytest.raises(LinkError, match="order of requests"):
            board.label(0, event=5)
        board.label(2)
        with pytest.raises(LinkError, match="order of requests"):
            board.label(2)  # once
        board.infer(0, 0)
        board.start(0)
        with pytest.raises(LinkError, match="order of requests"):
            board.label(0)  # another one has begun
        assert (int(board.refit()[0]["updates"]), int(board.refit()[0]["refused"])) == (1, 6)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"exit": 1}, -15),
        ({"exit": 9}, -1),
        ({"forgetting": 0.2}, -11),
        ({"forgetting": float("nan")}, -11),
        ({"prior": float("inf")}, -11),
        ({"target": 0.0}, -11),  # this head was not fitted by least squares
        ({"target": -1e30}, -11),
        ({"keep_every": 0}, -20),
        ({"magic": 7}, -20),
    ],
)
def test_a_plan_that_cannot_be_leaves_the_board_as_it_is(fields: dict[str, float], status: int) -> None:
    need_tools()
    machine = board_with(build_firmware("virtual_m4", refit=True), session(**fields))
    engine, x = HostEngine(tiny_container()), tiny_inputs(1)
    with connect(VirtualPort(machine)) as board:
        state, head = board.refit()
        assert (int(state["status"]), head) == (status, b"")
        board.upload("INPUT", x[0].tobytes())
        board.infer(0, 0)
        assert board.answer() == engine.infer([x], path=0, depth=0).outputs[0].tobytes()
        with pytest.raises(LinkError, match="LABEL"):
            board.label(0)


def test_a_plan_that_comes_over_the_link_counts_at_once_and_another_begins_anew(firmware: Firmware) -> None:
    machine, twin = board_with(firmware, b"\xff" * 64), Twin()
    with connect(VirtualPort(machine)) as board:
        assert int(board.refit()[0]["status"]) == -20
        before = board.greet().work_bytes
        board.upload("SESSION", session())
        assert board.greet().work_bytes == before - (twin.refit.memory_bytes + 15) // 16 * 16
        teach(board, twin, 0, 5)
        other = RefitRule(forgetting=0.95, prior=2.0, target=96.0)
        board.upload("SESSION", session(other))
        assert board.refit()[1] == Twin(other).head()
        board.upload("SESSION", session())
        assert board.refit()[1] == twin.head()  # its state still lies there


def test_only_a_build_that_asks_for_it_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_tools()
    plain, asked = (build_firmware("virtual_m4", toolchain="gcc", refit=refit) for refit in (False, True))
    assert [sum("jlt_rls" in name for name in Linked(each).symbols) > 0 for each in (plain, asked)] == [False, True]
    (tmp_path / "tiny.jlt").write_bytes(tiny_container())
    command = ["build", str(tmp_path / "tiny.jlt"), "--board", "virtual_m4", "--toolchain", "gcc", "--json"]
    assert main([*command, "--refit", "--kernels", "all", "--out", str(tmp_path / "out")]) == 0
    assert asked.build_id.hex() in capsys.readouterr().out


def test_a_firmware_without_it_refuses_labels_and_runs_the_same_plan() -> None:
    need_tools()
    machine = board_with(build_firmware("virtual_m4"), session())
    with connect(VirtualPort(machine)) as board:
        assert "REFIT" not in board.hello.caps
        with pytest.raises(LinkError, match="LABEL"):
            board.label(0)
        with pytest.raises(LinkError, match="READ"):
            board.refit()


@pytest.mark.parametrize("fault", ["clean", "dropped", "torn", "garbage"])
def test_a_cut_at_any_instruction_of_a_fit_leaves_the_head_before_or_after(firmware: Firmware, fault: str) -> None:
    """Power fails at some 150 places from a label's arrival until its answer, the FRAM's last write undone or garbled."""
    machine, twin = board_with(firmware, session()), Twin()
    x, rng = tiny_inputs(N)[6], random.Random(fault)
    port = VirtualPort(machine)
    with connect(port) as board:
        teach(board, twin, 0, 6)
        before = twin.head()
        board.upload("INPUT", x.tobytes())
        board.infer(0, 0)
        twin.run(x, 0)
        twin.refit.learn(1)
        after = twin.head()
        machine.uart.tx.clear()
        port.write(encode(Frame(wire.CODES["Message"]["LABEL"], 900, struct.pack("<IHxx", wire.ANY_EVENT, 1))))
        state, begin = machine.save(), machine.core.instructions
        machine.run()
        assert machine.uart.tx
        whole = machine.core.instructions - begin
        found = []
        for at in sorted({*range(0, whole, whole // 100), *rng.sample(range(whole * 3 // 4, whole), 50), whole}):
            machine.restore(state)
            machine.run(until_instructions=machine.core.instructions + at)
            machine.cut()
            machine.lose_power(fault, rng)
            machine.power_on()
            with connect(VirtualPort(machine)) as again:
                kept, head = again.refit()
            assert head in (before, after), at
            assert int(kept["updates"]) == (6 if head == before else 7)
            found.append(head == after)
    assert sum(found) > 0
    assert found.count(False) > 50
    assert found == sorted(found)  # once it stands, it stands
