# SPDX-License-Identifier: Apache-2.0
"""Folders of labelled images and machine sounds, made here as MLPerf Tiny's datasets are laid out; and broken ones."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "studies"))

from labelled_folders import auc, auc_by_machine, clips, images, mel_bands, windows

from joulet.errors import DataError

STUDY = Path(__file__).parent / "studies" / "agreement.py"


def tone(path: Path, hertz: float, seconds: float = 3.0, rate: int = 16_000, channels: int = 1) -> None:
    t = np.arange(int(seconds * rate)) / rate
    pcm = np.rint(8000 * np.sin(2 * np.pi * hertz * t)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(pcm, channels).tobytes())


def sounds(folder: Path) -> Path:
    for part, kinds in (("train", ("normal",)), ("test", ("normal", "anomaly"))):
        (folder / part).mkdir(parents=True)
        for kind in kinds:
            for machine in ("id_01", "id_02"):
                for k in range(2):
                    tone(folder / part / f"{kind}_{machine}_{k:08d}.wav", (900 if kind == "normal" else 4000) + 10 * k)
    return folder


def pictures(folder: Path, n: int = 12) -> Path:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name in ("person", "non_person"):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(folder / name / f"{name}_{k}.png")
    return folder


def test_mel_bands_are_slaneys() -> None:
    bands = mel_bands()
    assert bands.shape == (513, 128)
    # 8 kHz is 15 + 27 ln 8 / ln 6.4 = 45.25 mel; a band has the mels of its number, from 1, times a 129th of that
    step = (15 + 27 * np.log(8.0) / np.log(6.4)) / 129
    hertz = np.arange(513) * 16000 / 1024
    for band in (60, 90, 120):
        mels = (band + 1) * step
        centre = 200 * mels / 3 if mels < 15 else 1000 * 6.4 ** ((mels - 15) / 27)
        assert abs(hertz[bands[:, band].argmax()] - centre) <= 16000 / 1024
        assert bands[:, band].sum() * 16000 / 1024 == pytest.approx(
            1.0, rel=0.2
        )  # area 1, where a band has some points


def test_a_tone_lies_in_its_band(tmp_path: Path) -> None:
    sounds(tmp_path)
    found = clips(tmp_path / "test")
    assert found.machines == ("id_01", "id_01", "id_02", "id_02") * 2
    assert found.abnormal.tolist() == [True] * 4 + [False] * 4
    frames = 1 + 48_000 // 512 - 50  # to the end of three seconds, which come before frame 250
    assert np.bincount(found.clip).tolist() == [frames - 4] * 8
    for k, hertz in ((0, 4000.0), (4, 900.0)):
        level = found.x[found.clip == k][3].reshape(5, 128)
        assert np.abs(level.argmax(axis=1) - mel_bands()[round(hertz / 15.625)].argmax()).max() <= 1


def test_windows_follow_one_another_by_a_frame() -> None:
    pcm = np.random.default_rng(0).integers(-3000, 3000, 160_000).astype(np.int16)
    x = windows(pcm)
    assert x.shape == (196, 640)
    np.testing.assert_array_equal(x[1:, :512], x[:-1, 128:])


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert auc(scores, positive) == pytest.approx(np.mean(pairs))
    assert auc(positive.astype(float), positive) == 1.0
    with pytest.raises(DataError, match="normal and abnormal"):
        auc(scores, np.zeros(60, bool))


def test_machines_are_judged_apart(tmp_path: Path) -> None:
    found = clips(sounds(tmp_path) / "test")
    errors = np.where(found.abnormal[found.clip], 2.0, 1.0)
    machine = np.array(found.machines)[found.clip]
    areas = auc_by_machine(np.where(machine == "id_02", -errors, errors), found)
    assert areas == {"id_01": 1.0, "id_02": 0.0, "mean": 0.5}


def test_images_are_read_with_their_classes(tmp_path: Path) -> None:
    x, y, fit = images(pictures(tmp_path))
    assert (x.shape, x.dtype) == ((24, 96, 96, 3), np.int8)
    assert y.tolist() == [0] * 12 + [1] * 12
    assert 0 < fit.sum() < 24


@pytest.mark.parametrize("broken", ["cut", "text", "stereo", "rate", "short", "name", "empty"])
def test_broken_sounds_are_named(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "normal_id_01_00000000.wav"
    said = {
        "cut": "no readable", "text": "no readable", "stereo": "2 channels", "rate": "8000 Hz", "short": "too short",
        "name": "is not named as", "empty": "holds no .wav",
    }  # fmt: skip
    tone(path, 1000, 1.0 if broken == "short" else 3.0, 8000 if broken == "rate" else 16_000, 1 + (broken == "stereo"))
    if broken == "cut":
        path.write_bytes(path.read_bytes()[:30])
    elif broken == "text":
        path.write_text("not a sound")
    elif broken == "name":
        path.rename(tmp_path / "motor7.wav")
    elif broken == "empty":
        path.unlink()
    with pytest.raises(DataError, match=said[broken]):
        clips(tmp_path)


def test_broken_images_are_named(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pictures(tmp_path)
    place = tmp_path / "person" / "person_0.png"
    for content, said in ((place.read_bytes()[:200], "no readable image"), (b"text", "no readable image")):
        place.write_bytes(content)
        with pytest.raises(DataError, match=said):
            images(tmp_path)
    image.new("RGB", (64, 48)).save(place)
    with pytest.raises(DataError, match="is 64 × 48"):
        images(tmp_path)
    with pytest.raises(DataError, match=r"holds no \.jpg"):
        images(tmp_path / "person")


def test_the_study_prints_the_auc_of_a_folder(tmp_path: Path, shared_data: Path) -> None:
    from agreement import Autoencoder

    found = clips(sounds(tmp_path) / "test")
    judge = Autoencoder(shared_data / "mlperf_tiny" / "models" / "ad01_int8.tflite")
    q = judge.quantised(found.x)
    errors = judge.errors(q[:40], q, "exact")
    assert set(errors) == {"w8", "w4", "mix"}
    for each in errors.values():
        assert set(auc_by_machine(each, found)) == {"id_01", "id_02", "mean"}


def test_a_folder_of_something_else_ends_in_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, str(STUDY), "--shared", str(tmp_path), "--vww", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("agreement: '")
    assert "Traceback" not in done.stderr
