# SPDX-License-Identifier: Apache-2.0
"""The host's client and the real firmware on a virtual board: meeting, answers, refusals, once and only once."""

from __future__ import annotations

import struct

import pytest
from link_bench import Expected, alive, heard, inputs, other_container, raw, tiny_container

from joulet.emulator.board import VirtualPort
from joulet.engine.host import HostEngine
from joulet.errors import LinkError
from joulet.link import Runner, connect, greet, recover, wire
from joulet.link.frames import Frame, encode

BOARDS = ("virtual_m4", "virtual_m0plus")
_M = wire.CODES["Message"]


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return tiny_container()


@pytest.fixture(scope="module")
def other() -> bytes:
    return other_container()


# meeting


@pytest.mark.parametrize("name", BOARDS)
def test_says_who_it_is(name: str, tiny: bytes) -> None:
    machine = alive(tiny, name)
    boot = VirtualPort(machine).read(4096, 0)
    assert boot == b"m-timestamp-mode-performance\r\nm-lap-us-0\r\nm-init-done\r\nm-ready\r\n"
    with connect(VirtualPort(machine)) as board:
        hello = board.hello
        assert (hello.board, hello.clock_hz) == (name, machine.clock_hz)
        assert hello.build_id == machine.firmware.build_id
        assert hello.model_hash == HostEngine(tiny).model_hash
        assert (hello.model_status, hello.policy_status) == (0, -23)
        assert {"NVM", "POWER", "FLASH"} <= hello.caps
        assert ("CYCLES" in hello.caps) == (name == "virtual_m4")
        assert hello.resets == 1
        assert hello.window == wire.WINDOW
        assert 0 < hello.arena_bytes < hello.work_bytes
    assert Runner(VirtualPort(machine)).name() == "joulet"
    machine.check()


def test_without_a_model_it_says_so() -> None:
    machine = alive()
    with connect(VirtualPort(machine)) as board:
        assert board.hello.model_status < 0
        assert board.hello.model_hash == "00" * 32
        for call in (lambda: board.start(0), lambda: board.infer(0, None), lambda: board.switch(0)):
            with pytest.raises(LinkError, match="nothing is loaded"):
                call()
        with pytest.raises(LinkError, match="does not fit"):
            board.upload("INPUT", bytes(8))


def test_hello_takes_a_frame_and_armed_still_speaks_ascii(tiny: bytes) -> None:
    machine = alive(tiny)
    port = VirtualPort(machine)
    runner = recover(port)
    assert runner.command("joulet 1") == []
    assert runner.name() == "joulet"
    assert raw(port, "READ", 4, bytes(8)) == []  # nothing before HELLO
    assert runner.clear() == b""
    port.write(b"%")
    assert runner.clear() == b""  # what was no ASCII is dropped without a word
    assert runner.name() == "joulet"
    port.write(encode(Frame(_M["HELLO"], 1, b""))[:-4] + b"\0")
    assert heard(port) == []
    (reply,) = raw(port, "HELLO", 2)
    assert (reply.type, reply.sequence, len(reply.payload)) == (
        _M["HELLO"] | wire.REPLY,
        2,
        wire.dtype("HelloReply").itemsize,
    )
    assert raw(port, "BYE", 3) == [Frame(_M["BYE"] | wire.REPLY, 3, b"")]
    assert runner.name() == "joulet"
    assert raw(port, "HELLO", 4) == []  # ASCII again: frames are no commands
    assert recover(port).name() == "joulet"


def test_other_firmware_is_told_apart() -> None:
    class Foreign:
        def __init__(self) -> None:
            self.lines = b""

        def write(self, data: bytes) -> None:
            for command in data.split(b"%")[:-1]:
                known = command.endswith(b"name")
                self.lines += b"m-name-dut-[other]\r\n" if known else b"e-[Unknown command]\r\n"
                self.lines += b"m-ready\r\n"

        def read(self, n_bytes: int, timeout_s: float) -> bytes:
            out, self.lines = self.lines, b""
            return out

        def close(self) -> None:
            pass

    with pytest.raises(LinkError, match="another firmware"):
        greet(Foreign())


