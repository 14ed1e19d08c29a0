# SPDX-License-Identifier: Apache-2.0
"""What a board file says about flashing: its ``[flash]`` table.

::

    [flash]
    base = 0x0800_0000                  # where an image begins
    family = 0xe48b_ff56                # UF2 family, where the board has a UF2 boot loader
    uf2_board_ids = ["RPI-RP2"]         # beginnings of Board-ID in INFO_UF2.TXT
    volume_names = ["NODE_L4R5ZI"]      # labels of the volume of the debugger on the board
    pyocd_target = "stm32l4r5zitx"
    openocd_config = ["board/st_nucleo_l4.cfg"]  # in this order
    probe_rs_chip = "STM32L4R5ZITx"
    stm32_product_id = 0x470            # what the boot loader in ROM answers
    sectors = [[4, 16_384], [1, 65_536]]  # counts and sizes from base on, where the ROM may erase them one by one
    chip_id = [0xe004_2000, 0xfff, 0x470]  # register, mask, value: read before anything is erased
    usb_ids = ["0483:374b"]             # the debugger on the board
    uart_note = "…"                     # why the ROM may not hear the usual port
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joulet.boards import board_table
from joulet.errors import UsageError
from joulet.flash.devices import UsbId

WAYS = ("pyocd", "uf2", "volume", "stm32-uart", "openocd", "probe-rs")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashFacts:
    """What is known of flashing one board; what is None or empty, the board cannot be flashed by."""

    board: str
    title: str
    base: int
    flash_bytes: int
    usb_ids: tuple[UsbId, ...] = ()
    family: int | None = None
    uf2_board_ids: tuple[str, ...] = ()
    volume_names: tuple[str, ...] = ()
    pyocd_target: str | None = None
    openocd_config: tuple[str, ...] = ()
    probe_rs_chip: str | None = None
    stm32_product_id: int | None = None
    sectors: tuple[tuple[int, int], ...] = ()
    chip_id: tuple[int, int, int] | None = None
    uart_note: str = ""

    @property
    def ways(self) -> tuple[str, ...]:
        """Ways onto the board, as ``--via`` takes them, in order of preference."""
        known = {
            "pyocd": self.pyocd_target is not None,
            "uf2": self.family is not None,
            "volume": bool(self.volume_names),
            "stm32-uart": self.stm32_product_id is not None,
            "openocd": bool(self.openocd_config),
            "probe-rs": self.probe_rs_chip is not None,
        }
        return tuple(way for way in WAYS if known[way])


def flash_facts(board: str) -> FlashFacts:
    """Read the ``[flash]`` table of a board.

    Raises
    ------
    UsageError
        If there is no such board, it has no such table, or an entry is impossible.
    """
    table = board_table(board)
    entries = table.get("flash")
    if entries is None:
        raise UsageError(
            f"board '{board}' has no [flash] table in its board.toml: a board that exists only as a program is not flashed; for a "
            "real one add the table, as firmware/boards/nucleo_l4r5zi/board.toml has it"
        )
    try:
        return _facts(table, entries)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"board '{board}': [flash] lacks or misplaces {error}") from error
    except ValueError as error:
        raise UsageError(f"board '{board}': [flash] {error}") from error


def _facts(table: Mapping[str, Any], entries: Mapping[str, Any]) -> FlashFacts:
    unknown = set(entries) - {*FlashFacts.__dataclass_fields__, "note"}
    if unknown:
        raise ValueError(f"has the unknown entry '{sorted(unknown)[0]}'")
    base = _number(entries, "base")
    chip_id = entries.get("chip_id")
    if chip_id is not None and (len(chip_id) != 3 or not all(isinstance(value, int) for value in chip_id)):
        raise ValueError("chip_id is not [register, mask, value]")
    sectors = tuple((int(count), int(size)) for count, size in entries.get("sectors", ()))
    if any(count < 1 or size < 1 for count, size in sectors):
        raise ValueError("sectors has a count or a size below 1")
    return FlashFacts(
        board=str(table["name"]),
        title=str(table["title"]),
        base=base,
        flash_bytes=_flash_bytes(table["memory"], base),
        usb_ids=tuple(parse_usb_id(text) for text in _texts(entries, "usb_ids")),
        family=_number(entries, "family") if "family" in entries else None,
        uf2_board_ids=_texts(entries, "uf2_board_ids"),
        volume_names=_texts(entries, "volume_names"),
        pyocd_target=_text(entries, "pyocd_target"),
        openocd_config=_texts(entries, "openocd_config"),
        probe_rs_chip=_text(entries, "probe_rs_chip"),
        stm32_product_id=_number(entries, "stm32_product_id") if "stm32_product_id" in entries else None,
        sectors=sectors,
        chip_id=None if chip_id is None else (chip_id[0], chip_id[1], chip_id[2]),
        uart_note=_text(entries, "uart_note") or "",
    )


def parse_usb_id(text: str) -> UsbId:
    """Return (vendor, product) of ``0483:374b``."""
    if not re.fullmatch(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}", text):
        raise ValueError(f"'{text}' is no USB id; one is written 0483:374b")
    return int(text[:4], 16), int(text[5:], 16)


def _flash_bytes(memory: Mapping[str, Any], base: int) -> int:
    """Return how much of the memory that holds ``base`` lies from there on [bytes]."""
    for name, part in memory.items():
        start = int(part.get("address", -1))
        if name.startswith("flash") and start <= base < start + int(part["bytes"]):
            return start + int(part["bytes"]) - base
    raise ValueError(f"base {base:#010x} lies in no memory called flash")


def _number(table: Mapping[str, Any], key: str) -> int:
    value = table[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
        raise ValueError(f"{key} is {value!r}; it must be a number of 32 bits")
    return value


def _text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}; it must be text")
    return value


def _texts(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} is {value!r}; it must be a list of texts")
    return tuple(value)
