# SPDX-License-Identifier: Apache-2.0
"""Client of the boot loader in the ROM of STM32, over a UART (ST AN3155; AN2606 says which pins).

The line is 8 data bits, even parity, one stop bit. The host sends 0x7F once; the ROM measures the baud rate from it and
answers ACK. After that every command is its code and the complement, every argument ends in its XOR, and the ROM answers ACK
(0x79) or NACK (0x1F) to each part. The ROM has no time-outs of its own: after a lost byte it waits for ever, so
:meth:`Bootloader.recover` feeds it bytes until it refuses something; then it is idle again.

Every wait here is bounded by the port's time-out.
"""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from joulet.errors import FlashError

_T = TypeVar("_T")

SYNC, ACK, NACK = 0x7F, 0x79, 0x1F
GET, VERSION, ID, READ, GO, WRITE, ERASE, EXTENDED_ERASE = 0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x43, 0x44
BLOCK_BYTES = 256
POLL_S = 0.02
# Fed to a ROM that waits for the rest of something. The two differ, as a block of nothing but 0x7F would have a right checksum
# and be written; they are no complements, so that none is taken for a command.
_FILLER = b"\x7f\x7e"
_ALIGN_BYTES = 8  # the ROM of STM32L4 programs double words
_NAMES = {
    GET: "get", VERSION: "version", ID: "id", READ: "read", GO: "go", WRITE: "write", ERASE: "erase",
    EXTENDED_ERASE: "extended erase",
}  # fmt: skip


class Port(Protocol):
    """What of pyserial's interface is used; ``timeout`` is for one read [s]."""

    timeout: float | None

    def read(self, size: int = 1, /) -> bytes:
        """Return up to ``size`` bytes, fewer when the time-out passes."""

    def write(self, data: bytes, /) -> int | None:
        """Send bytes."""


class Refused(FlashError):
    """The boot loader answered NACK."""


class Silent(FlashError):
    """The boot loader did not answer in time, or not with what it may answer."""


