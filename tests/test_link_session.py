# SPDX-License-Identifier: Apache-2.0
"""While the board runs its session, the link looks on and brings samples; it takes nothing out of the session's hands."""

from __future__ import annotations

import numpy as np
import pytest
from board_tools import container, need_board, samples
from link_bench import any_request

import joulet
from joulet.boards import load_board
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.synthetic import ConstantHarvester
from joulet.engine.answers import Answers
from joulet.errors import LinkError
from joulet.firmware.slots import policy_slot, samples_slot, session_slot
from joulet.link import Board, Runner, connect, greet, wire
from joulet.link.frames import Frame, FrameReader, encode
from joulet.live.measure import measured_costs
from joulet.plan.cost import cost_table
from joulet.policies.shadow import Shadow
from joulet.session import SessionSettings
from joulet.session import run as run_session

NAME = "virtual_m4"
ANSWERED = wire.CODES["EventStatus"]["ANSWERED"]


@pytest.fixture(scope="module")
def answers() -> Answers:
    need_board()
    x = samples("residual_int8")
    decoded = Container.from_bytes(container())
    costs = cost_table(decoded, measured_costs(container(), NAME, (x[0],)))
    return Answers(joulet.HostEngine(container()), [x], None, costs.prefixes)


@pytest.fixture(scope="module")
def policy(answers: Answers) -> bytes:
    """Return the slot of a policy that has been fitted."""
    x = samples("residual_int8")
    decoded = Container.from_bytes(container())
    load = load_board(NAME).load
    shadow = Shadow()
    run_session(
        answers,
        cost_table(decoded, measured_costs(container(), NAME, (x[0],))),
        load,
        policy=shadow,
        settings=SessionSettings(period_s=0.5, duration_s=5.0),
        harvester=ConstantHarvester(20e-3),
        converter=ConstantConverter(0.8),
        storage=Capacitor(10e-3, max_v=load.max_v, initial_v=load.on_v, leakage_ohm=1e6),
    )
    assert shadow.table is not None
    return policy_slot(shadow.table.to_bytes(), decoded.model_hash)


def machine(policy: bytes, **fields: int) -> VirtualBoard:
    plan = {"period_us": 500_000, "deadline_us": 500_000, "end_us": 60_000_000, "capacity_nf": 10_000_000}
    plan |= {"off_mv": 1800, "full_mv": 3600, "on_mv": 2400, "sleep_nw": 8400, "energy_fj_per_cycle": 278_000}
    virtual = VirtualBoard(NAME)
    content = {"model": container(), "policy": policy, "samples": samples_slot([samples("residual_int8")])}
    content["session"] = session_slot(**plan, dearness_q16=65_536, **fields)
    for slot, data in content.items():
        virtual.load(virtual.facts.slots[slot].address, data)
    virtual.power_on()
    return virtual


def check_events(board: Board, answers: Answers, least: int) -> None:
    """Compare what the session answered with HostEngine."""
    records = np.frombuffer(board.read("EVENTS"), wire.dtype("EventRecord"))
    done = records[records["status"] == ANSWERED]
    assert len(done) >= least
    for record in done:
        expected = answers.at(int(record["sample"]), int(record["path"]), int(record["exit"]))
        assert (int(record["confidence_q15"]), int(record["predicted"])) == expected


def test_a_session_keeps_engine_and_flash_to_itself(policy: bytes, answers: Answers) -> None:
    virtual = machine(policy)
    told: list[Frame] = []
    x = samples("residual_int8")[0].tobytes()
    with connect(VirtualPort(virtual)) as board:
        board.events = told.append
        board.upload("INPUT", x)
        board.run(True)
        for _ in range(3):
            for call in (
                lambda: board.start(0),
                lambda: board.step(0),
                lambda: board.switch(0),
                lambda: board.infer(0, 0),
                lambda: board.answer(),
                lambda: board.upload("MODEL", container()),
                lambda: board.upload("SAMPLES", bytes(100)),
            ):
                with pytest.raises(LinkError, match="order of requests"):
                    call()
            assert board.sensors()["valid"] & 1
            assert board.price(1 << 20, 1 << 18)[0] >= 0
            board.upload("INPUT", x)
            board.pump(1.0)
        while board.pump(1.0):
            pass
        check_events(board, answers, 60)
        assert len(told) >= 60
        reached = board.infer(0, 1)  # it has ended: the engine is free
        assert (
            board.answer()
            == joulet.HostEngine(container())
            .infer([samples("residual_int8")[:1]], path=0, depth=1)
            .outputs[0]
            .tobytes()
        )
        assert reached.exit == 1
    assert virtual.counts.erases == 0
    virtual.check()


def test_ascii_does_not_disturb_a_session_either(policy: bytes, answers: Answers) -> None:
    virtual = machine(policy, autostart=1)
    port = VirtualPort(virtual)
    runner = Runner(port)
    assert not virtual.uart.tx  # it says nothing at power-up
    for _ in range(3):
        assert runner.command("infer 1 1") == ["e-[A session is running]"]
        assert runner.command("results") == ["e-[A session is running]"]
        assert runner.name() == "joulet"
        runner.load(samples("residual_int8")[1].tobytes())
    board = greet(port)
    board.run(False)
    check_events(board, answers, 1)
    board.run(True)
    while board.pump(1.0):
        pass
    check_events(board, answers, 60)


def test_samples_over_the_link_are_taken_once_each(policy: bytes, answers: Answers) -> None:
    virtual = machine(policy, input=wire.CODES["Input"]["LINK"])
    told: list[Frame] = []
    with connect(VirtualPort(virtual)) as board:
        board.events = told.append
        board.run(True)
        sent = 0
        for x in samples("residual_int8")[:6]:
            board.upload("INPUT", x.tobytes())
            sent += 1
            board.pump(1.0)
        board.run(False)
        records = np.frombuffer(board.read("EVENTS"), wire.dtype("EventRecord"))
        assert 0 < len(records[records["status"] == ANSWERED]) <= sent
        for record in records[records["status"] == ANSWERED]:
            got = (int(record["confidence_q15"]), int(record["predicted"]))
            assert got in [answers.at(i, int(record["path"]), int(record["exit"])) for i in range(6)]


def test_requests_of_any_content_do_not_disturb_a_session(policy: bytes, answers: Answers) -> None:
    virtual = machine(policy)
    port = VirtualPort(virtual)
    rng = np.random.default_rng(9)
    with connect(port) as board:
        board.run(True)
        for _ in range(80):
            frame = any_request(rng)
            if frame.type != wire.CODES["Message"]["RUN"]:
                port.write(encode(frame))
                assert any(got.sequence == frame.sequence for got in heard_some(port, frame.sequence))
    with connect(port) as board:
        while board.pump(1.0):
            pass
        check_events(board, answers, 60)
    assert (virtual.resets, virtual.counts.erases) == (1, 0)


def heard_some(port: VirtualPort, sequence: int) -> list[Frame]:
    """Return what comes up to the answer to a request."""
    reader, frames = FrameReader(), []
    while not any(frame.sequence == sequence and frame.type & wire.REPLY for frame in frames):
        data = port.read(4096, 0)
        if not data:
            break
        frames += reader.feed(data)
    return frames
