# SPDX-License-Identifier: Apache-2.0
"""Transfers into every slot: resumed, refused, cut short, and never half a model."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from link_bench import Expected, alive, inputs, other_container, raw, tiny_container
from link_line import FaultyPort

from joulet.emulator.board import VirtualPort
from joulet.engine.host import HostEngine
from joulet.errors import LinkError
from joulet.firmware.slots import slot
from joulet.link import connect, greet, wire

_M = wire.CODES["Message"]


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return tiny_container()


@pytest.fixture(scope="module")
def other() -> bytes:
    return other_container()


@pytest.mark.parametrize("name", ["virtual_m4", "virtual_m0plus"])
def test_uploads_into_every_slot(name: str, tiny: bytes, other: bytes) -> None:
    machine = alive(tiny, name)
    rng = np.random.default_rng(1)
    samples = struct.pack("<4I", wire.SAMPLES_MAGIC, 3, 32, 32) + rng.bytes(96)
    with connect(VirtualPort(machine)) as board:
        for code, content in (("SAMPLES", samples), ("SESSION", rng.bytes(72)), ("POLICY", rng.bytes(999))):
            if code == "POLICY":
                with pytest.raises(LinkError, match="policy"):
                    board.upload(code, slot(code, content))  # taken, and no policy
            else:
                board.upload(code, slot(code, content))
            side = "policy_b" if code == "POLICY" else code.lower()
            at = machine.facts.slots[side].address - machine.core.flash_base
            whole = slot(code, content)
            assert machine.core.flash[at : at + len(whole)].tobytes() == whole
        with pytest.raises(LinkError, match="do not pass"):
            board.upload("SAMPLES", slot("SESSION", samples))
        seen: list[tuple[int, int]] = []
        for container in (other, tiny, other):
            board.upload("MODEL", container, lambda done, total: seen.append((done, total)))
            assert board.greet().model_hash == HostEngine(container).model_hash
            x = inputs(container)[0]
            board.upload("INPUT", x.tobytes())
            Expected(container, x).check_all(board)
        assert seen[-1] == (len(other), len(other))
        assert [done for done, total in seen if total == len(tiny)] == sorted(d for d, t in seen if t == len(tiny))
    machine.check()
    assert machine.counts.erases >= 2 * -(-len(other) // 4096)


def test_a_transfer_goes_on_where_the_line_was_cut(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    line = FaultyPort(VirtualPort(machine), 0, 0.0)
    sizes: list[int] = []

    def cut(done: int, _total: int) -> None:
        line.cut = done > len(other) // 2

    board = greet(line)
    with pytest.raises(LinkError):
        board.upload("MODEL", other, cut)
    programmed, erased = machine.counts.programs, machine.counts.erases
    line.cut = False
    board = greet(line)
    assert board.hello.model_hash == HostEngine(tiny).model_hash  # the old one runs until the new one is whole
    assert not board.hello.model_other  # half a model is none
    board.upload("MODEL", other, lambda done, _total: sizes.append(done))
    assert sizes[0] > len(other) // 2
    assert machine.counts.programs - programmed < programmed
    assert machine.counts.erases - erased <= -(-len(other) // 4096) // 2 + 1
    assert board.greet().model_hash == HostEngine(other).model_hash
    machine.check()


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.97, 1.0])
def test_power_lost_while_a_model_is_replaced_leaves_the_old_or_the_new_one(
    tiny: bytes, other: bytes, share: float, again: bool
) -> None:
    old = other if again else tiny
    machine = alive(old)
    board = greet(VirtualPort(machine))
    done = False

    def cut(sent: int, total: int) -> None:
        nonlocal done
        if not done and sent >= share * total:
            done = True
            machine.cut()
            machine.power_on()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.upload("MODEL", other, cut)
    with connect(VirtualPort(machine)) as board:
        assert board.hello.model_hash == HostEngine(old).model_hash  # not committed
        assert (board.hello.model_status, board.hello.model_side, board.hello.model_other) == (0, "A", False)
        board.upload("MODEL", other)  # begins anew, erasing what is half there
        assert board.greet().model_side == "B"
        x = inputs(other)[0]
        board.upload("INPUT", x.tobytes())
        Expected(other, x).check_all(board)
    machine.check()


def test_a_reset_in_the_middle_of_an_upload_costs_a_new_beginning(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    line = FaultyPort(VirtualPort(machine), 0, 0.0)
    sizes: list[int] = []

    def cut(done: int, _total: int) -> None:
        sizes.append(done)
        if done > len(other) // 2 and machine.resets == 1:
            machine.cut()
            machine.power_on()

    with connect(line) as board:
        board.upload("MODEL", other, cut)
        assert machine.resets == 2
        assert sizes != sorted(sizes)  # from 0 again
        assert board.greet().model_hash == HostEngine(other).model_hash
    machine.check()


@pytest.mark.parametrize("operation", ["_erase", "_program"])
def test_flash_that_fails_is_said_and_leaves_the_old_model(
    tiny: bytes, other: bytes, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = alive(tiny)
    with connect(VirtualPort(machine)) as board:
        with monkeypatch.context() as patch:
            patch.setattr(machine, operation, lambda *_: False)
            with pytest.raises(LinkError, match="MODEL does not take these bytes"):
                board.upload("MODEL", other)
        assert board.greet().model_hash == HostEngine(tiny).model_hash
        board.upload("MODEL", other)
        assert board.greet().model_hash == HostEngine(other).model_hash
    machine.check()


def test_wrong_bytes_and_wrong_checksums_are_refused(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    port = VirtualPort(machine)
    with connect(port) as board:
        broken = bytearray(other)
        broken[-8] ^= 4  # in a section: between them nothing matters
        with pytest.raises(LinkError, match="checksum"):
            board.upload("MODEL", bytes(broken))
        assert (board.greet().model_status, board.hello.model_side) == (0, "A")
        begin = struct.pack("<IIB3x", 32, 1234, 0)
        assert raw(port, "BEGIN", 900, begin)[0].payload[:4] == bytes(4)
    with connect(port) as board:
        board.upload("MODEL", tiny)
        x = inputs(tiny)[0]
        raw(port, "BEGIN", 900, struct.pack("<IIB3x", 32, 1234, 0))
        raw(port, "CHUNK", 901, struct.pack("<IB3x", 0, 0) + x.tobytes())
        (reply,) = raw(port, "COMMIT", 902)
        assert struct.unpack("<IiB3x", reply.payload) == (0, -6, 0)
        with pytest.raises(LinkError, match="nothing is loaded"):
            board.infer(0, 0)  # no whole input
        board.upload("INPUT", x.tobytes())
        Expected(tiny, x).check_all(board)
    machine.check()


def test_chunks_out_of_order_and_twice_are_answered_and_not_stored(tiny: bytes) -> None:
    machine = alive(tiny)
    port = VirtualPort(machine)
    x = inputs(tiny)[0]
    with connect(port) as board:

        def chunk(sequence: int, offset: int, data: bytes, code: int = 0) -> tuple[int, int]:
            (reply,) = raw(port, "CHUNK", sequence, struct.pack("<IB3x", offset, code) + data)
            assert reply.sequence == sequence
            return struct.unpack("<Ii", reply.payload[:8])

        raw(port, "BEGIN", 10, struct.pack("<IIB3x", 32, zlib.crc32(x.tobytes()), 0))
        data = x.tobytes()
        assert chunk(11, 8, data[8:16]) == (0, 0)
        assert chunk(12, 0, data[:8]) == (8, 0)
        assert chunk(12, 0, data[:8]) == (8, 0)
        assert chunk(13, 8, data[8:15]) == (8, 0)  # no multiple of 8
        assert chunk(14, 8, data + data) == (8, 0)  # too much
        assert chunk(15, 8, data[8:16], 1) == (8, -21)  # another slot
        assert chunk(16, 0xFFFFFFF8, data[8:16]) == (8, 0)
        assert struct.unpack("<Ii", raw(port, "COMMIT", 17)[0].payload[:8]) == (8, -21)
        assert struct.unpack(
            "<Ii", raw(port, "BEGIN", 18, struct.pack("<IIB3x", 32, zlib.crc32(data), 0))[0].payload[:8]
        ) == (8, 0)
        assert chunk(19, 8, data[8:]) == (32, 0)
        assert struct.unpack("<Ii", raw(port, "COMMIT", 20)[0].payload[:8]) == (32, 0)
        Expected(tiny, x).check_all(board)
