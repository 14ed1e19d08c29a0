# SPDX-License-Identifier: Apache-2.0
"""Images and their files: round trips, an outside reader, and bytes that are not what they say."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outside import complaint, need_package

from joulet.errors import DataError, JouletError, UsageError
from joulet.flash.build import default_folder, read_build
from joulet.flash.image import Image, read_elf, read_hex, read_image, write_hex

SMALL = Image.of([(0x0800_0000, bytes(range(20))), (0x0801_FFFA, b"across a border")])


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Images of a few segments, some of them over borders of 64 KiB, some touching."""
    at, pieces = draw(st.sampled_from([0, 0x0800_0000, 0x1000_0000, 0xFFF0_0000])), []
    for _ in range(draw(st.integers(1, 4))):
        at += draw(st.sampled_from([0, 1, 3, 255, 256, 65_530]))
        data = draw(st.binary(min_size=1, max_size=300))
        pieces.append((at, data))
        at += len(data)
    return Image.of(pieces)


def test_segments_are_sorted_joined_and_filled() -> None:
    image = Image.of([(8, b"cd"), (0, b"ab"), (2, b""), (10, b"e")])
    assert image.segments == ((0, b"ab"), (8, b"cde"))
    assert (image.base, image.end, image.size_bytes) == (0, 11, 5)
    assert image.merged().segments == ((0, b"ab" + b"\xff" * 6 + b"cde"),)
    assert image.to_bytes(0, fill=0) == b"ab" + bytes(6) + b"cde"
    assert image.part(8, 2) == b"cd"


@pytest.mark.parametrize(
    ("segments", "word"),
    [
        ((), "no bytes"),
        (((0, b""),), "empty"),
        (((0, b"abc"), (2, b"d")), "overlap"),
        (((4, b"a"), (0, b"b")), "unsorted"),
        ((((1 << 32) - 1, b"ab"),), "32-bit"),
    ],
)
def test_unsound_images_cannot_be_made(segments: tuple[tuple[int, bytes], ...], word: str) -> None:
    with pytest.raises(DataError, match=word):
        Image(segments)


def test_what_does_not_fit_a_binary_is_refused() -> None:
    with pytest.raises(DataError, match="below the base"):
        SMALL.to_bytes(0x0800_0001)
    with pytest.raises(DataError, match="spans"):
        Image(((0, b"a"), (0x9000_0000, b"b"))).to_bytes()
    with pytest.raises(DataError, match="lacks"):
        SMALL.part(0x0800_0010, 16)


@given(images(), st.sampled_from([256, 2048]))
def test_pages_hold_every_byte_once(image: Image, size: int) -> None:
    pages = list(image.pages(size))
    assert [address for address, _ in pages] == sorted({address for address, _ in pages})
    assert all(address % size == 0 and len(data) == size for address, data in pages)
    held = Image.of(pages)
    assert all(held.part(address, len(data)) == data for address, data in image.segments)


def test_hex_as_the_specification_prints_it() -> None:
    # :10 0100 00 …40 and :00000001FF are the records that descriptions of the format show; sums checked by hand
    text = b":10010000214601360121470136007EFE09D2190140\n:00000001FF\n"
    image = read_hex(text)
    assert image.segments == ((0x100, bytes.fromhex("214601360121470136007EFE09D21901")),)
    assert write_hex(image) == text
    # segment base 0x1200 * 16 + 0x0010; linear base 0x0800
    assert read_hex(b":020000021200EA\r\n:0100100041AE\r\n:00000001FF\r\n").segments == ((0x12010, b"A"),)
    assert read_hex(b":020000040800F2\n:0100100041AE\n:00000001FF").segments == ((0x0800_0010, b"A"),)


@given(images())
def test_hex_round_trip(image: Image) -> None:
    assert read_hex(write_hex(image)) == image


@settings(max_examples=50)
@given(images())
def test_an_outside_reader_reads_our_hex(image: Image) -> None:
    theirs = need_package("intelhex", "pyocd").IntelHex()
    theirs.loadhex(io.StringIO(write_hex(image).decode("ascii")))
    assert Image.of((a, theirs.tobinstr(start=a, size=len(d))) for a, d in image.segments) == image
    assert sum(stop - start for start, stop in theirs.segments()) == image.size_bytes
    out = io.StringIO()
    theirs.write_hex_file(out)
    assert read_hex(out.getvalue().encode("ascii")) == image


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no end-of-file"),
        (":0100100041AE\n", "no end-of-file"),
        (":0100100041AF\n:00000001FF", "line 1: wrong checksum"),
        (":0200100041AE\n:00000001FF", "says 2 bytes and has 1"),
        (":00000001FF\n:0100100041AE", "line 2: a record behind"),
        ("0100100041AE\n:00000001FF", "no Intel HEX record"),
        (":01001000410\n:00000001FF", "no Intel HEX record"),
        (":010010004gAE\n:00000001FF", "no Intel HEX record"),
        (":00000009F7\n:00000001FF", "type 9 is unknown"),
        (":0100000408F3\n:00000001FF", "type 4 of a wrong length"),
        (":0100100041AE\n:0100100041AE\n:00000001FF", "overlap"),
        (":020000020000FC\n:02FFFF0041427D\n:00000001FF", "over the end of its segment"),
        (":00000001FF", "no bytes"),
        ("\x7fELF\x01\x01", "no Intel HEX record"),
    ],
)
def test_broken_hex_is_named(text: str, word: str) -> None:
    with pytest.raises(DataError, match=word) as caught:
        read_hex(text.encode("latin-1"), "some.hex")
    assert "some.hex" in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=300)
