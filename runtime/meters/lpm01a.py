# SPDX-License-Identifier: Apache-2.0
"""ST's X-NUCLEO-LPM01A, and the power shield of the STM32L562E-DK, on their USB serial port (UM2243)."""

from __future__ import annotations

import contextlib

import numpy as np

from joulet.errors import LinkError, MeterError
from joulet.link import Port
from joulet.meters.condense import Condenser
from joulet.meters.lpm01a_wire import MOST_ASCII, RATES, Reader
from joulet.meters.machine import Machine
from joulet.meters.seam import Reading, Samples
from joulet.meters.spec import Spec

USB_ID = (0x0483, 0x5740)
_BAUD = 3_686_400
_ANSWER_S = 3.0
_MOST_BYTES = 1 << 16


class Lpm01a:
    """The shield, supplying the board and measuring from when it is opened.

    Options: ``voltage`` (1.8 to 3.3 V; needed), ``rate`` (1 Hz to 100 kHz; above 5 kHz in binary), ``mode=static`` (up to 200 mA
    instead of 50 mA, without the finest range). The board has power only while the shield measures.
    """

    def __init__(self, machine: Machine, spec: Spec) -> None:
        spec.allow("voltage", "rate", "mode")
        self.source = spec.text
        self.voltage_v = spec.quantity("voltage", "V")
        if not 1.8 <= self.voltage_v <= 3.3:
            raise MeterError(f"source '{spec.text}': the shield supplies 1.8 to 3.3 V, not {self.voltage_v:g} V")
        rate_hz = spec.quantity("rate", "Hz", 1000.0)
        if rate_hz not in RATES:
            raise MeterError(f"source '{spec.text}': rate is one of {', '.join(map(str, RATES))} Hz, not {rate_hz:g}")
        mode = spec.options.get("mode", "dynamic")
        if mode not in ("dynamic", "static"):
            raise MeterError(f"source '{spec.text}': mode is dynamic or static, not '{mode}'")
        self.rate_hz = rate_hz
        self._machine = machine
        where = spec.where or machine.only_port(USB_ID, spec.text, "LPM01A")
        try:
            self._port: Port = machine.open_port(where, _BAUD)
        except LinkError as error:
            raise MeterError(f"source '{spec.text}': {error}") from error
        binary = rate_hz > MOST_ASCII
        try:
            self._set_up(binary, mode)
        except (MeterError, LinkError) as error:
            self._port.close()
            raise MeterError(str(error)) from error
        self._reader = Reader(int(rate_hz), binary)
        self._index = 0
        self.lost = 0
        self.uncertain = 0
        provenance = f"measured: LPM01A ({mode}), current x {self.voltage_v:g} V as set"
        self._condenser = Condenser("lpm01a", provenance, machine.clock())
        self.notes: tuple[str, ...] = ("the shield supplies the board only while it measures",)

    def _set_up(self, binary: bool, mode: str) -> None:
        self._port.write(b"stop\n")
        while self._port.read(_MOST_BYTES, 0.1):
            pass  # what an earlier run left
        rate = f"{int(self.rate_hz) // 1000}k" if self.rate_hz >= 1000 else f"{int(self.rate_hz)}"
        for command in (
            "htc",
            f"acqmode {'dyn' if mode == 'dynamic' else 'stat'}",
            "acqtime inf",
            "trigdelay 0",
            "trigsrc sw",
            "eventsrc d7 both",
            "output current",
            f"format {'bin_hexa' if binary else 'ascii_dec'}",
            f"freq {rate}",
            f"volt {round(1e3 * self.voltage_v)}m",
            "pwr on nostatus",
        ):
            self._ask(command)
        self._ask("start")

    def _ask(self, command: str) -> None:
        """Send a command and wait for its ``ack``; nothing after it is swallowed."""
        self._port.write(f"{command}\n".encode())
        word, heard = command.split()[0], b""
        ends_s = self._machine.clock() + _ANSWER_S
        while self._machine.clock() < ends_s:
            data = self._port.read(1, 0.2)  # byte by byte: samples may follow the answer to start
            heard += data
            line = heard.rpartition(b"PowerShield > ")[2].decode("ascii", "replace")
            if heard.endswith(b"\n") and f"ack {word}" in line:
                return
            if heard.endswith(b"\n") and "error" in line:
                raise MeterError(f"source '{self.source}': the shield refuses '{command}': {line.strip()}")
        raise MeterError(
            f"source '{self.source}': nothing there answers like a LPM01A (to '{command}'): is it the right port, and is ST's "
            "PowerShield program closed?"
        )

    def samples(self, timeout_s: float) -> Samples:
        """Return what has arrived since the last call.

        Raises
        ------
        MeterError
            If the shield is gone, stopped by itself, or says that something is wrong.
        """
        try:
            data = self._port.read(_MOST_BYTES, timeout_s)
        except LinkError as error:
            raise MeterError(f"source '{self.source}': {error}") from error
        heard = self._reader.feed(data)
        bad = [text for text in heard.strange if "error" in text.lower() or "current" in text.lower()]
        if bad or heard.ended:
            raise MeterError(f"source '{self.source}': the shield stopped: {'; '.join(bad) or 'end of acquisition'}")
        first, self._index = self._index, self._index + len(heard.current_a)
        self.lost += heard.lost
        return Samples(
            first=first, period_s=1.0 / self.rate_hz, voltage_v=self.voltage_v, current_a=np.array(heard.current_a, float),
            logic=np.array(heard.logic, np.uint8), lost=heard.lost,
        )  # fmt: skip

    def read(self) -> tuple[Reading, ...]:
        """Return the mean since the last reading, with its extremes and the integral since the beginning."""
        return self._condenser.read(self, self._machine.clock)

    def close(self) -> None:
        """Stop measuring, which takes the board's power away, and give the shield back to its buttons."""
        with contextlib.suppress(LinkError):  # it may be gone
            self._port.write(b"stop\nhrc\n")
        self._port.close()
