# SPDX-License-Identifier: Apache-2.0
"""Host and firmware over lines that go wrong: no wrong answer, no hang, back in step within a frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from link_bench import Expected, alive, any_request, heard, inputs, other_container, raw, tiny_container
from link_line import FAULTS, EndlessPort, FaultyPort

from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.host import HostEngine
from joulet.errors import LinkError
from joulet.link import connect, greet, recover, wire
from joulet.link.frames import Frame, encode

_M = wire.CODES["Message"]


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return tiny_container()


@pytest.fixture(scope="module")
def other() -> bytes:
    return other_container()


@pytest.fixture(scope="module")
def faulted(tiny: bytes) -> Iterator[tuple[VirtualBoard, bytes, Expected]]:
    x = inputs(tiny)[0]
    machine = alive(tiny)
    yield machine, x.tobytes(), Expected(tiny, x)
    machine.check()


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("kind", [*FAULTS, "all"])
def test_no_fault_gives_a_wrong_answer_or_a_hang(
    faulted: tuple[VirtualBoard, bytes, Expected], kind: str, rate: float
) -> None:
    machine, x, expected = faulted
    recover(VirtualPort(machine))
    line = FaultyPort(VirtualPort(machine), 17, rate, None if kind == "all" else [kind])
    served = 0
    for turn in range(12):
        try:
            with connect(line) as board:
                board.upload("INPUT", x)
                expected.check(board, turn % 3, turn % 2)
                served += 1
        except LinkError:
            pass  # given up: allowed, and rare
    assert served >= 9
    assert line.worst_lost <= 1
    assert line.faults > 0 or rate < 0.05
    line.calm()
    with connect(line) as board:
        expected.check_all(board) if board.hello.model_status == 0 and served else None


@pytest.mark.parametrize(("to_board", "to_host"), [(True, False), (False, True)])
def test_a_model_arrives_over_a_bad_line(tiny: bytes, other: bytes, to_board: bool, to_host: bool) -> None:
    machine = alive(tiny)
    line = FaultyPort(VirtualPort(machine), 5, 0.25, to_board=to_board, to_host=to_host)
    board = greet(line)
    board.upload("MODEL", other)
    assert board.greet().model_hash == HostEngine(other).model_hash
    assert line.faults > 5
    assert board.resent > 0
    machine.check()


@pytest.mark.parametrize("pattern", [b"\0", b"U", b"\xff", b"x\n", b"m-ready\r\n", b"%", encode(Frame(32, 0, b"hi"))])
def test_bytes_without_end_end_in_an_error(pattern: bytes) -> None:
    for call in (recover, greet):
        with pytest.raises(LinkError):
            call(EndlessPort(pattern))


def test_a_line_that_floods_in_frame_mode_ends_in_an_error(tiny: bytes) -> None:
    machine = alive(tiny)
    board = greet(VirtualPort(machine))
    for pattern in (b"\0", b"U", encode(Frame(32, 0, b"hi"))):
        board._port = EndlessPort(pattern)
        with pytest.raises(LinkError):
            board.request("READ", bytes(8))


def test_a_dead_line_ends_in_an_error(tiny: bytes) -> None:
    line = FaultyPort(VirtualPort(alive(tiny)), 0, 0.0)
    board = greet(line)
    line.cut = True
    with pytest.raises(LinkError, match="no answer"):
        board.infer(0, 0)
    with pytest.raises(LinkError):
        board.bye()
    with pytest.raises(LinkError):
        greet(line)


# after anything


def noise(seed: int) -> bytes:
    """Return 64 kB that begin like something: bytes of all kinds, or of those that matter."""
    rng = np.random.default_rng(seed)
    kind = seed % 4
    if kind == 0:
        return rng.bytes(65_536)
    if kind == 1:
        return bytes(rng.choice(np.frombuffer(b"\0%\r\n 1joulet name db infer", np.uint8), 65_536))
    if kind == 2:
        return bytes(rng.integers(0, 4, 65_536, dtype=np.uint8))
    frames = [encode(Frame(int(rng.integers(0, 256)), int(rng.integers(0, 65_536)), rng.bytes(40))) for _ in range(900)]
    broken = [f[: int(rng.integers(0, len(f)))] + rng.bytes(int(rng.integers(0, 60))) for f in frames]
    return b"".join(broken)[:65_536].ljust(65_536, b"z")


@pytest.mark.parametrize("mode", ["ascii", "armed", "frames"])
@pytest.mark.parametrize("seed", range(5))
def test_recovers_from_64_kb_of_noise(faulted: tuple[VirtualBoard, bytes, Expected], mode: str, seed: int) -> None:
    machine, x, expected = faulted
    port = VirtualPort(machine)
    runner = recover(port)
    if mode != "ascii":
        assert runner.command("joulet 1") == []
    if mode == "frames":
        assert raw(port, "HELLO", 1) != []
    port.write(noise(seed))
    machine.run()
    said = bytes(machine.uart.tx)
    assert mode == "frames" or said.isascii()
    port.write(b"\0" + encode(Frame(_M["BYE"], 0, b"")) + b"%")
    runner.clear()
    port.write(b"name%")
    assert port.read(4096, 0) == b"m-name-dut-[joulet]\r\nm-ready\r\n"
    with connect(port) as board:
        board.upload("INPUT", x)
        expected.check_all(board)


@pytest.mark.parametrize("name", ["virtual_m4", "virtual_m0plus"])
@pytest.mark.parametrize("seed", range(3))
def test_requests_of_any_content_are_answered_and_break_nothing(tiny: bytes, name: str, seed: int) -> None:
    machine = alive(tiny if seed else b"", name)
    port = VirtualPort(machine)
    greet(port)
    rng = np.random.default_rng(seed)
    for _ in range(600):
        frame = any_request(rng)
        port.write(encode(frame))
        answers = [got for got in heard(port) if got.sequence == frame.sequence and got.type & wire.REPLY]
        assert len(answers) == 1, frame
        assert answers[0].type in (frame.type | wire.REPLY, _M["NACK"] | wire.REPLY)
    assert machine.resets == 1
    machine.check()
    with connect(port) as board:
        board.upload("MODEL", tiny)
        x = inputs(tiny)[0]
        board.upload("INPUT", x.tobytes())
        Expected(tiny, x).check_all(board)
