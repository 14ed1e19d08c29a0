# SPDX-License-Identifier: Apache-2.0
"""Power monitors of Texas Instruments, as tables: registers, least significant bits, ranges, flags.

Datasheets: INA219 SBOS448, INA226 SBOS547, INA228 SBOSA20, INA237 SBOSA22, INA238 SBOSA21, INA260 SBOS656, INA3221 SBOS576.
Registers are big-endian. A field is ``(register, bytes, shift)``: its raw value is the register shifted right.
"""

from __future__ import annotations

from dataclasses import dataclass

Field = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One kind of monitor.

    Attributes
    ----------
    shunt, bus
        ``(register, bytes, shift)`` of the shunt's and the bus voltage, per channel.
    shunt_lsb_v, bus_lsb_v
        Volts of a step; of the wider range where there are two [V].
    current_lsb_a
        Amperes of a step where the shunt is inside the chip, else 0 [A].
    full_code
        Largest raw value of the shunt.
    ready
        ``(register, mask)`` of the bit that a conversion has ended.
    overflow
        ``(register, mask)`` of the bit that the chip's arithmetic overflowed; mask 0 without one.
    identity
        ``(register, value, mask)`` of what names the chip, None where nothing does.
    settings
        Register of averaging and conversion times.
    narrow
        Factor of ``shunt_lsb_v`` in the narrow range of INA228 and its kin, else 1.
    cal_scale
        SHUNT_CAL = ``cal_scale`` × current LSB × shunt, 0 where currents are computed here.
    accumulates
        It has counters of energy and charge.
    """

    name: str
    shunt: tuple[Field, ...]
    bus: tuple[Field, ...]
    shunt_lsb_v: float
    bus_lsb_v: float
    full_code: int
    ready: tuple[int, int]
    overflow: tuple[int, int]
    identity: tuple[int, int, int] | None
    settings: int
    current_lsb_a: float = 0.0
    narrow: float = 1.0
    cal_scale: float = 0.0
    accumulates: bool = False


def _plain(name: str, **others: object) -> Chip:
    fields: dict[str, object] = {
        "shunt": ((0x01, 2, 0),),
        "bus": ((0x02, 2, 0),),
        "full_code": 0x7FFF,
        "ready": (0x06, 0x0008),
        "overflow": (0x06, 0x0004),
        "settings": 0x00,
    }
    return Chip(name=name, **{**fields, **others})  # type: ignore[arg-type]


def _digital(name: str, **others: object) -> Chip:
    fields: dict[str, object] = {
        "shunt": ((0x04, 2, 0),),
        "bus": ((0x05, 2, 0),),
        "shunt_lsb_v": 5e-6,
        "bus_lsb_v": 3.125e-3,
        "full_code": 0x7FFF,
        "ready": (0x0B, 0x0002),
        "overflow": (0x0B, 0x0200),
        "settings": 0x01,
        "narrow": 0.25,
        "cal_scale": 819.2e6,
    }
    return Chip(name=name, **{**fields, **others})  # type: ignore[arg-type]


CHIPS = {
    chip.name: chip
    for chip in (
        _plain(
            "ina219", bus=((0x02, 2, 3),), shunt_lsb_v=10e-6, bus_lsb_v=4e-3, full_code=32_000,
            ready=(0x02, 0x0002), overflow=(0x02, 0x0001), identity=None,
        ),
        _plain("ina226", shunt_lsb_v=2.5e-6, bus_lsb_v=1.25e-3, identity=(0xFF, 0x2260, 0xFFF0)),
        _plain("ina260", shunt_lsb_v=0.0, bus_lsb_v=1.25e-3, current_lsb_a=1.25e-3, identity=(0xFF, 0x2270, 0xFFF0)),
        _digital("ina237", identity=(0x3F, 0x2370, 0xFFF0)),
        _digital("ina238", identity=(0x3F, 0x2380, 0xFFF0)),
        _digital(
            "ina228", shunt=((0x04, 3, 4),), bus=((0x05, 3, 4),), shunt_lsb_v=312.5e-9, bus_lsb_v=195.3125e-6,
            full_code=0x7FFFF, identity=(0x3F, 0x2280, 0xFFF0), cal_scale=13107.2e6, accumulates=True,
        ),
        _plain(
            "ina3221", shunt=tuple((register, 2, 3) for register in (1, 3, 5)),
            bus=tuple((register, 2, 3) for register in (2, 4, 6)), shunt_lsb_v=40e-6, bus_lsb_v=8e-3, full_code=0x0FFF,
            ready=(0x0F, 0x0001), overflow=(0x0F, 0x0000), identity=(0xFF, 0x3220, 0xFFFF),
        ),
    )
}  # fmt: skip

# conversion times [s] by their code, and averages: INA226 table 7-6, INA260, INA228 table 7-6, INA3221 table 5
_TIMES_226 = (140e-6, 204e-6, 332e-6, 588e-6, 1.1e-3, 2.116e-3, 4.156e-3, 8.244e-3)
_TIMES_228 = (50e-6, 84e-6, 150e-6, 280e-6, 540e-6, 1052e-6, 2074e-6, 4120e-6)
AVERAGES = (1, 4, 16, 64, 128, 256, 512, 1024)
_ADC_219 = (84e-6, 148e-6, 276e-6, 532e-6)


def conversion_s(chip: Chip, settings: int) -> float:
    """Return how long the chip takes for one set of values, from its settings register [s]."""
    if chip.name == "ina219":
        return _adc_219(settings >> 7 & 15) + _adc_219(settings >> 3 & 15)
    if chip.settings == 0x01:
        bus, shunt, temperature = (_TIMES_228[settings >> at & 7] for at in (9, 6, 3))
        mode = settings >> 12 & 15
        total = bus * bool(mode & 1) + shunt * bool(mode & 2) + temperature * bool(mode & 4)
        return (total or bus + shunt) * AVERAGES[settings & 7]
    each = _TIMES_226[settings >> 6 & 7] + _TIMES_226[settings >> 3 & 7]
    channels = bin(settings >> 12 & 7).count("1") if chip.name == "ina3221" else 1
    return each * max(1, channels) * AVERAGES[settings >> 9 & 7]


def _adc_219(code: int) -> float:
    return 532e-6 * (1 << (code & 7)) if code & 8 else _ADC_219[code & 3]


def with_average(chip: Chip, settings: int, average: int) -> int:
    """Return the settings register with another number of averages."""
    code = AVERAGES.index(average)
    if chip.settings == 0x01:
        return (settings & ~7) | code
    if chip.name == "ina219":
        depth = 0b1000 | average.bit_length() - 1
        return (settings & ~(15 << 7 | 15 << 3)) | depth << 7 | depth << 3
    return (settings & ~(7 << 9)) | code << 9


def signed(raw: int, bits: int) -> int:
    """Return a two's complement number."""
    return raw - (1 << bits) if raw >> (bits - 1) & 1 else raw