@given(st.binary(max_size=400) | st.text(":0123456789abcdefABCDEF\r\n", max_size=400).map(str.encode))
def test_no_bytes_bring_the_hex_reader_down(data: bytes) -> None:
    assert "\n" not in complaint(lambda: read_hex(data))


@given(images(), st.data())
def test_no_flipped_digit_goes_unseen(image: Image, data: st.DataObject) -> None:
    text = bytearray(write_hex(image))
    at = data.draw(st.sampled_from([i for i, byte in enumerate(text) if byte in b"0123456789ABCDEF"]))
    text[at] = data.draw(st.sampled_from([digit for digit in b"0123456789ABCDEF" if digit != text[at]]))
    with pytest.raises(DataError):
        read_hex(bytes(text))


def _elf(segments: list[tuple[int, bytes]]) -> bytes:
    """A 32-bit little-endian Arm ELF whose segments run at 0x2000_0000 and load elsewhere."""
    data_at = 52 + 32 * len(segments)
    heads, body = b"", b""
    for address, data in segments:
        offset = data_at + len(body)
        heads += struct.pack("<8I", 1, offset, 0x2000_0000, address, len(data), len(data) + 64, 5, 4)
        body += data
    head = b"\x7fELF\x01\x01\x01" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0, 52, 0, 0x0500_0000, 52, 32, len(segments), 40, 0, 0)
    return head + heads + body


def test_elf_goes_to_physical_addresses(tmp_path: Path) -> None:
    need_package("elftools", "pyelftools")
    path = tmp_path / "firmware.elf"
    path.write_bytes(_elf(list(SMALL.segments)))
    assert read_image(path) == SMALL


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_bring_the_elf_reader_down(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    need_package("elftools", "pyelftools")
    content = bytearray(_elf(list(SMALL.segments)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutant.elf"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert "mutant.elf" in (complaint(lambda: read_elf(path)) or "mutant.elf")


def test_suffixes_decide(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert read_image(tmp_path / "a.bin", 0x100).segments == ((0x100, b"abc"),)
    with pytest.raises(UsageError, match="does not say where"):
        read_image(tmp_path / "a.bin")
    with pytest.raises(UsageError, match="is no image"):
        read_image(tmp_path / "a.txt", 0)
    with pytest.raises(UsageError, match=r"none\.hex.*No such file"):
        read_image(tmp_path / "none.hex")


def make_build(folder: Path, image: Image = SMALL, board: str = "nucleo_l4r5zi", **changes: Any) -> Path:
    """Write a build folder as joulet build does; ``changes`` replace entries of its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image.hex").write_bytes(write_hex(image))
    segments = [
        {"name": f"part{i}", "address": address, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for i, (address, data) in enumerate(image.segments)
    ]
    manifest = {
        "format": "joulet-image/1",
        "board": board,
        "build_id": "0011223344556677",
        "model_hash": "ab" * 32,
        "files": {"hex": "image.hex", "bin": "image.bin", "elf": "firmware.elf"},
        "segments": segments,
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_build_is_read_whole(tmp_path: Path) -> None:
    build = read_build(make_build(tmp_path))
    assert (build.board, build.build_id, build.image) == ("nucleo_l4r5zi", bytes.fromhex("0011223344556677"), SMALL)
    assert default_folder("pico") == Path("joulet-build/pico")


def _segment(**changes: object) -> list[dict[str, object]]:
    return [{"name": "x", "address": 0x0800_0000, "bytes": 20, "sha256": "0" * 64, **changes}]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"format": "joulet-image/2"}, "joulet-image/2"),
        ({"board": None}, "board is missing"),
        ({"build_id": "XX"}, "16 lower-case hex digits"),
        ({"model_hash": "ab"}, "64 lower-case hex digits"),
        ({"files": None}, "files"),
        ({"files": {"hex": "../image.hex"}}, "leads out"),
        ({"files": {"hex": "none.hex"}}, r"none\.hex"),
        ({"segments": []}, "segments is not a list"),
        ({"segments": [3]}, "segment 0 lacks"),
        ({"segments": _segment(address=True)}, "segment 0 lacks"),
        ({"segments": _segment()}, "is not what the manifest hashed"),
        ({"segments": _segment(bytes=4000)}, "lacks bytes"),
    ],
)
def test_a_broken_manifest_is_named(tmp_path: Path, changes: dict[str, object], word: str) -> None:
    with pytest.raises(JouletError, match=word):
        read_build(make_build(tmp_path, **changes))


def test_no_build_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="joulet build"):
        read_build(tmp_path)
    for text in ("{", "[]", "[" * 100_000):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(DataError):
            read_build(tmp_path)