class Bootloader:
    """One boot loader at the other end of a port.

    Parameters
    ----------
    port
        Open serial port, 8E1, whose reads return after :data:`POLL_S` or so even when nothing came. It is not set here, as
        setting it configures the whole port anew, at every wait.
    reply_s
        How long to wait for an answer [s].
    attempts
        How often to try what may be tried again.
    erase_s
        How long a mass erase may take [s].
    clock
        Counts seconds.
    """

    def __init__(
        self,
        port: Port,
        *,
        reply_s: float = 1.0,
        attempts: int = 3,
        erase_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port, self._reply_s, self._attempts, self._erase_s, self._clock = port, reply_s, attempts, erase_s, clock
        self._commands: frozenset[int] = frozenset()
        if port.timeout is None or port.timeout > 1.0:
            raise ValueError(f"the port's reads must time out within 1 s, not {port.timeout}")

    def sync(self) -> None:
        """Wake the boot loader. One that is awake already answers NACK, which is as good.

        Raises
        ------
        Silent
            If nothing answers.
        """
        heard = b""
        for _ in range(self._attempts):
            self._send(bytes([SYNC]))
            heard = self._take(1, self._reply_s)
            if heard and heard[0] in (ACK, NACK):
                return
        if heard:
            raise Silent(
                f"the port answers {heard.hex()} to the boot loader's 0x7f: a program runs there, or the baud rate is wrong; "
                "set BOOT0 high and reset the board"
            )
        raise Silent("no answer from the STM32 boot loader: set BOOT0 high, reset the board, and check RX and TX")

    def recover(self) -> None:
        """Bring the boot loader back to where it waits for a command, after a lost or a broken byte.

        Raises
        ------
        Silent
            If nothing answers.
        """
        self._drain()
        # mostly it waits for the rest of a block of 256 bytes with its checksum
        if self._probe(2 * (BLOCK_BYTES + 2)):
            return
        # an erase whose count lost a byte waits for up to 128 KiB of page numbers
        for _ in range(130):
            self._send(_FILLER * 512)
            if self._drain() and self._probe(4):
                return
        raise Silent("the STM32 boot loader stopped answering: reset the board and flash again")

    def _probe(self, times: int) -> bool:
        """Send single bytes until one is refused and nothing follows; return whether one was."""
        for index in range(times):
            self._send(_FILLER[index % 2 : index % 2 + 1])
            if self._take(1, 0.02) == bytes([NACK]) and not self._take(BLOCK_BYTES, 0.05):
                return True
        return False

    def _drain(self) -> bool:
        """Take what is still under way; return whether there was anything."""
        heard = False
        for _ in range(64):
            if not self._take(BLOCK_BYTES, 0.05):
                break
            heard = True
        return heard

    def get(self) -> tuple[int, frozenset[int]]:
        """Return the boot loader's version (0x31 is 3.1) and the codes of its commands."""

        def ask() -> tuple[int, frozenset[int]]:
            self._command(GET)
            (length,) = self._exactly(1)
            content = self._exactly(length + 1)
            self._acknowledge("get")
            return content[0], frozenset(content[1:])

        version, self._commands = self._repeatedly(ask)
        return version, self._commands

    def version(self) -> int:
        """Return the boot loader's version."""

        def ask() -> int:
            self._command(VERSION)
            content = self._exactly(3)
            self._acknowledge("version")
            return content[0]

        return self._repeatedly(ask)

    def product_id(self) -> int:
        """Return the chip's product id, as AN2606 lists them."""

        def ask() -> int:
            self._command(ID)
            (length,) = self._exactly(1)
            if length > 3:
                raise Silent(f"the boot loader gives an id of {length + 1} bytes; bytes were lost")
            content = self._exactly(length + 1)
            self._acknowledge("id")
            return int.from_bytes(content, "big")

        return self._repeatedly(ask)

    def read(self, address: int, size: int) -> bytes:
        """Return up to 256 bytes of memory.

        Raises
        ------
        Refused
            If the address is not readable or the flash is read-protected.
        """
        if not 0 < size <= BLOCK_BYTES:
            raise ValueError(f"a read takes 1 to {BLOCK_BYTES} bytes, not {size}")

        def ask() -> bytes:
            self._command(READ)
            self._send(_address(address))
            self._acknowledge("read address")
            self._send(bytes([size - 1, (size - 1) ^ 0xFF]))
            self._acknowledge("read length")
            return self._exactly(size)

        return self._repeatedly(ask)

    def write(self, address: int, data: bytes) -> None:
        """Write up to 256 bytes to erased flash; the end is padded to whole double words with 0xFF.

        A write whose answer was lost may have happened, and flash may not be written twice: it is read back, and repeated
        only where it is still blank.

        Raises
        ------
        Refused
            If the address is not writable or protected.
        FlashError
            If the flash holds neither the data nor nothing.
        """
        if not 0 < len(data) <= BLOCK_BYTES or address % _ALIGN_BYTES:
            raise ValueError(f"a write takes 1 to {BLOCK_BYTES} bytes at a multiple of {_ALIGN_BYTES}")
        padded = data + b"\xff" * (-len(data) % _ALIGN_BYTES)
        for attempt in range(self._attempts):
            try:
                self._write_once(address, padded)
                return
            except (Silent, Refused):
                if attempt + 1 == self._attempts:
                    raise
                self.recover()
            found = self.read(address, len(padded))
            if found == padded:
                return
            if found.strip(b"\xff"):
                raise FlashError(f"flash at {address:#010x} is half written after a lost answer: flash again")

    def _write_once(self, address: int, padded: bytes) -> None:
        self._command(WRITE)
        self._send(_address(address))
        self._acknowledge(f"address {address:#010x}")
        body = bytes([len(padded) - 1]) + padded
        self._send(body + bytes([_xor(body)]))
        self._acknowledge(f"write at {address:#010x}")

    def mass_erase(self) -> None:
        """Erase the whole flash."""
        if self._extended():
            self._erase(EXTENDED_ERASE, b"\xff\xff\x00", self._erase_s)
        else:
            self._erase(ERASE, b"\xff\x00", self._erase_s)

    def erase(self, pages: Sequence[int]) -> None:
        """Erase pages (sectors) by number.

        Raises
        ------
        ValueError
            If there are none, or more or higher ones than the command takes.
        """
        wide = self._extended()
        width, most = (2, 0xFFF0) if wide else (1, 0xFF)
        if not pages or len(pages) > most or max(pages) >= 1 << (8 * width) or min(pages) < 0:
            raise ValueError(f"pages to erase: 1 to {most} numbers below {1 << (8 * width)}")
        body = (len(pages) - 1).to_bytes(width, "big") + b"".join(page.to_bytes(width, "big") for page in pages)
        # the slowest sectors (128 KiB of STM32F4) take up to 4 s
        budget_s = min(5.0 + 4.0 * len(pages), self._erase_s)
        self._erase(EXTENDED_ERASE if wide else ERASE, body + bytes([_xor(body)]), budget_s)

    def go(self, address: int) -> None:
        """Start the program whose vector table lies at ``address``."""

        def ask() -> None:
            self._command(GO)
            self._send(_address(address))
            self._acknowledge(f"go to {address:#010x}")

        self._repeatedly(ask)

    def _erase(self, code: int, body: bytes, budget_s: float) -> None:
        def ask() -> None:
            self._command(code)
            self._send(body)
            self._acknowledge("erase", budget_s)

        self._repeatedly(ask)

    def _extended(self) -> bool:
        if not self._commands:
            self.get()
        return EXTENDED_ERASE in self._commands

    def _repeatedly(self, ask: Callable[[], _T]) -> _T:
        for attempt in range(self._attempts):
            try:
                return ask()
            except (Silent, Refused):
                if attempt + 1 == self._attempts:
                    raise
                self.recover()
        raise AssertionError("at least one attempt")

    def _command(self, code: int) -> None:
        self._send(bytes([code, code ^ 0xFF]))
        self._acknowledge(f"command '{_NAMES[code]}'")

    def _acknowledge(self, what: str, budget_s: float | None = None) -> None:
        answer = self._take(1, self._reply_s if budget_s is None else budget_s)
        if answer == bytes([NACK]):
            raise Refused(f"the STM32 boot loader refuses: {what} (protected flash, or no such memory)")
        if answer != bytes([ACK]):
            heard = f"answers {answer.hex()}" if answer else "does not answer"
            raise Silent(f"the STM32 boot loader {heard} to: {what}; check the wires, or a lower --baud")

    def _exactly(self, size: int) -> bytes:
        content = self._take(size, self._reply_s)
        if len(content) != size:
            raise Silent(f"the STM32 boot loader sent {len(content)} of {size} bytes")
        return content

    def _take(self, size: int, budget_s: float) -> bytes:
        """Read until ``size`` bytes are there or no more come within the budget."""
        content, ends_s = b"", self._clock() + budget_s
        while len(content) < size and self._clock() < ends_s:
            content += self._port.read(size - len(content))
        return content

    def _send(self, data: bytes) -> None:
        self._port.write(data)


def _address(address: int) -> bytes:
    content = address.to_bytes(4, "big")
    return content + bytes([_xor(content)])


def _xor(data: bytes) -> int:
    return functools.reduce(operator.xor, data)
