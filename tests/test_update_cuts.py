# SPDX-License-Identifier: Apache-2.0
"""Models and policies on two sides: updates cut at random instructions, going back, digests, signatures, programmers."""

from __future__ import annotations

import hashlib
import struct
import zlib

import numpy as np
import pytest
from link_bench import alive, other_container, raw, tiny_container
from update_bench import Campaign, Memory, Model

from joulet.emulator.board import VirtualPort
from joulet.errors import LinkError
from joulet.link import Board, connect, wire

AT = wire.ACTIVATIONS_AT


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return tiny_container()


@pytest.fixture(scope="module")
def other() -> bytes:
    return other_container()


@pytest.mark.parametrize("name", ["virtual_m4", "virtual_m0plus"])
def test_a_cut_at_any_instruction_leaves_the_old_or_the_new_model(name: str, tiny: bytes, other: bytes) -> None:
    alive()
    campaign = Campaign((tiny, other), seed=1, name=name)
    for _ in range(5):
        campaign.round(30)
    counts = campaign.counts
    assert campaign.problems == []
    assert counts["neither"] == 0
    assert counts["cuts"] >= 150
    assert min(counts["old"], counts["new"], counts["resumed"]) > 0


def sides(board: Board) -> tuple[str, bool]:
    hello = board.greet()
    assert hello.model_status == 0
    return hello.model_side, hello.model_other


