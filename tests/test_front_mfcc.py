# SPDX-License-Identifier: Apache-2.0
"""The MFCC front end: C and twin bit for bit, both against a float reference, and as a microcontroller runs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thumb import RAM, Thumb, need_tools

from joulet.errors import DataError
from joulet.front import mfcc, stream
from joulet.front.mfcc import Grid
from joulet.tools import front_tables

ROOT = Path(__file__).resolve().parents[1]
KWS = mfcc.grid_of(0.5847029, 83)
SECOND = 16_000
Pcm = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]


HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)


def windows_of(pcm: Pcm) -> Floats:
    """Return ``(n, frames, 480)`` overlapping windows."""
    return np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float64), 480, axis=1)[:, ::320]


def band_sums(windowed: Floats) -> tuple[Floats, Floats]:
    """Return ``(n, frames, 40)`` sums of amplitudes by mel triangles, and ``(40,)`` sums of the triangles' weights."""
    spectrum = np.abs(np.fft.rfft(windowed, 512))
    mel = 1127 * np.log(1 + np.fft.rfftfreq(512, 1 / 16_000) / 700)
    edges = np.linspace(1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + 4000 / 700), 42)[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    triangles = np.clip(np.minimum(rising, falling), 0, None).T
    return spectrum @ triangles, triangles.sum(axis=0)


def reference(pcm: Pcm) -> Floats:
    """Return ``(n, frames, 10)`` coefficients in float64, in steps of the PCM, from the definitions."""
    bands = np.log(np.maximum(band_sums(windows_of(pcm) * HANN)[0], 1e-6))
    k, n = np.arange(10)[:, None], np.arange(40)
    return np.asarray(bands @ (2 / np.sqrt(80) * np.cos(np.pi * k * (2 * n + 1) / 80)).T)


def sweep(low_hz: float, high_hz: float, peak: float) -> Pcm:
    """Return a second of a sine whose frequency rises evenly in octaves."""
    time = np.arange(SECOND) / 16_000
    octaves = np.log(high_hz / low_hz)
    phase = 2 * np.pi * low_hz * (np.exp(octaves * time) - 1) / octaves
    return np.rint(peak * np.sin(phase)).astype(np.int16)


def noise(seed: int, n: int = 4, peak: float = 32768.0) -> Pcm:
    """Return seconds of white noise, each 8 times as loud as the next."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-peak, peak, (n, SECOND)) / 8.0 ** np.arange(n)[:, None]
    return np.clip(np.rint(rows), -32768, 32767).astype(np.int16)


def square(half_period: int) -> Pcm:
    """Return a second of full-scale square wave."""
    return np.where(np.arange(SECOND) // half_period % 2, -32768, 32767).astype(np.int16)


CLIPS: dict[str, Pcm] = {
    "noise": noise(0),
    "silence": np.zeros((1, SECOND), np.int16),
    "lowest": np.full((1, SECOND), -32768, np.int16),
    "highest": np.full((1, SECOND), 32767, np.int16),
    "minus one": np.full((1, SECOND), -1, np.int16),
    "squares": np.stack([square(half) for half in (1, 2, 8, 13, 80, 240)]),
    "sweeps": np.stack([sweep(20, 4000, 32767), sweep(100, 7900, 3000), sweep(300, 1000, 20)]),
    "clicks": np.where(np.arange(SECOND) % 701 == 0, 1, 0).astype(np.int16)[None],
    "lonely extremes": np.where(np.arange(SECOND) % 997 == 0, -32768, 0).astype(np.int16)[None],
}


def in_c(pcm: Pcm, pieces: list[int] | None = None) -> tuple[stream.FrameRows, int]:
    """Run the C code over one clip in pieces of these sizes, over and over; return its frames and its peak."""
    state, rows, at = stream.MfccStream(), [], 0
    for size in iter((pieces or [len(pcm)]) * (len(pcm) + 1)):
        rows.append(state.take(pcm[at : at + size]))
        at += size
        if at >= len(pcm):
            break
    return np.concatenate(rows), state.peak


def check_alike(clips: Pcm, grid: Grid = KWS, pieces: list[int] | None = None) -> None:
    twin = mfcc.frames(clips)
    features = mfcc.quantise(twin.c_q7, twin.clip_peak, grid)
    for i, clip in enumerate(clips):
        rows, peak = in_c(clip, pieces)
        np.testing.assert_array_equal(rows["c_q7"], twin.c_q7[i])
        np.testing.assert_array_equal(rows["peak"], twin.peak[i])
        assert peak == twin.clip_peak[i]
        assert stream.peak_of(rows) == twin.peak[i].max()
        np.testing.assert_array_equal(stream.quantise(rows, peak, grid), features[i])


@pytest.mark.parametrize("name", CLIPS)
def test_c_equals_its_twin(name: str) -> None:
    check_alike(CLIPS[name])


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(480, 3000),
    bits=st.integers(0, 15),
    offset=st.integers(-32768, 32767),
    pieces=st.lists(st.integers(0, 700), min_size=1, max_size=6).filter(any),
    scale=st.floats(2.0**-14, 64.0),
    zero_point=st.integers(-128, 127),
)
def test_c_equals_its_twin_whatever_comes_and_in_whatever_pieces(
    seed: int, samples: int, bits: int, offset: int, pieces: list[int], scale: float, zero_point: int
) -> None:
    rng = np.random.default_rng(seed)
    pcm = np.clip(rng.integers(-(1 << bits), 1 << bits, (1, samples)) + offset, -32768, 32767).astype(np.int16)
    check_alike(pcm, mfcc.grid_of(scale, zero_point), pieces)


@pytest.mark.parametrize("pieces", [[1], [319, 2], [480], [481], [7, 0, 1000], [16_000]])
def test_pieces_do_not_matter(pieces: list[int]) -> None:
    clip = CLIPS["noise"][1]
    whole, peak = in_c(clip)
    rows, same_peak = in_c(clip, pieces)
    assert len(whole) == 49
    np.testing.assert_array_equal(rows, whole)
    assert peak == same_peak


def test_a_stream_begins_anew() -> None:
    state = stream.MfccStream()
    state.take(CLIPS["squares"][0][:1000])
    state.begin()
    assert state.peak == -32768
    np.testing.assert_array_equal(state.take(CLIPS["noise"][2]), in_c(CLIPS["noise"][2])[0])


def test_extremes_of_frames_and_peaks_quantise_alike() -> None:
    rng = np.random.default_rng(3)
    c_q7 = rng.integers(-32768, 32768, (8, 49, 10)).astype(np.int16)
    c_q7[0, 0], c_q7[0, 1] = -32768, 32767
    peaks = np.array([-32768, 32767, 0, 1, -1, 2, 300, 31], np.int16)
    for grid in (
        KWS,
        mfcc.grid_of(64.0, -128),
        mfcc.grid_of(2.0**-14, 127),
        Grid(multiplier=32767, shift=0, zero_point=-5),
    ):
        features = mfcc.quantise(c_q7, peaks, grid)
        for i in range(len(peaks)):
            rows = np.zeros(49, stream.FRAME)
            rows["c_q7"] = c_q7[i]
            np.testing.assert_array_equal(stream.quantise(rows, int(peaks[i]), grid), features[i])


def bound(pcm: Pcm) -> Floats:
    """Return by how much coefficients may differ from :func:`reference`, infinite where a band drowns in error.

    A sample reaches a bin through the window and at most four twiddles, three in the transform and one in the split: with
    Δw ≤ 2^-16 and |Δtwiddle| ≤ 2^-15 each, the amplitude is at most Σ|x|·2^-16 + 4·Σ|x|·w·2^-15 off, and another 2^-13 of
    itself by its rotations. Integers are rounded to 2^-6 of a sample that fills 16 bits, once on the way in and at most
    twice for each butterfly and the split; with their growth that stays below 2^-6 · 3 · 512 of such a step. Logarithms
    hang at most 1.8e-4 + 2^-10 off; cosines 2^-15 a band (of logarithms of at most 26.3 to base 2); q7 gives 2^-8.
    """
    windows = windows_of(pcm)
    size = np.abs(windows)
    fills = 2.0 ** np.floor(np.log2(np.maximum(size.max(-1), 1.0)) - 14)
    away = size.sum(-1) * 2.0**-16 + 4 * (size @ HANN) * 2.0**-15 + fills * 24
    sums, weights = band_sums(windows * HANN)
    away = away[..., None] * weights + 2.0**-13 * sums
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(away < sums, -np.log1p(-away / sums), np.inf) + np.log(2) * (1.8e-4 + 2.0**-10)
    total = logs.sum(-1)[..., None] * (2 / np.sqrt(80))
    return np.asarray(total + 40 * 26.3 * 2.0**-15 + 2.0**-8)


def off(clips: Pcm) -> Floats:
    return np.asarray(np.abs(mfcc.frames(clips).c_q7 / 128.0 - reference(clips)))


# Measured below: 0.0054 where no band is far weaker than the rest. Of that, q7 alone is 2^-8 = 0.0039; chords of log2 hang
# at most 1.8e-4 low, which is 8.9 · ln 2 · 1.8e-4 = 0.0011 in coefficient 0. A step of the keyword model is 0.58.
def test_float_reference_is_close() -> None:
    away = off(CLIPS["noise"])
    print(f"at most {away.max():.4f}, median {np.median(away):.4f}")
    assert away.max() < 2.0**-7


@pytest.mark.parametrize("name", CLIPS)
def test_float_reference_is_within_its_bound(name: str) -> None:
    clips = CLIPS[name]
    away, most = off(clips), bound(clips)
    print(f"{name}: bounded {100 * np.isfinite(most).mean():.0f} %, {(away / most).max():.3f} of the bound")
    assert (away <= most).all()


def test_most_of_what_a_microphone_hears_is_bounded() -> None:
    rng = np.random.default_rng(5)
    # brown noise under a tone, 50 dB between ends of the spectrum
    brown = np.cumsum(rng.standard_normal((3, SECOND)), axis=1)
    brown -= np.apply_along_axis(lambda row: np.convolve(row, np.ones(400) / 400, "same"), 1, brown)
    clips = np.rint(brown * (9000 / np.abs(brown).max())).astype(np.int16) + sweep(200, 600, 9000)
    away, most = off(clips), bound(clips)
    print(f"bounded {100 * np.isfinite(most).mean():.0f} %, at most {away.max():.4f}")
    assert (away <= most).all()
    assert away.max() < 0.1


def test_a_grid_holds_its_scale() -> None:
    for scale in (2.0**-14, 0.003, 0.5847029, 1.0, 1.9999, 64.0):
        grid = mfcc.grid_of(scale, -3)
        assert grid.multiplier * 2.0**-grid.shift == pytest.approx(1 / scale, rel=2**-14)
        assert 0 <= grid.multiplier < 1 << 15
        assert 0 <= grid.shift <= 20
    assert Grid(multiplier=28021, shift=14, zero_point=83) == KWS
    for scale, zero_point in ((0.0, 0), (65.0, 0), (2.0**-15, 0), (float("nan"), 0), (1.0, 128)):
        with pytest.raises(DataError):
            mfcc.grid_of(scale, zero_point)


def test_the_header_names_the_keyword_models_grid() -> None:
    from joulet._core import lib

    assert (lib.JLT_MFCC_KWS_MULTIPLIER, lib.JLT_MFCC_KWS_SHIFT, lib.JLT_MFCC_KWS_ZERO_POINT) == (28021, 14, 83)


@pytest.mark.parametrize("peak", [1, 3, 2000, -32768])
def test_silence_is_as_quiet_as_the_grid_goes_and_loudness_cancels(peak: int) -> None:
    rows, _ = in_c(CLIPS["silence"][0])
    quiet = stream.quantise(rows, peak, KWS)
    assert set(quiet[:, 0].tolist()) == {-128}
    assert set(quiet[:, 1:].ravel().tolist()) == {83}
    loud = CLIPS["noise"][1:2]
    twice = (loud * 2).astype(np.int16)
    once, doubled = (mfcc.features(clip, KWS).astype(int) for clip in (loud, twice))
    assert np.abs(once - doubled).max() <= 1


@pytest.mark.parametrize("pcm", [np.zeros((1, 480), np.int32), np.zeros(480, np.int16), np.zeros((1, 479), np.int16)])
def test_other_samples_are_refused(pcm: npt.NDArray[np.generic]) -> None:
    with pytest.raises(DataError):
        mfcc.frames(pcm)  # type: ignore[arg-type]


def test_other_pieces_are_refused() -> None:
    with pytest.raises(DataError):
        stream.MfccStream().take(np.zeros(3, np.float32))  # type: ignore[arg-type]


def test_tables_are_up_to_date() -> None:
    assert front_tables.main(["--root", str(ROOT), "--check"]) == 0


def test_bands_get_all_of_a_bin() -> None:
    made = mfcc.tables()
    assert made.mel_bins.sum() == 127
    ends = np.cumsum(made.mel_bins)
    share = made.mel_rise_q16 / 65536
    weights = [share[a:b].sum() + (1 - share[b:c]).sum() for a, b, c in zip([0, *ends], ends, ends[1:], strict=False)]
    assert max(weights) < 6.6  # a comment in mfcc.c rests on it


def test_no_undefined_behaviour(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    program, samples = tmp_path / "front_mfcc", tmp_path / "pcm"
    flags = [
        "-std=c11",
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-I",
        str(ROOT / "csrc"),
    ]
    sources = [str(ROOT / "tests" / "c" / "front_mfcc.c"), str(ROOT / "csrc" / "front" / "mfcc.c")]
    built = subprocess.run(
        [compiler, *flags, *sources, "-o", str(program)], check=False, capture_output=True, text=True
    )
    if built.returncode and "san" in built.stderr and "error:" not in built.stderr:
        pytest.skip("the compiler has no sanitizer runtime")
    assert built.returncode == 0, built.stderr
    clips = np.concatenate(list(CLIPS.values()))
    samples.write_bytes(clips.tobytes())
    done = subprocess.run([str(program), str(samples)], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    # one endless stream to the program
    twin = mfcc.frames(clips.reshape(1, -1))
    assert done.stdout == mfcc.quantise(twin.c_q7, twin.clip_peak, KWS).tobytes()


_STATE, _PIECE, _PCM, _FRAMES = RAM, RAM + 0x2000, RAM + 0x2100, RAM + 0x4000
# a quarter of what 20 ms of 48 MHz hold, if an instruction takes two cycles
MOST = {"cortex-m4": 80_000, "cortex-m0plus": 120_000}
STATE_BYTES = 4 * 512 + 2 * 480 + 4


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m0plus"])
def test_thumb_code_gives_the_same_frames_within_its_instructions(tmp_path: Path, cpu: str) -> None:
    need_tools()
    thumb = Thumb(tmp_path, cpu, ("front/mfcc.c",))
    executed = []
    for name in ("noise", "lowest", "squares", "sweeps"):
        clip = CLIPS[name][0][:1120]
        thumb.write(_STATE, b"\xa5" * STATE_BYTES + b"guard")
        thumb.call("jlt_mfcc_begin", _STATE)
        thumb.write(_PCM, clip.tobytes())
        thumb.write(_PIECE, np.array([_PCM, len(clip)], np.uint32).tobytes())
        thumb.write(_FRAMES, bytes(22 * 4))
        count, instructions = thumb.call("jlt_mfcc_take", _STATE, _PIECE, _FRAMES, 4)
        executed.append(instructions / count)
        got = np.frombuffer(thumb.read(_FRAMES, 22 * count), stream.FRAME)
        np.testing.assert_array_equal(got, in_c(clip)[0])
        assert thumb.read(_STATE + STATE_BYTES, 5) == b"guard"
    print(f"{cpu}: {np.mean(executed):.0f} instructions a frame, at most {max(executed):.0f}")
    assert max(executed) <= MOST[cpu]
