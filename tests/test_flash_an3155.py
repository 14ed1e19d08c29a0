# SPDX-License-Identifier: Apache-2.0
"""The STM32 boot loader's client, against a boot loader that an outside program accepts, over lines that lose bytes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from an3155_device import EXTENDED_ERASE, F446_SECTORS, Faults, Rom, RomPort, on_pty
from hypothesis import given, settings
from hypothesis import strategies as st
from outside import complaint, need_package

from joulet.errors import FlashError
from joulet.flash.an3155 import Bootloader, Refused, Silent

BASE = 0x0800_0000


def _client(rom: Rom) -> Bootloader:
    port = RomPort(rom)
    return Bootloader(port, reply_s=0.5, clock=port.clock)


def test_the_bytes_on_the_line_are_those_of_the_application_note() -> None:
    """Figures 2 to 20 of AN3155, written out: what the host sends for each command."""

    class Tape(RomPort):
        sent = b""

        def write(self, data: bytes) -> int:
            self.sent += data
            return super().write(data)

    tape = Tape(Rom())
    client = Bootloader(tape, clock=tape.clock)
    steps = [
        (client.sync, "7f"),
        (client.get, "00ff"),
        (client.version, "01fe"),
        (client.product_id, "02fd"),
        (client.mass_erase, "44bb ffff00"),
        (lambda: client.erase([1, 258]), "44bb 0001 0001 0102 03"),
        (lambda: client.write(BASE, b"\x01\x02\x03"), "31ce 0800000008 07010203ffffffffff f8"),
        (lambda: client.read(BASE, 256), "11ee 0800000008 ff00"),
        (lambda: client.go(BASE), "21de 0800000008"),
    ]
    tape.rom.sectors = (*F446_SECTORS, *([0] * 300))
    for step, expected in steps:
        tape.sent = b""
        step()
        assert tape.sent == bytes.fromhex(expected)


@pytest.mark.parametrize("extended", [True, False])
def test_all_commands(extended: bool) -> None:
    rom = Rom(extended=extended)
    client = _client(rom)
    client.sync()
    client.sync()  # awake already: NACK is as good
    version, commands = client.get()
    assert (version, client.version(), client.product_id()) == (0x31, 0x31, 0x421)
    assert (EXTENDED_ERASE in commands) is extended
    client.erase([1, 3])
    assert rom.erased == [1, 3]
    assert client.read(BASE + 0x4000, 256) == b"\xff" * 256
    assert client.read(BASE, 1) == b"\x5a"
    client.mass_erase()
    client.write(BASE + 8, bytes(range(250)))
    assert bytes(rom.flash[:260]) == b"\xff" * 8 + bytes(range(250)) + b"\xff" * 2
    client.go(BASE)
    assert rom.started_at == BASE


def test_a_second_sync_without_an_answer_in_between() -> None:
    rom = Rom(faults=Faults(lost_from_rom={0}))
    client = _client(rom)
    client.sync()
    assert client.product_id() == 0x421


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda client: client.read(0x2000_0000, 4), Refused, "read address"),
        (lambda client: client.write(BASE, b"x"), Refused, "write at 0x08000000"),  # not erased
        (lambda client: client.erase([99]), Refused, "erase"),
        (lambda client: client.read(BASE, 257), ValueError, "1 to 256"),
        (lambda client: client.write(BASE + 4, b"x"), ValueError, "multiple of 8"),
        (lambda client: client.write(BASE, b""), ValueError, "1 to 256"),
        (lambda client: client.erase([]), ValueError, "pages to erase"),
        (lambda client: client.erase([1 << 16]), ValueError, "pages to erase"),
    ],
)
def test_what_cannot_be_is_refused(call: Any, error: type[Exception], word: str) -> None:
    rom = Rom()
    client = _client(rom)
    client.sync()
    if word.startswith("write"):
        with pytest.raises(FlashError, match="half written"):
            call(client)
        rom.faults.refuse_writes = 9
        client.mass_erase()
    with pytest.raises(error, match=word):
        call(client)


def test_read_protection_is_named() -> None:
    client = _client(Rom(faults=Faults(protected=True)))
    client.sync()
    assert client.product_id() == 0x421
    with pytest.raises(Refused, match=r"command 'read'.*protected"):
        client.read(BASE, 4)


def test_silence_is_bounded_and_names_boot0() -> None:
    rom = Rom(faults=Faults(silent=True))
    port = RomPort(rom)
    with pytest.raises(Silent, match="BOOT0"):
        Bootloader(port, reply_s=0.5, clock=port.clock).sync()
    assert port.now_s <= 2.0


def test_another_program_on_the_port_is_told_apart() -> None:
    client = _client(Rom(faults=Faults(changed_from_rom={0: 0x65, 1: 0x2D, 2: 0x5B})))
    with pytest.raises(Silent, match="a program runs there"):
        client.sync()


def test_the_line_dying_midway_is_bounded() -> None:
    rom = Rom()
    port = RomPort(rom)
    client = Bootloader(port, reply_s=0.5, clock=port.clock)
    client.sync()
    rom.faults.silent = True
    with pytest.raises(Silent, match="stopped answering"):
        client.read(BASE, 256)
    assert port.now_s < 25.0


def _flash(rom: Rom, data: bytes) -> tuple[str, float]:
    """Flash as the flasher does; return what was complained of, and the virtual time it took [s]."""
    port = RomPort(rom)
    client = Bootloader(port, reply_s=0.5, clock=port.clock)

    def work() -> None:
        client.sync()
        client.get()
        client.product_id()
        client.mass_erase()
        for at in range(0, len(data), 256):
            client.write(BASE + at, data[at : at + 256])
        for at in range(0, len(data), 256):
            if client.read(BASE + at, len(data[at : at + 256])) != data[at : at + 256]:
                raise FlashError("verify")

    return complaint(work), port.now_s


@settings(max_examples=300, deadline=None)
@given(
    to_rom=st.sets(st.integers(0, 1400), max_size=2),
    from_rom=st.sets(st.integers(0, 1100), max_size=2),
    changed=st.dictionaries(st.integers(0, 1100), st.integers(0, 255), max_size=1),
    seed=st.integers(0, 3),
)
def test_lost_bytes_end_in_success_or_one_line(
    to_rom: set[int], from_rom: set[int], changed: dict[int, int], seed: int
) -> None:
    rom = Rom(faults=Faults(lost_to_rom=to_rom, lost_from_rom=from_rom, changed_from_rom=changed))
    data = random.Random(seed).randbytes(1000)
    said, took_s = _flash(rom, data)
    assert "\n" not in said
    assert took_s < 120.0  # every wait is bounded
    if not said:
        assert rom.flash[: len(data)] == data


# without the bytes that recovery feeds
PLAIN = bytes(byte for byte in range(252) if byte not in (0x7E, 0x7F)) * 4


@pytest.mark.parametrize("at", [*range(40), *range(40, 1400, 7)])
def test_any_one_byte_lost_to_the_rom_is_made_good(at: int) -> None:
    rom = Rom(faults=Faults(lost_to_rom={at}))
    assert _flash(rom, PLAIN)[0] == ""
    assert rom.flash[: len(PLAIN)] == PLAIN


@pytest.mark.parametrize("at", [*range(40), *range(40, 1100, 7)])
def test_any_one_byte_lost_from_the_rom_is_made_good(at: int) -> None:
    rom = Rom(faults=Faults(lost_from_rom={at}))
    assert _flash(rom, PLAIN)[0] == ""
    assert rom.flash[: len(PLAIN)] == PLAIN


def test_a_shifted_block_that_looks_right_to_the_rom_is_seen() -> None:
    # the byte lost is the one that recovery feeds, so the checksum of what arrived is right
    rom = Rom(faults=Faults(lost_to_rom={100}))
    assert "half written" in _flash(rom, b"\x7f" * 256)[0]


def test_refused_writes_are_tried_again() -> None:
    rom = Rom(faults=Faults(refuse_writes=2))
    assert _flash(rom, b"abcdefgh")[0] == ""
    rom = Rom(faults=Faults(refuse_writes=3))
    assert "refuses: write" in _flash(rom, b"abcdefgh")[0]


class _Connection:
    """A connection for stm32loader: pyserial's interface on a pseudo terminal, without reset lines."""

    TOGGLES_RESET = TOGGLES_BOOT0 = False

    def __init__(self, name: str) -> None:
        self._serial = need_package("serial", "pyserial").Serial(
            name, 115_200, parity="E", timeout=2.0, write_timeout=2.0
        )
        self.timeout = 2.0
        self.read, self.write, self.close = self._serial.read, self._serial.write, self._serial.close

    def enable_reset(self, enable: bool = True) -> None:
        """No such line."""

    def enable_boot0(self, enable: bool = True) -> None:
        """No such line."""

    def flush_input_buffer(self) -> None:
        self._serial.reset_input_buffer()