def test_ten_silent_seconds_end_frames_when_the_next_byte_comes(tiny: bytes) -> None:
    machine = alive(tiny)
    port = VirtualPort(machine)
    board = greet(port)
    machine.power.slept(machine.now_s + 9.9)
    assert board.greet().board == "virtual_m4"
    machine.power.slept(machine.now_s + 10.1)
    port.write(b"name%")
    assert port.read(4096, 0) == b"m-name-dut-[joulet]\r\nm-ready\r\n"
    runner = recover(port)
    assert runner.command("joulet 1") == []
    machine.power.slept(machine.now_s + 10.1)
    assert raw(port, "HELLO", 1) == []  # armed ends, too


def test_the_client_comes_back_after_silence_without_doing_things_twice(tiny: bytes) -> None:
    machine = alive(tiny)
    expected = Expected(tiny, inputs(tiny)[0])
    with connect(VirtualPort(machine)) as board:
        board.upload("INPUT", inputs(tiny)[0].tobytes())
        machine.power.slept(machine.now_s + 3600)
        expected.check(board, 0, 1)
    assert Runner(VirtualPort(machine)).name() == "joulet"
    with connect(VirtualPort(machine)) as board:
        machine.power.slept(machine.now_s + 3600)
    assert Runner(VirtualPort(machine)).name() == "joulet"


def test_a_reset_in_the_middle_gives_no_answer_from_an_input_that_is_gone(tiny: bytes) -> None:
    machine = alive(tiny)
    with connect(VirtualPort(machine)) as board:
        board.upload("INPUT", inputs(tiny)[0].tobytes())
        machine.cut()
        machine.power_on()
        with pytest.raises(LinkError, match="nothing is loaded"):
            board.infer(0, 1)
        assert board.hello.resets == 2


# answers


@pytest.mark.parametrize("name", BOARDS)
def test_answers_are_those_of_the_host_at_every_exit_and_path(name: str, tiny: bytes) -> None:
    with connect(VirtualPort(alive(tiny, name))) as board:
        for x in inputs(tiny, 3):
            board.upload("INPUT", x.tobytes())
            Expected(tiny, x).check_all(board)


def test_steps_and_switches(tiny: bytes) -> None:
    x = inputs(tiny)[0]
    engine = HostEngine(tiny)
    with connect(VirtualPort(alive(tiny))) as board:
        board.upload("INPUT", x.tobytes())
        board.start(1)
        first = board.step(0)
        assert board.answer() == engine.infer([x[None]], path="w4", depth=0).outputs[0].tobytes()
        board.switch(2)
        with pytest.raises(LinkError, match="refuses STEP"):
            board.step(0)
        board.start(1)
        board.step(0)
        board.switch(2)
        last = board.step(1)
        assert board.answer() == engine.infer([x[None]], path=2, depth=1).outputs[0].tobytes()
        assert (first.exit, last.exit, last.path) == (0, 1, 2)
        assert last.macs > first.macs
        with pytest.raises(LinkError, match="other path differs"):
            board.switch(0)


def test_by_confidence_it_tells_of_the_exits_on_the_way(tiny: bytes) -> None:
    x = inputs(tiny, 20, 3)
    engine = HostEngine(tiny)
    told: list[Frame] = []
    with connect(VirtualPort(alive(tiny))) as board:
        board.events = told.append
        depths = set()
        for one in x:
            before = len(told)
            board.upload("INPUT", one.tobytes())
            reached = board.infer(0, None)
            assert board.answer() == engine.infer([one[None]], path=0, depth=reached.exit).outputs[0].tobytes()
            assert len(told) - before == reached.exit
            depths.add(reached.exit)
        assert all(frame.type == _M["EVENT"] and frame.sequence == 0 for frame in told)
        assert depths


# refusals


