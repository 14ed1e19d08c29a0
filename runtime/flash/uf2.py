# SPDX-License-Identifier: Apache-2.0
"""UF2 files: 512-byte blocks that a boot loader takes from a USB volume in any order.

The format is Microsoft's (github.com/microsoft/uf2). A block is eight little-endian words, 476 bytes of data of which the
first ``payload`` count, and a closing magic word.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from joulet.errors import DataError
from joulet.flash.image import ADDRESS_END, Image

BLOCK_BYTES = 512
PAYLOAD_BYTES = 256
MAX_PAYLOAD_BYTES = 476
MAGIC_FIRST, MAGIC_SECOND, MAGIC_LAST = 0x0A324655, 0x9E5D5157, 0x0AB16F30

NOT_MAIN_FLASH, FILE_CONTAINER, FAMILY_PRESENT, MD5_PRESENT, EXTENSIONS_PRESENT = 0x1, 0x1000, 0x2000, 0x4000, 0x8000
_KNOWN_FLAGS = NOT_MAIN_FLASH | FILE_CONTAINER | FAMILY_PRESENT | MD5_PRESENT | EXTENSIONS_PRESENT

FAMILIES = {
    0xE48BFF56: "RP2040",
    0xE48BFF57: "RP2XXX absolute",
    0xE48BFF58: "RP2XXX data",
    0xE48BFF59: "RP2350 Arm secure",
    0xE48BFF5A: "RP2350 RISC-V",
    0xE48BFF5B: "RP2350 Arm non-secure",
    0xADA52840: "nRF52840",
    0xC47E5767: "ESP32-S3",
    0xD42BA06C: "ESP32-C3",
    0x00FF6919: "STM32L4",
    0x57755A57: "STM32F4",
    0x53B80F00: "STM32F7",
    0x6DB66082: "STM32H7",
}

_HEAD = struct.Struct("<8I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uf2:
    """A checked UF2 file: its image (padding of the last page included) and the family it is for (None: not said)."""

    image: Image
    family: int | None
    n_blocks: int


def family_name(family: int | None) -> str:
    """Return a family as people know it."""
    if family is None:
        return "no family"
    return f"{FAMILIES[family]} ({family:#010x})" if family in FAMILIES else f"{family:#010x}"


def write_uf2(image: Image, family: int) -> bytes:
    """Return the image as UF2: pages of 256 bytes, what the image leaves of a page filled with 0xFF."""
    pages = tuple(image.pages(PAYLOAD_BYTES))
    blocks = []
    for index, (address, data) in enumerate(pages):
        head = _HEAD.pack(MAGIC_FIRST, MAGIC_SECOND, FAMILY_PRESENT, address, PAYLOAD_BYTES, index, len(pages), family)
        blocks.append(head + data + bytes(MAX_PAYLOAD_BYTES - PAYLOAD_BYTES) + struct.pack("<I", MAGIC_LAST))
    return b"".join(blocks)


def read_uf2(data: bytes, name: str = "image.uf2") -> Uf2:
    """Read a UF2 file of one image and verify all of it.

    Raises
    ------
    DataError
        With the block: wrong size, magic, order, count, payload, flags, or several families, or bytes given twice.
    """
    if not data or len(data) % BLOCK_BYTES:
        raise DataError(f"'{name}': {len(data)} bytes are no whole number of UF2 blocks of {BLOCK_BYTES}")
    count = len(data) // BLOCK_BYTES
    pieces: list[tuple[int, bytes]] = []
    families: set[int | None] = set()
    for index in range(count):
        block = data[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
        address, payload, family = _block(block, index, count, f"'{name}' block {index}")
        families.add(family)
        pieces.append((address, payload))
    if len(families) > 1:
        listed = ", ".join(sorted(family_name(family) for family in families))
        raise DataError(f"'{name}': blocks for several families ({listed}); give a file for one")
    try:
        image = Image.of(pieces)
    except DataError as error:
        raise DataError(f"'{name}': {error}") from error
    return Uf2(image=image, family=families.pop(), n_blocks=count)


def _block(block: bytes, index: int, count: int, where: str) -> tuple[int, bytes, int | None]:
    """Return (address, payload, family) of one checked block."""
    first, second, flags, address, size, number, total, family = _HEAD.unpack_from(block)
    (last,) = struct.unpack_from("<I", block, BLOCK_BYTES - 4)
    if (first, second, last) != (MAGIC_FIRST, MAGIC_SECOND, MAGIC_LAST):
        raise DataError(f"{where}: wrong magic; no UF2, or cut inside")
    if (number, total) != (index, count):
        raise DataError(f"{where}: says it is {number} of {total}; it stands at {index} of {count}")
    if flags & ~_KNOWN_FLAGS:
        raise DataError(f"{where}: unknown flags {flags:#x}")
    if flags & (NOT_MAIN_FLASH | FILE_CONTAINER):
        raise DataError(f"{where}: holds a file or a comment (flags {flags:#x}), no flash image")
    # an MD5 or extension tags take the end of the data area
    room = MAX_PAYLOAD_BYTES - (24 if flags & MD5_PRESENT else 0)
    if not 0 < size <= room or size % 4:
        raise DataError(f"{where}: payload of {size} bytes; it must be a multiple of 4 from 4 to {room}")
    if address % 4 or address + size > ADDRESS_END:
        raise DataError(f"{where}: address {address:#x} is unaligned or too high")
    payload = block[_HEAD.size : _HEAD.size + size]
    return address, payload, family if flags & FAMILY_PRESENT else None
