# SPDX-License-Identifier: Apache-2.0
"""An STM32 in its ROM boot loader, as ST AN3155 describes it, with the faults a line can have.

:class:`Rom` takes bytes and gives bytes; :class:`RomPort` makes a port of it whose time is virtual, so that time-outs cost
nothing; :func:`on_pty` puts it behind a pseudo terminal for programs that open serial ports.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import threading
import tty
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

ACK, NACK = 0x79, 0x1F
GET, VERSION, ID, READ, GO, WRITE, ERASE, EXTENDED_ERASE = 0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x43, 0x44

# sizes of the sectors of an STM32F446 [bytes]: RM0390, table 5
F446_SECTORS = (*(4 * (16_384,)), 65_536, *(3 * (131_072,)))


@dataclass(slots=True)
class Faults:
    """What goes wrong: indices count the bytes of one direction since power-up.

    ``hole`` is an address whose block is not programmed though the ROM says it was; ``refuse_writes`` counts writes that the
    ROM answers with NACK.
    """

    silent: bool = False
    lost_to_rom: set[int] = field(default_factory=set)
    lost_from_rom: set[int] = field(default_factory=set)
    changed_from_rom: dict[int, int] = field(default_factory=dict)
    hole: int | None = None
    refuse_writes: int = 0
    protected: bool = False


class Rom:
    """The boot loader. ``flash`` is what it programs; ``started_at`` is where GO went, or None."""

    def __init__(
        self,
        *,
        product_id: int = 0x421,
        base: int = 0x0800_0000,
        sectors: tuple[int, ...] = F446_SECTORS,
        extended: bool = True,
        faults: Faults | None = None,
    ) -> None:
        self.product_id, self.base, self.sectors = product_id, base, sectors
        self.flash = bytearray(b"\x5a" * sum(sectors))  # what lay there before
        self.faults = faults or Faults()
        self.started_at: int | None = None
        self.erased: list[int] = []
        self.commands = (GET, VERSION, ID, READ, GO, WRITE, EXTENDED_ERASE if extended else ERASE)
        self._out = bytearray()
        self._heard = self._said = 0
        self._machine = self._serve()
        next(self._machine)

    def take(self, data: bytes) -> bytes:
        """Hear bytes; return what is answered."""
        for byte in data:
            lost = self._heard in self.faults.lost_to_rom
            self._heard += 1
            if not lost and not self.faults.silent:
                self._machine.send(byte)
        answer, self._out = self._out, bytearray()
        heard = bytearray()
        for byte in answer:
            if self._said not in self.faults.lost_from_rom:
                heard.append(self.faults.changed_from_rom.get(self._said, byte))
            self._said += 1
        return bytes(heard)

    def _serve(self) -> Generator[None, int, None]:
        handlers = {
            GET: self._get, VERSION: self._version, ID: self._id, READ: self._read, GO: self._go, WRITE: self._write,
            ERASE: self._erase, EXTENDED_ERASE: self._extended_erase,
        }  # fmt: skip
        while (yield) != 0x7F:
            pass
        self._say(ACK)
        while self.started_at is None:
            code = yield
            complement = yield
            refused = self.faults.protected and code not in (GET, VERSION, ID)
            if code ^ complement != 0xFF or code not in self.commands or refused:
                self._say(NACK)
                continue
            self._say(ACK)
            yield from handlers[code]()
        while True:  # the program runs; it hears nothing
            yield

    def _say(self, *content: int) -> None:
        self._out.extend(content)

    def _take_checked(self, count: int) -> Generator[None, int, bytes | None]:
        content = bytearray()
        for _ in range(count):
            content.append((yield))
        checksum = yield
        # a single byte is followed by its complement, more by their XOR
        wanted = content[0] ^ 0xFF if count == 1 else _xor(content)
        return bytes(content) if checksum == wanted else None

    def _take_address(self) -> Generator[None, int, int | None]:
        content = yield from self._take_checked(4)
        address = None if content is None else int.from_bytes(content, "big")
        if address is None or not self.base <= address < self.base + len(self.flash):
            self._say(NACK)
            return None
        self._say(ACK)
        return address

    def _get(self) -> Generator[None, int, None]:
        self._say(len(self.commands), 0x31, *self.commands, ACK)
        yield from ()

    def _version(self) -> Generator[None, int, None]:
        self._say(0x31, 0x00, 0x00, ACK)
        yield from ()

    def _id(self) -> Generator[None, int, None]:
        self._say(1, *self.product_id.to_bytes(2, "big"), ACK)
        yield from ()

    def _read(self) -> Generator[None, int, None]:
        address = yield from self._take_address()
        if address is None:
            return
        count = yield from self._take_checked(1)
        if count is None:
            self._say(NACK)
            return
        at = address - self.base
        self._say(ACK, *self.flash[at : at + count[0] + 1])

    def _go(self) -> Generator[None, int, None]:
        self.started_at = yield from self._take_address()

    def _write(self) -> Generator[None, int, None]:
        address = yield from self._take_address()
        if address is None:
            return
        size = yield
        body = bytearray([size])
        for _ in range(size + 1):
            body.append((yield))
        checksum = yield
        at, data = address - self.base, bytes(body[1:])
        if checksum != _xor(body) or len(data) % 4 or at % 4 or self.faults.refuse_writes > 0:
            self.faults.refuse_writes -= 1
            self._say(NACK)
            return
        if self.flash[at : at + len(data)].strip(b"\xff"):  # not erased
            self._say(NACK)
            return
        if address != self.faults.hole:
            self.flash[at : at + len(data)] = data
        self._say(ACK)

    def _erase(self) -> Generator[None, int, None]:
        count = yield
        if count == 0xFF:
            if (yield) != 0x00:
                self._say(NACK)
                return
            self._wipe(range(len(self.sectors)))
            return
        body = bytearray([count])
        for _ in range(count + 1):
            body.append((yield))
        if (yield) != _xor(body):
            self._say(NACK)
            return
        self._wipe(body[1:])

    def _extended_erase(self) -> Generator[None, int, None]:
        body = bytearray()
        for _ in range(2):
            body.append((yield))
        count = int.from_bytes(body, "big")
        if count >= 0xFFF0:
            checksum = yield
            if count != 0xFFFF or checksum != _xor(body):
                self._say(NACK)
                return
            self._wipe(range(len(self.sectors)))
            return
        for _ in range(2 * (count + 1)):
            body.append((yield))
        if (yield) != _xor(body):
            self._say(NACK)
            return
        self._wipe(int.from_bytes(body[at : at + 2], "big") for at in range(2, len(body), 2))

    def _wipe(self, numbers: Iterator[int] | range | bytearray) -> None:
        wanted = list(numbers)
        if any(number >= len(self.sectors) for number in wanted):
            self._say(NACK)
            return
        for number in wanted:
            start = sum(self.sectors[:number])
            self.flash[start : start + self.sectors[number]] = b"\xff" * self.sectors[number]
        self.erased += wanted
        self._say(ACK)


def _xor(content: bytes | bytearray) -> int:
    return functools.reduce(operator.xor, content)


class RomPort:
    """A port to a boot loader; waiting for nothing moves its own clock on by the time-out at once."""

    def __init__(self, rom: Rom) -> None:
        self.rom, self.timeout, self.now_s = rom, 0.02, 0.0
        self._waiting = bytearray()

    def clock(self) -> float:
        """Return the virtual time [s]."""
        return self.now_s

    def write(self, data: bytes) -> int:
        self._waiting += self.rom.take(data)
        return len(data)

    def read(self, size: int = 1) -> bytes:
        taken = bytes(self._waiting[:size])
        del self._waiting[:size]
        if len(taken) < size:
            self.now_s += self.timeout
        return taken


@contextlib.contextmanager
def on_pty(rom: Rom) -> Iterator[str]:
    """Serve a boot loader on a pseudo terminal; yield its name."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed: the test is over
            while data := os.read(ours, 512):
                os.write(ours, rom.take(data))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        os.close(theirs)
        thread.join(timeout=5)
        os.close(ours)
