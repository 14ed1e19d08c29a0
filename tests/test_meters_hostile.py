# SPDX-License-Identifier: Apache-2.0
"""Foreign bytes: whatever arrives from a meter or lies in a file, parsers end, stay in bounds, and raise only what they say."""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from joulet.errors import MeterError, UsageError
from joulet.meters.lpm01a_wire import Reader
from joulet.meters.pi5 import parse_adc
from joulet.meters.ppk2_device import Ppk2Device
from joulet.meters.ppk2_wire import Decoder, Modifiers, encode, parse_metadata
from joulet.meters.recording import load_recording
from joulet.meters.spec import parse_spec

pieces = st.lists(st.binary(max_size=200), max_size=20)


@settings(max_examples=60, deadline=None)
@given(pieces)
def test_ppk2_samples_from_noise(parts: list[bytes]) -> None:
    decoder = Decoder(Modifiers.nominal(), 3.3)
    fed = found = 0
    for part in parts:
        fed += len(part)
        out = decoder.feed(part)
        found += len(out.current_a)
        assert len(out.current_a) == len(out.logic)
        assert np.isnan(out.current_a).sum() == out.lost
        assert len(decoder._rest) < 64 + len(part)
    assert found <= 64 * (fed // 4 + 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=40), st.integers(0, 4))
def test_a_stream_is_found_again_behind_noise(at: int, noise: bytes, piece: int) -> None:
    words = encode(np.full(400, 0.004), np.zeros(400, np.uint8), 0, Modifiers.nominal(), 3.3)
    decoder = Decoder(Modifiers.nominal(), 3.3)
    decoder.feed(words[:16])
    data = words[16 : 16 + 4 * at] + noise + words[16 + 4 * at :]
    size = max(1, 7**piece)
    current_a = np.concatenate([decoder.feed(data[i : i + size]).current_a for i in range(0, len(data), size)])
    tail = current_a[-100:]
    assert np.isfinite(tail).all()
    assert np.abs(tail - 0.004).max() < 1e-5


@settings(max_examples=60, deadline=None)
@given(pieces, st.booleans())
def test_lpm01a_from_noise(parts: list[bytes], binary: bool) -> None:
    reader = Reader(1000, binary)
    for part in parts:
        heard = reader.feed(part)
        assert len(heard.current_a) == len(heard.logic)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_texts(text: str) -> None:
    parse_adc(text)
    modifiers = parse_metadata(text)
    assert all(np.isfinite(row).all() for row in modifiers.values.values())
    with contextlib.suppress(UsageError):
        parse_spec(text)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_commands_to_the_simulated_kit(data: bytes) -> None:
    device = Ppk2Device(lambda first, count: (np.zeros(count), np.zeros(count, np.uint8)))
    device.take(data)
    assert len(device.produce(10)) in (0, 40)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([".csv", ".ppk2"]))
def test_files_of_noise(data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(data)
        with contextlib.suppress(MeterError):
            load_recording(path, 3.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet='0123456789.,eE-+nainf#" x', max_size=30), max_size=8))
def test_csv_with_a_good_header_and_bad_lines(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_text("time_s,power_w\n" + "\n".join(lines) + "\n")
        with contextlib.suppress(MeterError):
            for rail in load_recording(path):
                assert np.isfinite(rail.time_s).all()
                assert (np.diff(rail.time_s) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=100), st.text(max_size=60))
def test_ppk2_archives_with_bad_content(raw: bytes, metadata: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.ppk2"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("session.raw", raw)
            archive.writestr("metadata.json", metadata.encode("utf-8", "replace"))
        with contextlib.suppress(MeterError):
            load_recording(path, 3.0)
