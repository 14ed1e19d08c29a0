# SPDX-License-Identifier: Apache-2.0
"""Frames: the Python codec, the C codec, and outside judges say the same; damage is seen and passes within one frame."""

from __future__ import annotations

import binascii
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outside import need_package

from joulet.errors import LinkError
from joulet.link import wire
from joulet.link.frames import Frame, FrameReader, decode, encode, stuff, unstuff

ROOT = Path(__file__).resolve().parents[1]
LENGTHS = range(wire.MAX_PAYLOAD + 1)
HELLO = Frame(1, 7, b"who\0are you")


def build(out: Path, *options: str) -> Path:
    """Compile the harness around the C codec."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        if os.environ.get("CI"):
            pytest.fail("CI lacks a C compiler")
        pytest.skip("needs gcc or clang")
    sources = [ROOT / "tests" / "c" / "link_frame.c", ROOT / "csrc" / "link" / "frame.c"]
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", *options, "-I", ROOT / "csrc", *sources, "-o", out]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    if built.returncode and "san" in built.stderr and "error:" not in built.stderr:
        pytest.skip("the compiler has no sanitizer runtime")
    assert built.returncode == 0, built.stderr
    return out


class Codec:
    """csrc/link/frame.c as a shared library."""

    def __init__(self, library: Path) -> None:
        self.lib = ctypes.CDLL(str(library))
        for name, result in (
            ("encode", ctypes.c_size_t),
            ("decode", ctypes.c_size_t),
            ("passing_errors", ctypes.c_uint32),
        ):
            getattr(self.lib, f"frame_{name}").restype = result
        self.lib.frame_crc.restype = ctypes.c_uint16

    def encode(self, frame: Frame) -> bytes:
        out = ctypes.create_string_buffer(300)
        length = ctypes.c_uint16(len(frame.payload))
        size = self.lib.frame_encode(
            out, ctypes.c_uint8(frame.type), ctypes.c_uint16(frame.sequence), frame.payload, length
        )
        return out.raw[:size]

    def decode(self, stream: bytes) -> list[Frame]:
        out = ctypes.create_string_buffer(len(stream) + 5)
        size = self.lib.frame_decode(stream, ctypes.c_size_t(len(stream)), out)
        raw, at, frames = out.raw[:size], 0, []
        while at < size:
            length = int.from_bytes(raw[at + 3 : at + 5], "little")
            sequence = int.from_bytes(raw[at + 1 : at + 3], "little")
            frames.append(Frame(raw[at], sequence, raw[at + 5 : at + 5 + length]))
            at += 5 + length
        return frames

    def passing_errors(self, encoded: bytes) -> int:
        return int(self.lib.frame_passing_errors(encoded, ctypes.c_size_t(len(encoded))))

    def crc(self, data: bytes) -> int:
        return int(self.lib.frame_crc(data, ctypes.c_size_t(len(data))))


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    return Codec(build(tmp_path_factory.mktemp("frames") / "frame.so", "-O2", "-shared", "-fPIC"))


def contents(length: int) -> list[bytes]:
    """Return payloads that are hard on the codec."""
    rng = np.random.default_rng(length)
    return [
        bytes(length),
        b"\xff" * length,
        b"\x01" * length,
        (b"\xff\0" * length)[:length],
        rng.bytes(length),
        bytes(rng.integers(0, 3, length, dtype=np.uint8)),
    ]


def in_python(stream: bytes) -> list[Frame]:
    return FrameReader().feed(stream)


def check_alike(c: Codec, frame: Frame) -> bytes:
    encoded = encode(frame)
    assert c.encode(frame) == encoded
    assert encoded[-1] == 0
    assert 0 not in encoded[:-1]
    assert len(encoded) <= len(frame.payload) + 8 + 2 + 1
    assert in_python(encoded) == [frame] == c.decode(encoded)
    return encoded


def test_every_length_both_ways(c: Codec) -> None:
    for length in LENGTHS:
        for number, payload in enumerate(contents(length)):
            check_alike(c, Frame(1 + number, 0x0100 * number + length, payload))


def test_zeros_around_full_blocks(c: Codec) -> None:
    # runs of all lengths up to and past that of a full block, at the end of the body and before a zero
    for length in range(240, wire.MAX_PAYLOAD + 1):
        for zero in range(length):
            payload = bytearray(b"\x55" * length)
            payload[zero] = 0
            check_alike(c, Frame(5, 0x0101, bytes(payload)))


@settings(deadline=None, max_examples=300)
@given(type=st.integers(0, 255), sequence=st.integers(0, 0xFFFF), payload=st.binary(max_size=wire.MAX_PAYLOAD))
def test_round_trip(c: Codec, type: int, sequence: int, payload: bytes) -> None:
    check_alike(c, Frame(type, sequence, payload))


@settings(deadline=None, max_examples=300)
@given(
    data=st.lists(
        st.one_of(st.binary(max_size=40), st.just(b"\0"), st.just(encode(HELLO)), st.just(b"\xff" * 255)), max_size=9
    )
)
def test_both_find_the_same_frames_in_any_stream(c: Codec, data: list[bytes]) -> None:
    stream = b"".join(data)
    assert in_python(stream) == c.decode(stream)


def test_outside_judges(c: Codec) -> None:
    cobs = need_package("cobs.cobs", "cobs")
    for length in range(520):
        for data in contents(length):
            assert stuff(data) == cobs.encode(data)
            assert unstuff(cobs.encode(data)) == data
    for length in LENGTHS:
        for payload in contents(length):
            body = cobs.decode(encode(Frame(9, 0x1234, payload))[:-1])
            assert body[:6] == bytes([wire.VERSION, 9, 0x34, 0x12, length & 255, length >> 8])
            assert body[6:-2] == payload
            assert int.from_bytes(body[-2:], "little") == binascii.crc_hqx(body[:-2], 0xFFFF) == c.crc(body[:-2])
    assert c.crc(b"123456789") == 0x29B1  # the published check value of CRC-16/CCITT-FALSE


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=600))
def test_what_is_not_stuffed_is_refused_as_by_the_judge(data: bytes) -> None:
    cobs = need_package("cobs.cobs", "cobs")
    try:
        expected = cobs.decode(data)
    except cobs.DecodeError:
        expected = None
    assert unstuff(data) == expected


def test_no_single_bit_error_makes_a_frame_say_something_else(c: Codec) -> None:
    # one passes: the zero at the end turned into 1 after a full block, which says the same and waits for the next zero
    bits = 0
    for length in LENGTHS:
        for payload in contents(length):
            encoded = encode(Frame(11, 0x0203, payload))
            assert c.passing_errors(encoded) == 0, (length, payload)
            bits += 8 * len(encoded)
    assert bits > 1_500_000


@settings(deadline=None, max_examples=200)
@given(payload=st.binary(max_size=40), data=st.data())
def test_single_bit_errors_in_python(payload: bytes, data: st.DataObject) -> None:
    encoded = bytearray(encode(Frame(3, 9, payload)))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    assert in_python(bytes(encoded) + b"\0") == []  # these are too short for a full block


@settings(deadline=None, max_examples=300)
@given(garbage=st.binary(max_size=900))
def test_a_whole_frame_after_garbage_is_lost_at_most_once(c: Codec, garbage: bytes) -> None:
    one, two = Frame(2, 1, b"first\0" * 9), Frame(2, 2, b"second")
    stream = garbage + encode(one) + encode(two)
    for found in (in_python(stream), c.decode(stream)):
        assert found[-1] == two
        assert found in ([two], [one, two])
    assert in_python(garbage + b"\0" + encode(one))[-1] == one  # a zero first saves even that one
    assert c.decode(garbage + b"\0" + encode(one))[-1] == one


def test_too_long_bodies_are_skipped(c: Codec) -> None:
    long = b"".join(bytes([200]) + b"x" * 199 for _ in range(9))
    for stream in (b"x" * 5000, long, stuff(bytes(300)), b"\x01" * 300):
        assert in_python(stream + b"\0" + encode(HELLO)) == [HELLO] == c.decode(stream + b"\0" + encode(HELLO))
    with pytest.raises(LinkError, match="256"):
        encode(Frame(1, 1, bytes(257)))


def test_other_versions_and_lengths_are_no_frames(c: Codec) -> None:
    def sealed(body: bytes) -> bytes:
        return stuff(body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "little")) + b"\0"

    good = bytes([wire.VERSION, 1, 7, 0, 2, 0]) + b"ab"
    assert in_python(sealed(good)) == [Frame(1, 7, b"ab")] == c.decode(sealed(good))
    for body in (
        bytes([2]) + good[1:],
        good[:4] + b"\x01\0ab",
        good[:4] + b"\x03\0ab",
        good[:4] + b"\x02\x01ab",
        good[:5],
        b"",
    ):
        assert in_python(sealed(body)) == [] == c.decode(sealed(body))
    assert decode(b"") is None


def test_readers_count_what_they_drop() -> None:
    reader = FrameReader()
    assert reader.feed(b"\0\0" + encode(HELLO)[:-3] + b"\0" + encode(HELLO) + b"xyz") == [HELLO]
    assert reader.bad_frames == 1
    reader.clear()
    assert reader.feed(encode(HELLO)) == [HELLO]


def test_no_undefined_behaviour_on_random_bytes(tmp_path: Path) -> None:
    program = build(tmp_path / "frame", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    rng = np.random.default_rng(5)
    parts = [rng.bytes(100_000), bytes(rng.integers(0, 4, 100_000, dtype=np.uint8)), b"\xff" * 70_000]
    whole = 0
    for length in LENGTHS:
        encoded = bytearray(encode(Frame(length & 127, length, rng.bytes(length))))
        parts.append(b"\0" + bytes(encoded))
        whole += 1
        for _ in range(20):
            broken = bytearray(encoded)
            kind, at = int(rng.integers(0, 3)), int(rng.integers(0, len(broken)))
            if kind == 0:
                broken[at] = int(rng.integers(0, 256))
            elif kind == 1:
                del broken[at : at + int(rng.integers(1, 5))]
            else:
                broken[at:at] = rng.bytes(int(rng.integers(1, 40)))
            parts.append(bytes(broken))
    stream = tmp_path / "stream"
    stream.write_bytes(b"".join(parts))
    done = subprocess.run([program, stream], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(in_python(stream.read_bytes())) >= whole
