# SPDX-License-Identifier: Apache-2.0
"""The power management chip of a Raspberry Pi 5, through ``vcgencmd pmic_read_adc``.

Each rail has a current ``NAME_A current(i)=…A`` and a voltage ``NAME_V volt(i)=…V``; spacing, units and the numbers differ
from firmware to firmware. What hangs on the 5 V input directly, USB among it, passes no sensor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from joulet.errors import MeterError
from joulet.meters.machine import Machine
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec

_LINE = re.compile(
    r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)\s*=\s*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([AV]?)\s*$"
)
# whole board from the sum of the rails [W]: a fit of readings against a wall meter, published for pi-top
FIT_SLOPE, FIT_OFFSET_W = 1.1451, 0.5879
_FIT = f"estimated: {FIT_SLOPE} × sum of PMIC rails + {FIT_OFFSET_W} W, one published fit of one board"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adc:
    """What the chip converts: volts and amperes by rail, and the lines that are neither."""

    volts: dict[str, float]
    amperes: dict[str, float]
    strange: tuple[str, ...]


def parse_adc(text: str) -> Adc:
    """Read the table that ``vcgencmd pmic_read_adc`` prints."""
    volts: dict[str, float] = {}
    amperes: dict[str, float] = {}
    strange = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or (match[4] and match[4] != match[2]):
            if line.strip():
                strange.append(line.strip())
            continue
        (amperes if match[2] == "A" else volts)[match[1]] = float(match[3])
    return Adc(volts=volts, amperes=amperes, strange=tuple(strange))


class PmicMeter:
    """Rails of the PMIC. With ``allow_estimate`` there is also ``board``, an estimate of the whole."""

    def __init__(self, machine: Machine, spec: Spec, allow_estimate: bool) -> None:
        spec.allow()
        self.source = spec.text
        self._machine, self._estimate = machine, allow_estimate
        program = machine.find_program("vcgencmd")
        if program is None:
            raise MeterError(
                f"source '{spec.text}': there is no vcgencmd; on a Raspberry Pi 5: sudo apt install raspi-utils"
            )
        self._program = program
        adc = self._adc()
        alone = sorted(set(adc.amperes) ^ set(adc.volts))
        self.notes: tuple[str, ...] = ("the sum lacks USB and whatever else hangs on the 5 V input directly",)
        if alone:
            self.notes += (f"no power for {', '.join(alone)}: current or voltage is missing",)
        if adc.strange:
            self.notes += (f"lines not understood: {'; '.join(adc.strange)[:200]}",)

    def _adc(self) -> Adc:
        status, text = self._machine.run_program([self._program, "pmic_read_adc"])
        adc = parse_adc(text)
        if set(adc.amperes) & set(adc.volts):
            return adc
        if "VCHI" in text or "vchiq" in text or "/dev/vcio" in text:
            raise MeterError(
                f"source '{self.source}': vcgencmd may not ask: sudo usermod -aG video $USER, then log in again"
            )
        if "not registered" in text or status:
            raise MeterError(
                f"source '{self.source}': this machine's firmware measures no currents ({text.strip()[:80] or status}): only "
                "the Raspberry Pi 5 does; put an INA226 or INA228 into the supply of older ones (ina226:/dev/i2c-1@0x40,shunt=…)"
            )
        raise MeterError(f"source '{self.source}': vcgencmd pmic_read_adc tells no rail with current and voltage")

    def read(self) -> tuple[Reading, ...]:
        """Return what each rail draws now."""
        time_s = self._machine.clock()
        adc = self._adc()
        time_s = 0.5 * (time_s + self._machine.clock())
        readings = [
            Reading(
                time_s=time_s, rail=rail, voltage_v=adc.volts[rail], current_a=current_a,
                power_w=adc.volts[rail] * current_a, quality=Quality.PARTIAL,
                provenance="measured: PMIC of the Raspberry Pi 5",
            )
            for rail, current_a in adc.amperes.items()
            if rail in adc.volts
        ]  # fmt: skip
        if self._estimate:
            total_w = FIT_SLOPE * sum(each.power_w or 0.0 for each in readings) + FIT_OFFSET_W
            readings.append(
                Reading(
                    time_s=time_s, rail="board", voltage_v=adc.volts.get("EXT5V"), power_w=total_w, counts=False,
                    provenance=_FIT, quality=Quality.ESTIMATE,
                )
            )  # fmt: skip
        return tuple(readings)

    def close(self) -> None:
        """Nothing is held."""