def test_rollback_goes_back_and_forth(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    old, new = Model(tiny), Model(other)
    with connect(VirtualPort(machine)) as board:
        assert sides(board) == ("A", False)
        with pytest.raises(LinkError, match="ROLLBACK"):
            board.rollback("MODEL")
        with pytest.raises(LinkError, match="out of range"):
            board.rollback("SAMPLES")
        assert old.answers(board)
        board.upload("MODEL", other)
        assert sides(board) == ("B", True)
        assert new.answers(board)
        assert board.rollback("MODEL").model_side == "A"
        assert old.answers(board)
        assert board.rollback("MODEL").model_side == "B"
    machine.cut()
    machine.power_on()
    with connect(VirtualPort(machine)) as board:
        assert sides(board) == ("B", True)
        assert new.answers(board)


def test_rollback_ends_the_transfer_that_was_on_its_way_there(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    port = VirtualPort(machine)
    with connect(port) as board:
        board.upload("MODEL", other)
        begin = struct.pack("<IIB3x", len(other), zlib.crc32(other), 1)
        assert raw(port, "BEGIN", 900, begin)[0].payload[4:8] == bytes(4)
        assert sides(board) == ("B", True)  # nothing has been erased yet: what is there would run
        raw(port, "CHUNK", 901, struct.pack("<IB3x", 0, 1) + other[:64])
        with pytest.raises(LinkError, match="ROLLBACK"):
            board.rollback("MODEL")  # there is nothing to go back to any more
        assert Model(other).answers(board)


@pytest.mark.parametrize("damage", ["named", "both"])
def test_a_side_that_does_not_pass_its_check_is_left_for_the_other(damage: str, tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    with connect(VirtualPort(machine)) as board:
        board.upload("MODEL", other)
    slots = machine.facts.slots
    machine.fram.data[16:64] = bytes(48)  # no trust
    machine.core.flash[slots["model_b"].address + 0x200] ^= 1
    if damage == "both":
        machine.core.flash[slots["model"].address + 16] ^= 1
    machine.cut()
    machine.power_on()
    with connect(VirtualPort(machine)) as board:
        if damage == "both":
            assert board.hello.model_status < 0
        else:
            assert sides(board) == ("A", False)
            assert Model(tiny).answers(board)


def test_torn_and_foreign_records_do_not_count(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    with connect(VirtualPort(machine)) as board:
        board.upload("MODEL", other)
    good = Memory.of(machine)
    size = wire.dtype("Activation").itemsize
    record = np.frombuffer(bytes(machine.fram.data[AT : AT + size]), wire.dtype("Activation"))[0]
    if int(record["sequence"]) == 0:
        record = np.frombuffer(bytes(machine.fram.data[AT + 64 : AT + 64 + size]), wire.dtype("Activation"))[0]
    assert (int(record["model_side"]), int(record["policy_side"]), int(record["sequence"])) == (1, 0, 1)
    assert bytes(record["build_id"]) == machine.firmware.build_id
    assert bytes(record["model_hash"]).hex() == Model(other).hash[:32]
    at = AT if bytes(machine.fram.data[AT : AT + size]) == record.tobytes() else AT + 64

    def runs(change: dict[str, object], *, sum_right: bool) -> str:
        good.onto(machine)
        changed = record.copy()
        for name, value in change.items():
            changed[name] = value
        if sum_right:
            changed["crc32"] = zlib.crc32(changed.tobytes()[:-4])
        machine.fram.data[at : at + size] = changed.tobytes()
        machine.cut()
        machine.power_on()
        with connect(VirtualPort(machine)) as board:
            return sides(board)[0]

    assert runs({}, sum_right=True) == "B"
    assert runs({"sequence": 2}, sum_right=False) == "A"
    assert runs({"build_id": np.zeros(8, np.uint8)}, sum_right=True) == "A"
    assert runs({"model_hash": np.zeros(16, np.uint8)}, sum_right=True) == "A"
    assert runs({"model_head_crc32": 5}, sum_right=True) == "A"


def test_what_a_programmer_puts_onto_side_a_runs(tiny: bytes, other: bytes) -> None:
    machine = alive(other)
    with connect(VirtualPort(machine)) as board:
        board.upload("MODEL", tiny)
        assert sides(board) == ("B", True)
    machine.cut()
    machine.core.flash[machine.facts.slots["model"].address :][: len(other)] = 0xFF
    machine.load(machine.facts.slots["model"].address, tiny[:])
    machine.power_on()
    with connect(VirtualPort(machine)) as board:
        assert sides(board) == ("A", True)
        board.upload("MODEL", other)
        assert sides(board) == ("B", True)
        assert Model(other).answers(board)


def commit(board: Board, port: VirtualPort, content: bytes, payload: bytes, code: int = 1) -> int:
    """Send all of an update but for the client's own COMMIT; return the status."""
    raw(port, "BEGIN", 800, struct.pack("<IIB3x", len(content), zlib.crc32(content), code))
    for at in range(0, len(content), wire.CHUNK_BYTES):
        chunk = content[at : at + wire.CHUNK_BYTES]
        raw(port, "CHUNK", 801 + at // wire.CHUNK_BYTES, struct.pack("<IB3x", at, code) + chunk)
    board.greet()
    (reply,) = raw(port, "COMMIT", 1000 + payload[0] if payload else 999, payload)
    return int(struct.unpack("<IiB3x", reply.payload)[1])


def test_a_wrong_digest_is_refused_and_none_is_no_mistake(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    port = VirtualPort(machine)
    with connect(port) as board:
        right = hashlib.sha256(other).digest()
        assert commit(board, port, other, hashlib.sha256(tiny).digest() + bytes(64)) == -24
        assert sides(board) == ("A", False)
        at = machine.facts.slots["model_b"].address
        assert (machine.core.flash[at : at + 8] == 0xFF).all()
        assert commit(board, port, other, right + bytes(64)) == 0
        assert sides(board) == ("B", True)
    with connect(port) as board:
        assert commit(board, port, other, b"") == 0
        assert sides(board) == ("A", True)


def test_a_model_that_needs_more_memory_leaves_the_old_one(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    fits = bytearray(other)
    with connect(VirtualPort(machine)) as board:
        fits[-1] ^= 0xFF  # passes the sum of the transfer, not that of the section
        with pytest.raises(LinkError, match="checksum"):
            board.upload("MODEL", bytes(fits))
        assert sides(board) == ("A", False)
        assert Model(tiny).answers(board)


def test_nothing_is_rewritten_while_a_session_could_begin(tiny: bytes, other: bytes) -> None:
    """The old model answers in the middle of an upload, and the upload goes on."""
    machine = alive(tiny)
    old = Model(tiny)
    port = VirtualPort(machine)
    with connect(port) as board:
        raw(port, "BEGIN", 700, struct.pack("<IIB3x", len(other), zlib.crc32(other), 1))
        raw(port, "CHUNK", 701, struct.pack("<IB3x", 0, 1) + other[:248])
        assert sides(board) == ("A", False)
        assert old.answers(board)
        board.upload("MODEL", other)
        assert Model(other).hash == board.greet().model_hash


def test_a_board_without_such_memory_has_one_side(tiny: bytes, other: bytes) -> None:
    machine = alive(tiny)
    machine._devices[0x1_0000]._changed = lambda out: None  # type: ignore[attr-defined]  # FRAM is never selected
    machine.cut()
    machine.power_on()
    with connect(VirtualPort(machine)) as board:
        assert sides(board) == ("A", False)
        board.upload("MODEL", other)
        assert sides(board) == ("A", False)
        assert Model(other).answers(board)
        with pytest.raises(LinkError, match="ROLLBACK"):
            board.rollback("MODEL")
    at = machine.facts.slots["model"].address
    assert machine.core.flash[at : at + len(other)].tobytes() == other