def test_refusals(tiny: bytes) -> None:
    port = VirtualPort(alive(tiny))
    with connect(port) as board:
        with pytest.raises(LinkError, match="nothing is loaded"):
            board.infer(0, 0)  # no input yet
        with pytest.raises(LinkError, match="order of requests"):
            board.step(0)
        board.upload("INPUT", inputs(tiny)[0].tobytes())
        for call in (
            lambda: board.start(99),
            lambda: board.infer(0, 9),
            lambda: board.upload("INPUT", bytes(33)),
            lambda: board.upload("SESSION", bytes(5000)),
        ):
            with pytest.raises(LinkError, match="out of range"):
                call()
        with pytest.raises(LinkError, match="policy"):
            board.price(1, 1)
        with pytest.raises(LinkError, match="order of requests"):
            board.run(True)
        for name in ("LOG", "EVENT", "START", "STEP", "READ", "BEGIN", "CHUNK", "RUN", "PRICE"):
            (reply,) = raw(port, name, 777)
            assert reply.type == _M["NACK"] | wire.REPLY
            assert struct.unpack("<iB", reply.payload[:5]) == (-1, _M[name])
        assert raw(port, "CHUNK", 778, struct.pack("<II", 0, 1) + b"x")[0].payload[4:8] == struct.pack("<i", -21)
        assert board.read("ANSWER") == b""
        Expected(tiny, inputs(tiny)[0]).check_all(board)


# once and only once


def test_a_request_that_comes_twice_acts_once(tiny: bytes) -> None:
    machine = alive(tiny)
    port = VirtualPort(machine)
    with connect(port) as board:
        board.upload("INPUT", inputs(tiny)[0].tobytes())
        payload = struct.pack("<HBx", 0, 1)
        before = machine.core.instructions
        first = raw(port, "INFER", 500, payload)
        once = machine.core.instructions - before
        for _ in range(20):
            before = machine.core.instructions
            assert raw(port, "INFER", 500, payload) == first
            assert machine.core.instructions - before < once / 2
        before = machine.core.instructions
        assert raw(port, "INFER", 501, payload)[0].payload[16:] == first[0].payload[16:]
        assert machine.core.instructions - before > 0.9 * once
        # other requests in between do not make it forget
        board.answer()
        assert raw(port, "INFER", 501, payload)[0].sequence == 501
        # another conversation is another one: the same number is new
        conversation = struct.pack("<I", 7)
        raw(port, "HELLO", 1, conversation)
        before = machine.core.instructions
        raw(port, "INFER", 501, payload)
        assert machine.core.instructions - before > 0.9 * once
        raw(port, "HELLO", 2, conversation)
        before = machine.core.instructions
        raw(port, "INFER", 501, payload)
        assert machine.core.instructions - before < once / 2
        raw(port, "HELLO", 3)
        before = machine.core.instructions
        raw(port, "INFER", 501, payload)
        assert machine.core.instructions - before > 0.9 * once


def test_a_lost_answer_costs_no_second_inference(tiny: bytes) -> None:
    machine = alive(tiny)

    class Deaf(VirtualPort):
        drop = 0

        def read(self, n_bytes: int, timeout_s: float) -> bytes:
            data = super().read(n_bytes, timeout_s)
            if data and self.drop:
                self.drop -= 1
                return b""
            return data

    port = Deaf(machine)
    with connect(port) as board:
        board.upload("INPUT", inputs(tiny)[0].tobytes())
        before = machine.core.instructions
        cycles = board.infer(0, 1).cycles
        once = machine.core.instructions - before
        port.drop = 5
        before, resent = machine.core.instructions, board.resent
        assert board.infer(0, 1).cycles == pytest.approx(cycles, rel=0.01)
        assert board.resent - resent == 5
        assert machine.core.instructions - before < 5 * once


def test_numbers_begin_anew_in_another_conversation(tiny: bytes) -> None:
    machine = alive(tiny)
    with connect(VirtualPort(machine)) as board:
        board.upload("INPUT", inputs(tiny)[0].tobytes())
        board._sequence = 2
        board.infer(0, 1)
        board._sequence = 0xFFFE  # as if 65,531 READs had come in between
        before = machine.core.instructions
        board.read("FEATURES")
        board.infer(0, 1)
        assert board._sequence < 10
        assert machine.core.instructions - before > 30_000
        Expected(tiny, inputs(tiny)[0]).check_all(board)


def test_a_request_may_take_longer_than_silence_does(tiny: bytes) -> None:
    machine = alive(tiny)
    with connect(VirtualPort(machine)) as board:
        board.upload("INPUT", inputs(tiny)[0].tobytes())
        machine.settle()
        machine.clock_hz = 3000
        before_s, resent = machine.now_s, board.resent
        Expected(tiny, inputs(tiny)[0]).check(board, 0, 1)
        assert machine.now_s - before_s > 12.0
        assert board.resent == resent
