# SPDX-License-Identifier: Apache-2.0
"""Nordic's Power Profiler Kit II on its USB serial port: 100,000 samples a second with eight digital inputs."""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt

from joulet.errors import LinkError, MeterError
from joulet.link import Port
from joulet.meters.condense import Condenser
from joulet.meters.machine import Machine
from joulet.meters.ppk2_wire import (
    AMPERE,
    AVERAGE_START,
    AVERAGE_STOP,
    METADATA,
    MODE,
    PERIOD_S,
    RUNNING,
    SOURCE,
    Decoder,
    Modifiers,
    parse_metadata,
    regulator,
)
from joulet.meters.seam import Reading, Samples
from joulet.meters.spec import Spec

USB_ID = (0x1915, 0xC00A)
_BAUD = 9600  # of no consequence over USB
_TRIES = 5
_MOST_BYTES = 1 << 16


class Ppk2:
    """The kit, measuring from when it is opened.

    Options: ``voltage`` (of the supply; needed, since the kit does not measure it), ``mode=ampere`` (the kit lies in a supply
    line; without) or ``mode=source`` (the kit supplies the board, and goes on when the meter is closed).
    """

    rate_hz = 1.0 / PERIOD_S

    def __init__(self, machine: Machine, spec: Spec) -> None:
        spec.allow("voltage", "mode")
        self.source = spec.text
        mode = spec.options.get("mode", "ampere")
        if mode not in ("ampere", "source"):
            raise MeterError(f"source '{spec.text}': mode is ampere or source, not '{mode}'")
        self.voltage_v = spec.quantity("voltage", "V")
        if mode == "source" and not 0.8 <= self.voltage_v <= 5.0:
            raise MeterError(f"source '{spec.text}': the kit supplies 0.8 to 5 V, not {self.voltage_v:g} V")
        where = spec.where or machine.only_port(USB_ID, spec.text, "PPK2")
        try:
            self._port: Port = machine.open_port(where, _BAUD)
        except LinkError as error:
            raise MeterError(f"source '{spec.text}': {error}") from error
        self._machine = machine
        self._index = 0
        self.lost = self.uncertain = 0
        try:
            modifiers = self._greet()
            self._begin(mode)
        except (MeterError, LinkError) as error:
            self._port.close()
            raise MeterError(str(error)) from error
        self._decoder = Decoder(modifiers, self.voltage_v)
        calibration = "calibrated" if modifiers.calibrated else "not calibrated"
        provenance = f"measured: PPK2 ({calibration}), current x {self.voltage_v:g} V as given"
        self._condenser = Condenser("ppk2", provenance, machine.clock())
        self.notes: tuple[str, ...] = (
            ("the kit supplies the board and goes on doing so",) if mode == "source" else ()
        ) + (() if modifiers.calibrated else ("the kit says that it is not calibrated: nominal values are used",))

    def _greet(self) -> Modifiers:
        """Stop whatever it does and ask for its calibration; samples of an earlier run may still be on the line."""
        for _ in range(_TRIES):
            self._port.write(bytes([AVERAGE_STOP]))
            while self._port.read(_MOST_BYTES, 0.05):
                pass
            self._port.write(bytes([METADATA]))
            heard = b""
            while b"END" not in heard:
                data = self._port.read(_MOST_BYTES, 0.5)
                if not data:
                    break
                heard = (heard + data)[-_MOST_BYTES:]
            at = heard.rfind(b"Calibrated")
            if at >= 0 and b"END" in heard[at:]:
                return parse_metadata(heard[at:].decode("ascii", "replace"))
        raise MeterError(
            f"source '{self.source}': nothing there answers like a PPK2; it has two ports, try the other one, close nRF Connect, "
            "or unplug it and plug it in again"
        )

    def _begin(self, mode: str) -> None:
        self._port.write(bytes([MODE, AMPERE if mode == "ampere" else SOURCE]))
        self._port.write(regulator(round(1e3 * self.voltage_v)))
        if mode == "source":
            self._port.write(bytes([RUNNING, 1]))
        self._port.write(bytes([AVERAGE_START]))

    def samples(self, timeout_s: float) -> Samples:
        """Return what has arrived since the last call.

        Raises
        ------
        MeterError
            If the kit is gone.
        """
        try:
            data = self._port.read(_MOST_BYTES, timeout_s)
        except LinkError as error:
            raise MeterError(f"source '{self.source}': {error}") from error
        found = self._decoder.feed(data)
        first, self._index = self._index, self._index + len(found.current_a)
        self.lost += found.lost
        self.uncertain += found.uncertain
        return Samples(
            first=first, period_s=PERIOD_S, voltage_v=self.voltage_v, current_a=found.current_a, logic=found.logic,
            lost=found.lost, uncertain=found.uncertain,
        )  # fmt: skip

    def read(self) -> tuple[Reading, ...]:
        """Return the mean since the last reading, with its extremes and the integral since the beginning."""
        return self._condenser.read(self, self._machine.clock)

    def close(self) -> None:
        """Stop measuring; a supply that is on stays on."""
        with contextlib.suppress(LinkError):  # it may be gone
            self._port.write(bytes([AVERAGE_STOP]))
        self._port.close()


def levels(logic: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return ``(n, 8)`` bool: D0 to D7."""
    return np.unpackbits(logic[:, np.newaxis], axis=1, bitorder="little").astype(bool)
