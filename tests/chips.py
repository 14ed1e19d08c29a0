# SPDX-License-Identifier: Apache-2.0
"""Four microcontrollers as far as the firmware uses them: registers that answer as the manuals say, written anew from them.

They know nothing of timing, pins or power. What they hold a driver to: a clock is selected only when it runs, flash is
written only unlocked, erased and in whole granules, DMA stays in RAM, and nothing is fetched from a flash that is not
there. A breach is an assertion in the test that runs the board.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chip import Chip

from joulet.emulator.devices import Fram
from joulet.firmware.build import Firmware


def _bit(value: int, index: int) -> bool:
    return bool(value >> index & 1)


class Stm32(Chip):
    """What STM32F4 and STM32L4 have in common: TIM2, GPIO inputs that are pulled up, a lock on the flash controller."""

    FLASH = 0
    KEYR = CR = SR = 0
    TIM2_CNT = 0x4000_0024

    def __init__(self, firmware: Firmware, *, dead: bool = False) -> None:
        self._keys: list[int] = []
        super().__init__(firmware, dead=dead)
        self.registers[self.FLASH + self.CR] = 1 << 31

    def read_register(self, address: int) -> int:
        if address == self.TIM2_CNT:
            self.ticks += 3
            return self.ticks & 0xFFFF_FFFF
        if address & 0xFFF_F3FF in (0x800_0010, 0x002_0010):
            return 0xFFFF  # IDR
        return super().read_register(address)

    def write_register(self, address: int, value: int) -> None:
        control = self.FLASH + self.CR
        if address == self.FLASH + self.KEYR:
            self._keys = [*self._keys[-1:], value]
            if self._keys == [0x4567_0123, 0xCDEF_89AB]:
                self.registers[control] &= ~(1 << 31)
        elif address == self.FLASH + self.SR:
            pass  # writing ones clears
        elif address == control and _bit(self.registers[control], 31):
            self.hold(False, "the flash controller is locked")
        else:
            self.registers[address] = value
            if address == control and _bit(value, 16):
                self.started(value)

    def started(self, control: int) -> None:
        """Erase what the controller was told to."""
        raise NotImplementedError

    def _store(self, address: int, value: int) -> None:
        control = self.registers[self.FLASH + self.CR]
        self.hold(not _bit(control, 31) and _bit(control, 0), f"{address:#x} is written without PG")
        self.word(address, value)

    def word(self, address: int, value: int) -> None:
        """Program four bytes."""
        self.program(address, value.to_bytes(4, "little"))


class Stm32L4(Stm32):
    """STM32L4R5: HSI16, the PLL, LPUART1, the flash in two banks, the ADC with its reference."""

    line = 0x4000_8000
    FLASH, KEYR, SR, CR = 0x4002_2000, 0x08, 0x10, 0x14
    reset_values: Mapping[int, int] = {0x4002_2020: 1 << 22, 0x4000_7080: 1 << 8}

    def __init__(self, firmware: Firmware, *, dead: bool = False) -> None:
        self._half: tuple[int, int] | None = None
        super().__init__(firmware, dead=dead)
        self.uc.mem_map(0x1FFF_7000, 0x1000)
        self.uc.mem_write(0x1FFF_75AA, (1650).to_bytes(2, "little"))

    def read_register(self, address: int) -> int:
        r = self.registers
        if address == 0x4002_1000:  # RCC_CR
            cr = r.get(address, 0)
            return cr | _bit(cr, 8) << 10 | _bit(cr, 24) << 25
        if address == 0x4002_1008:  # RCC_CFGR: SWS follows SW
            return r.get(address, 0) | (r.get(address, 0) & 3) << 2
        if address == 0x4000_801C:  # LPUART ISR
            return 1 << 7 | (1 << 5 if self.received and _bit(r.get(0x4000_8000, 0), 0) else 0)
        if address == 0x4000_8024:
            return self.received.pop(0) if self.received else 0
        if address == 0x5004_0000:  # ADC ISR: ADRDY, EOC
            cr = r.get(0x5004_0008, 0)
            return _bit(cr, 0) | (4 if _bit(cr, 2) else 0)
        if address == 0x5004_0008:
            return r.get(address, 0) & ~(1 << 31)
        if address == 0x5004_0040:
            self.hold(_bit(r.get(0x5004_0308, 0), 22), "the reference is off")
            return 1500
        return super().read_register(address)

    def write_register(self, address: int, value: int) -> None:
        r = self.registers
        if address == 0x4000_8028:  # LPUART TDR
            self.hold(r.get(0x4000_800C) == 35556 and r[0x4000_8000] & 9 == 9, "LPUART is not set up")
            self.hold(_bit(r.get(0x4000_7004, 0), 9), "PG7 has no supply (IOSV)")
            self.hold(r.get(0x4800_1800, 0) >> 14 & 15 == 0b1010, "PG7 and PG8 are not alternate")
            self.sent.append(value)
            return
        if address == 0x4002_1008 and value & 3 == 3:
            self.hold(_bit(r.get(0x4002_1000, 0), 24), "the PLL does not run")
            self.hold(r.get(0x4002_2000, 0) & 15 == 5, "wait states are missing")
            self.hold(not _bit(r[0x4000_7080], 8), "the regulator is not in boost mode")
            self.hold(_bit(r.get(address, 0), 1) or value & 0xF0 == 0x80, "the bus is not divided on the way up")
            pll = r.get(0x4002_100C, 0)
            mhz = 16 / ((pll >> 4 & 15) + 1) * (pll >> 8 & 127) / (2 * (pll >> 25 & 3) + 2)
            self.hold(pll & 3 == 2 and _bit(pll, 24) and mhz == 120, f"the PLL makes {mhz} MHz")
        super().write_register(address, value)

    def started(self, control: int) -> None:
        self.hold(_bit(control, 1), "PER is not set")
        self.erase(0x0800_0000 + _bit(control, 11) * 0x10_0000 + (control >> 3 & 255) * 4096, 4096)

    def word(self, address: int, value: int) -> None:
        if self._half is None:
            self.hold(address % 8 == 0, "a double word begins at a multiple of 8")
            self._half = (address, value)
            return
        first, low = self._half
        self._half = None
        self.hold(address == first + 4, "a double word is written in order")
        self.program(first, (low | value << 32).to_bytes(8, "little"))


class Stm32F4(Stm32):
    """STM32F446: HSE or HSI, the PLL, USART2, the flash in sectors, the ADC, an FRAM on SPI1 with PB6."""

    line = 0x4000_4000
    FLASH, KEYR, SR, CR = 0x4002_3C00, 0x04, 0x0C, 0x10
    SECTORS = (*[0x4000] * 4, 0x1_0000, *[0x2_0000] * 3)

    def __init__(self, firmware: Firmware, *, dead: bool = False) -> None:
        self.fram = Fram(0x8_0000)
        super().__init__(firmware, dead=dead)

    def read_register(self, address: int) -> int:
        r = self.registers
        if address == 0x4002_3800:
            cr = r.get(address, 0)
            return cr | _bit(cr, 16) << 17 | _bit(cr, 24) << 25
        if address == 0x4002_3808:
            return r.get(address, 0) | (r.get(address, 0) & 3) << 2
        if address == 0x4000_4400:
            return 1 << 7 | (1 << 5 if self.received else 0)
        if address == 0x4000_4404:
            return self.received.pop(0) if self.received else 0
        if address == 0x4001_3008:  # SPI1: TXE, RXNE
            return 2 | self.fram.read(0x0C) >> 2 & 1
        if address == 0x4001_300C:
            return self.fram.read(0x08)
        if address == 0x4001_2000:
            return 2
        if address == 0x4001_204C:
            return 1000
        return super().read_register(address)

    def write_register(self, address: int, value: int) -> None:
        r = self.registers
        if address == 0x4000_4404:
            self.hold(r.get(0x4000_4408) == 208 and r[0x4000_440C] & 0x200C == 0x200C, "USART2 is not set up")
            self.hold(r.get(0x4002_0000, 0) >> 4 & 15 == 0b1010, "PA2 and PA3 are not alternate")
            self.sent.append(value)
            return
        if address == 0x4001_300C:
            self.hold(r.get(0x4001_3000, 0) & 0x347 == 0x344, "SPI1 is not a master in mode 0")
            self.fram.write(0x08, value)
        if address == 0x4002_0418 and value & 0x40_0040:
            self.fram.select(bool(value & 0x40_0000))
        if address == 0x4002_3808 and value & 3 == 2:
            pll = r.get(0x4002_3804, 0)
            source = 8 if _bit(pll, 22) else 16
            mhz = source / (pll & 63) * (pll >> 6 & 511) / (2 * (pll >> 16 & 3) + 2)
            self.hold(_bit(r.get(0x4002_3800, 0), 24) and mhz == 96, f"the PLL makes {mhz} MHz")
            self.hold(r.get(0x4002_3C00, 0) & 15 == 3, "wait states are missing")
        super().write_register(address, value)

    def started(self, control: int) -> None:
        sector = control >> 3 & 15
        self.hold(_bit(control, 1) and control >> 8 & 3 == 2, "SER or the width is not set")
        self.erase(0x0800_0000 + sum(self.SECTORS[:sector]), self.SECTORS[sector])


class Rp2040(Chip):
    """RP2040: boot2 from RAM, resets, clocks, the ROM's flash functions, UART0, the timer, the ADC."""

    core = "UC_CPU_ARM_CORTEX_M0"
    line = 0x4003_4000
    ROM = ("connect", "exit_xip", "erase", "program", "flush")
    CODES: Mapping[str, str] = {"IF": "connect", "EX": "exit_xip", "RE": "erase", "RP": "program", "FC": "flush"}
    reset_values: Mapping[int, int] = {0x4000_C000: 0x01FF_FFFF, 0x4002_8004: 0x2D, 0x4002_C004: 0x2D}

    def start(self) -> None:
        import unicorn

        self.in_place = False
        self.called: list[str] = []
        self.uc.mem_map(0, 0x4000)
        self.uc.mem_write(0, b"\x70\x47" * 0x800)  # bx lr
        self.uc.mem_write(0x14, (0x300).to_bytes(2, "little") + b"\0\0" + (0x101).to_bytes(2, "little"))
        self.uc.hook_add(unicorn.UC_HOOK_CODE, self._rom, None, 0x100, 0x200)
        flash = self.facts.slots["firmware"]
        if not self.dead:
            self.uc.hook_add(unicorn.UC_HOOK_BLOCK, self._fetch, None, flash.address, flash.address + flash.size)
        # what the ROM does after a reset
        self.uc.mem_write(0x2004_1F00, bytes(self.flash[:256]))
        self.enter(0x2004_1F00, 0x2004_1F00)

    def _fetch(self, _uc: Any, address: int, _size: int, _data: Any) -> None:
        self.hold(self.in_place, f"code is fetched from flash at {address:#x}, which is not to be read now")

    def _rom(self, uc: Any, address: int, _size: int, _data: Any) -> None:
        r0, r1, r2 = (uc.reg_read(getattr(self.arm, f"UC_ARM_REG_R{i}")) for i in range(3))
        if address == 0x100:
            self.hold(r0 == 0x300, "the table of functions is another")
            name = self.CODES.get(chr(r1 & 255) + chr(r1 >> 8))
            uc.reg_write(self.arm.UC_ARM_REG_R0, 0x111 + 0x10 * self.ROM.index(name) if name else 0)
            return
        name = self.ROM[(address - 0x110) // 0x10]
        self.called.append(name)
        masked = uc.reg_read(self.arm.UC_ARM_REG_PRIMASK)
        self.hold(masked == 1, f"{name} runs with interrupts on")
        if name == "exit_xip":
            self.hold(self.called[-2:-1] == ["connect"], "the flash is not connected")
            self.in_place = False
        elif name == "erase":
            self.hold(r1 == 4096 and not self.in_place, "one sector is erased, and nothing read meanwhile")
            self.erase(self.base + r0, 4096)
        elif name == "program":
            self.hold(r0 % 256 == 0 and r2 == 256 and not self.in_place, "one page is written")
            self.hold(self.ram[0] <= r1 < sum(self.ram), "data lie in the flash that is being written")
            self.program(self.base + r0, bytes(uc.mem_read(r1, 256)), over=True)

    def read_register(self, address: int) -> int:
        r = self.registers
        if address == 0x4000_C008:
            return ~r[0x4000_C000] & 0x01FF_FFFF
        if address == 0x4002_4004:
            return 1 << 31 if r.get(0x4002_4000) == 0xFA_BAA0 else 0
        if address in (0x4002_8000, 0x4002_C000):
            return r.get(address, 0) | (0 if r[address + 4] & 0x21 else 1 << 31)
        if address in (0x4000_8038, 0x4000_8044):
            return 1 << (r.get(address - 8, 0) & 3)
        if address in (0x4005_4024, 0x4005_4028):
            self.hold(r.get(0x4005_802C) == 0x20C, "the timer has no tick of 1 us")
            self.ticks += 3
            return self.ticks >> 32 if address == 0x4005_4024 else self.ticks & 0xFFFF_FFFF
        if address == 0x4003_4018:
            return 0 if self.received else 1 << 4
        if address == 0x4003_4000:
            return self.received.pop(0) if self.received else 0
        if address == 0x4004_C000:
            return r.get(address, 0) | 1 << 8
        if address == 0x4004_C004:
            return 1500
        if address == 0xD000_0004:
            return 0x3FFF_FFFF
        return super().read_register(address)

    def write_register(self, address: int, value: int) -> None:
        r = self.registers
        if address in (0x4000_E000, 0x4000_F000):  # set and clear of RESETS
            r[0x4000_C000] = r[0x4000_C000] | value if address == 0x4000_E000 else r[0x4000_C000] & ~value
            return
        if address == 0x1800_0008 and value == 1:
            setup = [r.get(0x1800_0000 + at) for at in (0x00, 0x04, 0x14, 0xF4)]
            self.hold(setup == [0x001F_0300, 0, 4, 0x0300_0218], f"the flash is read in place with {setup}")
            self.in_place = True
        if address == 0x4000_803C and value & 1:
            mhz = 12 * r.get(0x4002_8008, 0) / (r.get(0x4002_800C, 0) >> 16 & 7) / (r[0x4002_800C] >> 12 & 7)
            self.hold(mhz == 125 and not r[0x4002_8004] & 0x29, f"the PLL makes {mhz} MHz")
        if address == 0x4003_4000:
            self.hold(not r[0x4000_C000] & 1 << 22, "UART0 is held in reset")
            self.hold((r.get(0x4003_4024), r.get(0x4003_4028)) == (67, 52), "the rate of UART0 is another")
            self.hold(r.get(0x4003_4030) == 0x301 and r.get(0x4001_4004) == 2, "UART0 is not set up")
            self.sent.append(value)
            return
        super().write_register(address, value)


class Nrf52840(Chip):
    """nRF52840: UARTE0 with TIMER1 behind PPI channel 0, TIMER0, NVMC, SAADC, CLOCK."""

    line = 0x4000_2000

    def __init__(self, firmware: Firmware, *, dead: bool = False) -> None:
        self.count = self.at = 0
        self.partial: dict[int, int] = {}
        super().__init__(firmware, dead=dead)

    def write(self, data: bytes) -> None:
        super().write(data)
        self._deliver()

    def _deliver(self) -> None:
        """Move the next byte on the line into RAM: one for each time the firmware counts, as it takes one then."""
        r = self.registers
        if not r.get(0x4000_2000) or r.get(0x4000_2500) != 8:
            return
        counted = (r.get(0x4001_F510), r.get(0x4001_F514), r.get(0x4001_F504)) == (0x4000_2108, 0x4000_9008, 1)
        self.hold(counted and r.get(0x4000_9504) == 1 and r.get(0x4000_9000) == 1, "nobody counts the bytes")
        ring, size = r.get(0x4000_2534, 0), r.get(0x4000_2538, 0)
        self.hold(self.ram[0] <= ring < sum(self.ram) - size and r.get(0x4000_2200) == 32, "the DMA leaves RAM")
        if self.received:
            self.uc.mem_write(ring + self.at, bytes([self.received.pop(0)]))
            self.at = (self.at + 1) % size
            self.count += 1
        r[0x4000_2108] = 1

    def read_register(self, address: int) -> int:
        if address == 0x4001_E400:
            return 1
        if address == 0x5000_0510 or address == 0x5000_0810:
            return 0xFFFF_FFFF
        return super().read_register(address)

    def write_register(self, address: int, value: int) -> None:
        r = self.registers
        r[address] = value
        if address == 0x4000_0000:  # HFCLKSTART
            r[0x4000_0100] = 1
        elif address == 0x4000_8044:  # TIMER0, capture 1
            self.ticks += 3
            r[0x4000_8544] = self.ticks & 0xFFFF_FFFF
        elif address == 0x4000_9040:
            r[0x4000_9540] = self.count
            self._deliver()
        elif address == 0x4000_2008:  # STARTTX
            self.hold(r.get(0x4000_2524) == 0x01D6_0000 and r.get(0x4000_2500) == 8, "UARTE0 is not set up")
            self.hold((r.get(0x4000_250C), r.get(0x4000_2514)) == (6, 8), "UARTE0 has other pins")
            self.hold(self.ram[0] <= r[0x4000_2544] < sum(self.ram), "the DMA leaves RAM")
            self.sent += self.uc.mem_read(r[0x4000_2544], r[0x4000_2548])
            r[0x4000_2120] = 1
        elif address == 0x4001_E518:  # ERASEPAGEPARTIAL
            self.hold(r.get(0x4001_E504) == 2, "NVMC does not erase")
            self.partial[value] = self.partial.get(value, 0) + r.get(0x4001_E51C, 10)
            if self.partial[value] >= 85:
                self.partial[value] = 0
                self.erase(value, 4096)
        elif address in (0x4000_7000, 0x4000_7008, 0x4000_700C):  # SAADC: START, STOP, CALIBRATE
            r[{0x4000_7000: 0x4000_7100, 0x4000_7008: 0x4000_7114, 0x4000_700C: 0x4000_7110}[address]] = 1
        elif address == 0x4000_7004:  # SAMPLE
            self.hold(r.get(0x4000_7500) == 1 and r.get(0x4000_7510) == 9, "SAADC is not set up")
            self.uc.mem_write(r[0x4000_762C], (3413).to_bytes(2, "little"))
            r[0x4000_7104] = 1

    def _store(self, address: int, value: int) -> None:
        self.hold(self.registers.get(0x4001_E504) == 1, f"{address:#x} is written without WEN")
        self.program(address, value.to_bytes(4, "little"))


CHIPS: Mapping[str, tuple[type[Chip], int]] = {
    "nucleo_l4r5zi": (Stm32L4, 3000 * 1650 // 1500),
    "nucleo_f446re": (Stm32F4, 1000 * 6600 >> 12),
    "pico": (Rp2040, 1500 * 9900 >> 12),
    "nrf52840_dk": (Nrf52840, 3413 * 3600 >> 12),
}
