# SPDX-License-Identifier: Apache-2.0
"""What is plugged in: serial ports, known by their USB ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from joulet.flash.surroundings import Surroundings

if TYPE_CHECKING:
    from joulet.flash.facts import FlashFacts

UsbId = tuple[int, int]

KNOWN_USB: dict[UsbId, str] = {
    (0x0483, 0x3748): "ST-LINK V2",
    (0x0483, 0x374B): "ST-LINK V2-1 (Nucleo and Discovery boards)",
    (0x0483, 0x374E): "ST-LINK V3",
    (0x0483, 0x374F): "ST-LINK V3",
    (0x0483, 0x3752): "ST-LINK V2-1 without volume",
    (0x0483, 0x3753): "ST-LINK V3, two ports",
    (0x0483, 0x5740): "ST LPM01A power meter, or another STM32 virtual port",
    (0x0D28, 0x0204): "DAPLink / CMSIS-DAP probe",
    (0x1209, 0xC8A0): "Riotee board",
    (0x1209, 0xC8A1): "Riotee probe",
    (0x1366, 0x0105): "SEGGER J-Link",
    (0x1366, 0x1015): "SEGGER J-Link on board (nRF development kits)",
    (0x1366, 0x1051): "SEGGER J-Link on board (nRF development kits)",
    (0x1366, 0x1061): "SEGGER J-Link on board (nRF development kits)",
    (0x16D0, 0x10BA): "Joulescope JS220",
    (0x1915, 0xC00A): "Nordic Power Profiler Kit II",
    (0x2341, 0x0001): "Arduino Uno",
    (0x2341, 0x0043): "Arduino Uno",
    (0x2341, 0x005A): "Arduino Nano 33 BLE in its boot loader",
    (0x2341, 0x805A): "Arduino Nano 33 BLE",
    (0x2A03, 0x0043): "Arduino Uno",
    (0x2A03, 0x0243): "Arduino Uno",
    (0x2E8A, 0x0003): "RP2040 in its boot loader",
    (0x2E8A, 0x0005): "Raspberry Pi Pico with MicroPython",
    (0x2E8A, 0x000A): "Raspberry Pi Pico, USB serial",
    (0x2E8A, 0x000C): "Raspberry Pi Debug Probe",
    (0x2E8A, 0x000F): "RP2350 in its boot loader",
    (0x2047, 0x0013): "TI eZ-FET (MSP430 LaunchPad)",
    (0x303A, 0x1001): "Espressif USB JTAG and serial",
    (0x0403, 0x6001): "FTDI FT232 USB to UART",
    (0x0403, 0x6010): "FTDI FT2232 USB to UART",
    (0x0403, 0x6015): "FTDI FT231X USB to UART",
    (0x067B, 0x2303): "Prolific USB to UART",
    (0x10C4, 0xEA60): "Silicon Labs CP210x USB to UART",
    (0x1A86, 0x7523): "WCH CH340 USB to UART",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPort:
    """One serial port; ``usb`` is None when it is not on USB, ``what`` is empty when nothing is known of it."""

    device: str
    usb: UsbId | None = None
    serial_number: str = ""
    what: str = ""

    @property
    def usb_text(self) -> str:
        """USB id as it is written, or empty."""
        return "" if self.usb is None else f"{self.usb[0]:04x}:{self.usb[1]:04x}"


def list_serial_ports(around: Surroundings) -> list[SerialPort]:
    """Return the serial ports, by name.

    Raises
    ------
    ImportError
        Without pyserial.
    """
    ports = around.load("serial.tools.list_ports").comports()
    found = (_port(port) for port in ports if port.vid is not None or not _is_bare_uart(port))
    return sorted(found, key=lambda port: port.device)


def pick_port(ports: list[SerialPort], facts: FlashFacts) -> str | None:
    """Return the port of the debugger on the board, if exactly one is there."""
    fitting = [port.device for port in ports if port.usb is not None and port.usb in facts.usb_ids]
    return fitting[0] if len(fitting) == 1 else None


def _port(port: object) -> SerialPort:
    vendor, product = getattr(port, "vid", None), getattr(port, "pid", None)
    usb = None if vendor is None or product is None else (int(vendor), int(product))
    said = getattr(port, "product", None) or getattr(port, "description", None) or ""
    return SerialPort(
        device=str(getattr(port, "device", "")),
        usb=usb,
        serial_number=getattr(port, "serial_number", None) or "",
        what=KNOWN_USB.get(usb, "") if usb is not None and usb in KNOWN_USB else ("" if said == "n/a" else str(said)),
    )


def _is_bare_uart(port: object) -> bool:
    """Return whether a port is one of a PC's built-in ttyS, which are listed whether or not they exist."""
    return str(getattr(port, "device", "")).startswith("/dev/ttyS") and getattr(port, "hwid", "n/a") in (
        "n/a",
        "",
        None,
    )
