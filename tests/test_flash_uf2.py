# SPDX-License-Identifier: Apache-2.0
"""UF2: bytes derived by hand, round trips, Microsoft's converter and file(1) as judges, broken files."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outside import complaint, need_package
from test_flash_image import images

from joulet.errors import DataError
from joulet.flash.image import Image, read_image, write_hex
from joulet.flash.uf2 import family_name, read_uf2, write_uf2

RP2040 = 0xE48BFF56


def test_one_block_by_hand() -> None:
    # From the specification: eight words, 476 bytes of data, the last magic. Written out, not computed.
    block = write_uf2(Image.of([(0x1000_0004, b"\x01\x02")]), RP2040)
    head = (
        "5546320a"  # "UF2\n"
        "57515d9e"  # 0x9E5D5157
        "00200000"  # family id present
        "00000010"  # address: the page 0x10000000
        "00010000"  # 256 bytes
        "00000000"  # block 0 …
        "01000000"  # … of 1
        "56ff8be4"  # RP2040
    )
    assert block == bytes.fromhex(head) + b"\xff" * 4 + b"\x01\x02" + b"\xff" * 250 + bytes(220) + bytes.fromhex(
        "306fb10a"
    )
    assert len(block) == 512


@given(images(), st.sampled_from([RP2040, 0xADA52840, 0]))
def test_round_trip(image: Image, family: int) -> None:
    found = read_uf2(write_uf2(image, family))
    assert found.family == family
    assert found.image == Image.of(image.pages(256))


@given(images())
def test_microsofts_converter_writes_the_same(image: Image) -> None:
    judge = need_package("adafruit_uf2.uf2conv", "adafruit-uf2")
    judge.familyid = RP2040
    assert judge.convert_from_hex_to_uf2(write_hex(image).decode("ascii")) == write_uf2(image, RP2040)


def test_microsofts_converter_reads_ours(tmp_path: Path) -> None:
    judge = need_package("adafruit_uf2.uf2conv", "adafruit-uf2")
    data = bytes(range(256)) * 5
    judge.familyid = RP2040
    assert judge.convert_from_uf2(write_uf2(Image.of([(0x1000_0000, data)]), RP2040)) == data
    assert judge.appstartaddr == 0x1000_0000


def test_file_knows_it(tmp_path: Path) -> None:
    if shutil.which("file") is None:
        pytest.skip("needs the program file")
    path = tmp_path / "a.uf2"
    path.write_bytes(write_uf2(Image.of([(0x1000_0000, b"x" * 600)]), RP2040))
    said = subprocess.run(["file", "-b", str(path)], capture_output=True, text=True, check=True).stdout
    assert "UF2 firmware image" in said
    assert "RP2040" in said
    assert "3 total blocks" in said
    assert read_image(path).base == 0x1000_0000


def _with(index: int, value: int, block: int = 0) -> bytes:
    """Two blocks with word ``index`` of one of them replaced."""
    data = bytearray(write_uf2(Image.of([(0x1000_0000, b"x" * 512)]), RP2040))
    struct.pack_into("<I", data, block * 512 + 4 * index, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no whole number"),
        (_with(0, 0x0A324655)[:-1], "no whole number"),
        (_with(0, 0), "block 0: wrong magic"),
        (_with(1, 0, block=1), "block 1: wrong magic"),
        (_with(127, 0), "block 0: wrong magic"),
        (_with(5, 1), "says it is 1 of 2"),
        (_with(6, 3), "says it is 0 of 3"),
        (_with(0, 0x0A324655)[:512], "says it is 0 of 2; it stands at 0 of 1"),
        (_with(2, 0x2001), "no flash image"),
        (_with(2, 0x3000), "no flash image"),
        (_with(2, 0x2010), "unknown flags"),
        (_with(4, 0), "payload of 0"),
        (_with(4, 477), "payload of 477"),
        (_with(4, 255), "payload of 255"),
        (_with(3, 0x1000_0002), "unaligned"),
        (_with(3, 0xFFFF_FFFC), "too high"),
        (_with(3, 0x1000_0100), "overlap"),
        (_with(7, 0xADA52840), "several families"),
        (_with(2, 0), "several families"),
    ],
)
def test_broken_files_are_named(data: bytes, word: str) -> None:
    with pytest.raises(DataError, match=word) as caught:
        read_uf2(data, "some.uf2")
    assert "some.uf2" in str(caught.value)


@given(st.data())
def test_no_bytes_bring_the_reader_down(data: st.DataObject) -> None:
    content = bytearray(write_uf2(Image.of([(0x1000_0000, b"x" * 700)]), RP2040))
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.sampled_from([0, 5, 512, 1024, len(content)]))])
    assert "\n" not in complaint(lambda: read_uf2(cut))


def test_families_have_names() -> None:
    assert family_name(RP2040) == "RP2040 (0xe48bff56)"
    assert family_name(None) == "no family"
    assert family_name(0x12345678) == "0x12345678"
