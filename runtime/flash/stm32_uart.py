# SPDX-License-Identifier: Apache-2.0
"""Flash an STM32 through the boot loader in its ROM, over a serial port: no debugger, works offline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from joulet.errors import FlashError, UsageError
from joulet.flash.an3155 import BLOCK_BYTES, POLL_S, Bootloader, Silent
from joulet.flash.facts import FlashFacts
from joulet.flash.flasher import Device, OnEvent, Options, Result, log, task
from joulet.flash.image import Image
from joulet.flash.surroundings import Surroundings

_ERASED = b"\xff" * BLOCK_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Stm32UartFlasher:
    """Erases, writes, reads back and starts over AN3155."""

    facts: FlashFacts
    options: Options
    around: Surroundings
    reply_s: float = 0.5
    via: str = "stm32-uart"

    def probe(self) -> list[Device]:
        """Return the port given, if a boot loader answers there; ports are not searched, as asking disturbs programs."""
        self._product_id()
        if self.options.port is None:
            raise UsageError("flashing over a UART needs --port (joulet devices lists them)")
        try:
            with self._connected() as loader:
                loader.sync()
        except Silent as error:
            raise self._with_note(error) from error
        return [Device(via=self.via, id=self.options.port, description="STM32 boot loader in ROM")]

    def plan(self, image: Image) -> list[str]:
        """Return the steps in words."""
        product = self._product_id()
        blocks = sum(1 for _ in _blocks(image))
        return [
            f"wake the boot loader on {self.options.port or 'the port given by --port'} (BOOT0 high, then reset; 8E1)",
            f"ask for the chip's id; stop unless it is {product:#05x}",
            self._erase_words(image),
            f"write {blocks} blocks of {BLOCK_BYTES} bytes, then read all of them back and compare",
            f"start the program at {self.facts.base:#010x}",
        ]

    def flash(self, image: Image, on_event: OnEvent) -> Result:
        """Flash over the port."""
        if self.options.port is None:
            raise UsageError("flashing over a UART needs --port (joulet devices lists them)")
        with self._connected() as loader:
            try:
                loader.sync()
            except Silent as error:
                raise self._with_note(error) from error
            version, _ = loader.get()
            log(on_event, "info", f"boot loader {version >> 4}.{version & 15} on {self.options.port}")
            self._check_chip(loader)
            with task(on_event, "erase", self._erase_words(image)):
                sectors = self._sectors(image)
                if sectors:
                    loader.erase(sectors)
                else:
                    loader.mass_erase()
            self._write(loader, image, on_event)
            self._read_back(loader, image, on_event)
            try:
                loader.go(self.facts.base)
            except FlashError:
                log(on_event, "warning", "the program may not have been started: set BOOT0 low and reset the board")
        return Result(via=self.via, device=self.options.port, bytes_written=image.size_bytes, read_back=True)

    @contextmanager
    def _connected(self) -> Iterator[Bootloader]:
        assert self.options.port is not None
        port = self.around.open_serial(self.options.port, parity="E", timeout_s=POLL_S)
        try:
            yield Bootloader(port, reply_s=self.reply_s)
        except OSError as error:  # the adapter was unplugged
            raise FlashError(f"'{self.options.port}' went away: {error}; plug it in and flash again") from error
        finally:
            port.close()

    def _product_id(self) -> int:
        if self.facts.stm32_product_id is None:
            raise UsageError(f"{self.facts.board} has no STM32 boot loader (no stm32_product_id); use another --via")
        return self.facts.stm32_product_id

    def _with_note(self, error: FlashError) -> FlashError:
        return FlashError(f"{error}. {self.facts.uart_note}" if self.facts.uart_note else str(error))

    def _check_chip(self, loader: Bootloader) -> None:
        found, wanted = loader.product_id(), self._product_id()
        if found != wanted:
            raise FlashError(
                f"the chip on {self.options.port} is {found:#05x}, {self.facts.board} has {wanted:#05x}: wrong board"
            )

    def _sectors(self, image: Image) -> list[int]:
        """Return the numbers of the sectors that the image touches; empty where the layout is not known."""
        touched, start, number = [], self.facts.base, 0
        for count, size in self.facts.sectors:
            for _ in range(count):
                if any(address < start + size and address + len(data) > start for address, data in image.segments):
                    touched.append(number)
                start, number = start + size, number + 1
        return touched if image.end <= start else []

    def _erase_words(self, image: Image) -> str:
        sectors = self._sectors(image)
        return (
            f"erase sectors {', '.join(map(str, sectors))}"
            if sectors
            else "erase the whole flash, with all the board kept there"
        )

    def _write(self, loader: Bootloader, image: Image, on_event: OnEvent) -> None:
        blocks = list(_blocks(image))
        with task(on_event, "program", f"writing {len(blocks)} blocks", len(blocks)) as writing:
            for done, (address, data) in enumerate(blocks, 1):
                loader.write(address, data)
                writing.advance(done)

    def _read_back(self, loader: Bootloader, image: Image, on_event: OnEvent) -> None:
        blocks = list(_blocks(image))
        with task(on_event, "verify", "reading back", len(blocks)) as reading:
            for done, (address, data) in enumerate(blocks, 1):
                if loader.read(address, len(data)) != data:
                    raise FlashError(
                        f"flash at {address:#010x} does not hold what was written: flash again, and check the supply"
                    )
                reading.advance(done)


def _blocks(image: Image) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks to write; those that erased flash holds already are left out."""
    return ((address, data) for address, data in image.pages(BLOCK_BYTES) if data != _ERASED)