@pytest.mark.parametrize(("extended", "family"), [(True, "F4"), (False, "F1")])
def test_an_outside_client_accepts_the_simulated_boot_loader(extended: bool, family: str) -> None:
    """Stm32loader, a program of its own, drives our boot loader through everything our client uses."""
    judge = need_package("stm32loader.bootloader", "stm32loader")
    rom, data = Rom(extended=extended), bytes(range(256)) * 3 + b"tail"
    with on_pty(rom) as name:
        connection = _Connection(name)
        theirs = judge.Stm32Bootloader(connection, device_family=family, verbosity=0)
        theirs.reset_from_system_memory()
        assert theirs.get() == 0x31
        assert theirs.get_version() == 0x31
        assert theirs.get_id() == 0x421
        theirs.erase_memory([0, 2])
        assert rom.erased == [0, 2]
        theirs.erase_memory()
        assert bytes(rom.flash).strip(b"\xff") == b""
        theirs.write_memory_data(BASE, data)
        assert bytes(theirs.read_memory_data(BASE, len(data))) == data
        theirs.verify_data(theirs.read_memory_data(BASE, len(data)), data)
        with pytest.raises(judge.CommandError):
            theirs.erase_memory([200])
        theirs.go(BASE)
        connection.close()
    assert rom.flash[: len(data)] == data
    assert rom.started_at == BASE
