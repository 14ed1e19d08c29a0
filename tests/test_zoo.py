# SPDX-License-Identifier: Apache-2.0
"""The zoo: recipes that parse, loaders on small data, broken data refused, nothing overwritten or left half-written."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from joulet.boards import load_board
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.errors import DataError, JouletError, UsageError
from joulet.tools.main import main
from joulet.zoo import ecg
from joulet.zoo.datasets import Split, load_split
from joulet.zoo.fetch import fetch
from joulet.zoo.get import make_entry, shipped_entry, write_entry
from joulet.zoo.measure import measure, points
from joulet.zoo.recipe import card, load_recipe, packaged, parse_recipe, recipe_names

SHIPPED = ("ecg", "watch")


# Recipes


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert card(name)
    assert recipe.shipped == (name in SHIPPED)
    if recipe.shipped:
        model = packaged(recipe.model)
        assert model is not None
        assert hashlib.sha256(model).hexdigest() == recipe.model_sha256


def test_broken_recipes_are_named() -> None:
    text = (Path(__file__).resolve().parents[1] / "runtime" / "zoo" / "recipes" / "kws.toml").read_text()
    for old, new, match in (
        ("joulet zoo 1", "joulet zoo 9", "format is"),
        ('weights = "reference"', 'weights = "somebody\'s"', "weights is"),
        ("model_sha256 = \"aeea", "model_sha256 = \"xxxx", "64 lower-case hex"),
        ("[dataset]", "[nothing]", r"\[dataset\] is missing"),
        ("precisions = [", "precisions = 3 # [", "precisions is missing"),
        ("[compile]", "[compile", "no TOML"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=match):
            parse_recipe(text.replace(old, new), "x.toml")
    with pytest.raises(UsageError, match="there are ecg, kws"):
        load_recipe("gpt")


# What is shipped


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_fits_together(name: str) -> None:
    """Container, scores and recipe belong together, and every point has a cost on three boards."""
    entry = shipped_entry(load_recipe(name))
    assert entry is not None
    assert len(entry.container) <= 100_000
    container = Container.from_bytes(entry.container)
    assert hashlib.sha256(entry.container).hexdigest() == entry.measured["container_sha256"]
    boards = [load_board(b) for b in ("nucleo_l4r5zi", "nrf52840_dk", "pico")]
    rows = points(container, entry.measured, boards)
    n_paths = len(entry.measured["paths"])
    assert len(rows) == 3 * n_paths * (len(container.exits) + 1)
    for board in boards:
        front = [r for r in rows if r.board == board.name and r.front]
        assert [r.accuracy for r in front] == sorted({r.accuracy for r in front})
        assert [r.cycles for r in front] == sorted(r.cycles for r in front)
        for row in front:
            assert row.energy_nj == pytest.approx(row.cycles * board.load.energy_pj_per_cycle * 1e-3)


def test_the_stored_scores_are_what_the_container_scores() -> None:
    """Measured again on the package's data: the same numbers, to the last digit."""
    pytest.importorskip("seglearn", reason="the recordings come with joulet[demo]")
    entry = shipped_entry(load_recipe("watch"))
    assert entry is not None
    test = load_split("seglearn-watch", None, "test")
    assert test.sha256 == entry.measured["provenance"]["test"]["sha256"]
    assert measure(entry.container, test) == entry.measured["paths"]


def test_the_ecg_scores_are_those_of_the_test_patients(shared_data: Path) -> None:
    folder = shared_data / "ecg_mitbih"
    entry = shipped_entry(load_recipe("ecg"))
    assert entry is not None
    test = load_split("mitbih", folder, "test")
    assert load_split("mitbih", shared_data, "test").sha256 == test.sha256  # also from one folder above
    assert set(np.unique(test.groups)) == {104, 116}
    assert test.sha256 == entry.measured["provenance"]["test"]["sha256"]
    assert measure(entry.container, test) == entry.measured["paths"]


def test_scores_of_another_container_are_refused() -> None:
    ecg_entry, watch_entry = (shipped_entry(load_recipe(name)) for name in SHIPPED)
    assert ecg_entry is not None
    assert watch_entry is not None
    board = load_board("nucleo_l4r5zi")
    with pytest.raises(DataError, match="were measured on container"):
        points(Container.from_bytes(ecg_entry.container), watch_entry.measured, [board])
    broken = json.loads(json.dumps(ecg_entry.measured))
    first = next(iter(broken["paths"].values()))
    for change in ({"exits": []}, {"auto": {}}, {"exits": 3}):
        broken["paths"] = {"w8": {**first, **change}}
        with pytest.raises(DataError, match="broken"):
            points(Container.from_bytes(ecg_entry.container), broken, [board])


def test_measuring_is_what_the_engine_answers() -> None:
    entry = shipped_entry(load_recipe("watch"))
    assert entry is not None
    x = np.random.default_rng(0).integers(-128, 128, (40, 1, 128, 6)).astype(np.int8)
    y = np.arange(40) % 7
    found = measure(entry.container, Split(x=x, y=y, groups=None))
    engine = HostEngine(entry.container)
    right = engine.infer([x], path="w4", depth=0).outputs[0].reshape(40, 7).argmax(1) == y
    assert found["w4"]["exits"][0]["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert sum(found["w4"]["auto"]["shares"]) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(DataError, match="the model takes"):
        measure(entry.container, Split(x=x[:, :, :5], y=y, groups=None))


# Loaders on small data


def small_ecg(folder: Path) -> dict[str, np.ndarray]:
    """Write an ecg.npz with every record, a few beats each; return its arrays."""
    rng = np.random.default_rng(3)
    arrays: dict[str, np.ndarray] = {}
    for names in ecg.PATIENTS.values():
        for name in names:
            beats = np.arange(1000, 9000, 400)
            arrays[f"ecg_{name}"] = rng.integers(-200, 200, 10_000).astype(np.int16)
            arrays[f"r_{name}"] = beats.astype(np.int32)
            arrays[f"pvc_{name}"] = (np.arange(len(beats)) % 5 == 0).astype(np.uint8)
    np.savez(folder / "ecg.npz", **arrays)
    return arrays


def test_heartbeats_are_split_by_patient(tmp_path: Path) -> None:
    small_ecg(tmp_path)
    calibration, test = (load_split("mitbih", tmp_path, split) for split in ("calibration", "test"))
    assert calibration.groups is not None
    assert test.groups is not None
    assert not set(calibration.groups) & set(test.groups)
    assert test.x.shape[1:] == (1, ecg.WINDOW, 1)
    assert test.x.dtype == np.int8
    assert calibration.y.mean() == pytest.approx(0.2, abs=0.01)


def wfdb(folder: Path, name: str, signal: np.ndarray, beats: np.ndarray, pvc: np.ndarray) -> None:
    """Write a record as PhysioNet does: header, format 212 with a second signal, annotations with a note and a skip."""
    zero = 1024
    lines = [f"{name} 2 360 {len(signal)}"]
    lines += [f"{name}.dat 212 200 11 {zero} 0 0 0 {lead}" for lead in ("MLII", "V5")]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n# 69 M\n")
    a, b = (signal.astype(np.int64) + zero) & 0xFFF, np.full(len(signal), 7)
    packed = np.stack([a & 0xFF, (a >> 8) | (b >> 8 << 4), b & 0xFF], axis=1)
    (folder / f"{name}.dat").write_bytes(packed.astype(np.uint8).tobytes())
    words: list[int] = [28 << 10 | 5, 63 << 10 | 3, 0x4E28, 0x0000]  # a rhythm and its text, three bytes padded
    now = 5
    for at, ectopic in zip(beats, pvc, strict=True):
        step = int(at) - now
        if step > 1023:
            words += [59 << 10, step >> 16, step & 0xFFFF]
            step = 0
        words.append((5 if ectopic else 1) << 10 | step)
        now = int(at)
    (folder / f"{name}.atr").write_bytes(np.asarray([*words, 0], "<u2").tobytes())


def test_physionets_own_files_give_the_same_beats(tmp_path: Path) -> None:
    packed, raw = tmp_path / "npz", tmp_path / "wfdb"
    packed.mkdir()
    raw.mkdir()
    arrays = small_ecg(packed)
    for name in ecg.PATIENTS["test"]:
        beats = arrays[f"r_{name}"].copy()
        beats[-1] = 9500  # a step that needs the long form
        beats = np.delete(beats, [-2, -3])
        pvc = np.delete(arrays[f"pvc_{name}"], [-2, -3])
        arrays[f"r_{name}"], arrays[f"pvc_{name}"] = beats, pvc
        wfdb(raw, name, arrays[f"ecg_{name}"], beats, pvc)
    np.savez(packed / "ecg.npz", **arrays)
    one, two = (load_split("mitbih", folder, "test") for folder in (packed, raw))
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        ("104.dat", lambda b: b[:-5], "fetch it again"),
        ("104.atr", lambda b: b[: len(b) // 2], "middle of an annotation"),
        ("104.hea", lambda b: b"", "no WFDB header"),
        ("104.hea", lambda b: b.replace(b" 212 ", b" 16 "), "format 212"),
        ("104.hea", lambda b: b.replace(b" 10000", b" -1"), "format 212"),
        ("104.atr", lambda b: np.asarray([1 << 10 | 1023] * 99 + [0], "<u2").tobytes(), "outside its 10000 samples"),
        ("116.dat", None, "cannot read"),
    ],
)
def test_broken_physionet_files_are_named(file: str, change, match: str, tmp_path: Path) -> None:
    packed = tmp_path / "npz"
    packed.mkdir()
    arrays = small_ecg(packed)
    for name in ecg.PATIENTS["test"]:
        wfdb(tmp_path, name, *(arrays[f"{kind}_{name}"] for kind in ("ecg", "r", "pvc")))
    path = tmp_path / file
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=match):
        load_split("mitbih", tmp_path, "test")


def small_speech(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    names = np.asarray([f"yes/{speaker:08x}_nohash_{take}.wav" for speaker in range(30) for take in range(2)])
    np.savez(
        folder / "mfcc.npz", mfcc_int8=rng.integers(-128, 128, (60, 49, 10)).astype(np.int8),
        y=rng.integers(0, 12, 60), names=names,
    )  # fmt: skip
    return folder / "mfcc.npz"


def test_speakers_are_on_one_side(tmp_path: Path) -> None:
    small_speech(tmp_path)
    calibration, test = (load_split("speech-commands-mfcc", tmp_path, split) for split in ("calibration", "test"))
    assert len(calibration.y) + len(test.y) == 60
    assert calibration.groups is not None
    assert test.groups is not None
    assert not set(calibration.groups) & set(test.groups)
    assert test.x.shape[1:] == (49, 10, 1)


def test_images_come_from_npz_or_from_the_binary_batches(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 256, (7, 32, 32, 3)).astype(np.uint8), rng.integers(0, 10, 7)
    one, two = tmp_path / "npz", tmp_path / "bin"
    one.mkdir()
    two.mkdir()
    np.savez(one / "test.npz", x=x, y=y)
    rows = np.concatenate([y[:, None].astype(np.uint8), x.transpose(0, 3, 1, 2).reshape(7, -1)], axis=1)
    (two / "test_batch.bin").write_bytes(rows.tobytes())
    a, b = (load_split("cifar10", folder, "test") for folder in (one, two))
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.y, b.y)
    (two / "test_batch.bin").write_bytes(rows.tobytes()[:-1])
    with pytest.raises(DataError, match="cut short"):
        load_split("cifar10", two, "test")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: {**a, "mfcc_int8": a["mfcc_int8"][:, :40]}, r"\(n, 49, 10\)"),
        (lambda a: {**a, "mfcc_int8": a["mfcc_int8"].astype(np.int16)}, "int8 is needed"),
        (lambda a: {**a, "y": a["y"][:-1]}, "rows"),
        (lambda a: {**a, "y": a["y"] + 12}, "0 to 11 are needed"),
        (lambda a: {k: v for k, v in a.items() if k != "names"}, "has no names"),
        (lambda a: {**a, "names": np.asarray([object()] * 60, dtype=object)}, "no readable"),
    ],
)
def test_arrays_of_the_wrong_form_are_named(change, match: str, tmp_path: Path) -> None:
    path = small_speech(tmp_path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **change(arrays))
    with pytest.raises(DataError, match=match):
        load_split("speech-commands-mfcc", tmp_path, "test")


def test_files_cut_short_are_refused_wherever_they_are_cut(tmp_path: Path) -> None:
    path = small_speech(tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    for at in [0, 1, len(whole) - 1, *rng.integers(2, len(whole) - 1, 25)]:
        path.write_bytes(whole[: int(at)])
        with pytest.raises(DataError):
            load_split("speech-commands-mfcc", tmp_path, "test")
    for at in rng.integers(0, len(whole), 25):
        path.write_bytes(whole[: int(at)] + bytes([whole[int(at)] ^ 0x55]) + whole[int(at) + 1 :])
        assert _loads_or_says_why(tmp_path)


def _loads_or_says_why(folder: Path) -> bool:
    try:
        load_split("speech-commands-mfcc", folder, "test")
    except JouletError as error:
        return "\n" not in str(error)
    return True


def test_folders_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--from DIR"):
        load_split("cifar10", None, "test")
    with pytest.raises(UsageError, match="is no folder"):
        load_split("cifar10", tmp_path / "none", "test")
    with pytest.raises(DataError, match=r"holds no mfcc\.npz"):
        load_split("speech-commands-mfcc", tmp_path, "test")


# Fetching


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve a folder on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "data.bin").write_bytes(b"dataset" * 1000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            if self.path != "/short.bin":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"x" * 10)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_a_file_arrives_whole_or_not_at_all(server: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"dataset" * 1000).hexdigest()
    place = tmp_path / "cache" / "data.bin"
    fetch(f"{server}/data.bin", digest, place)
    assert place.read_bytes() == b"dataset" * 1000
    fetch(f"{server}/gone.bin", digest, place)  # it is there already: nobody is asked
    for url, match in (
        (f"{server}/data.bin", "was expected"),
        (f"{server}/short.bin", "cannot be fetched|ended after"),
    ):
        with pytest.raises(DataError, match=match):
            fetch(url, "0" * 64, tmp_path / "cache" / "other.bin")
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch(f"{server}/gone.bin", digest, tmp_path / "cache" / "other.bin")
    place.write_bytes(b"mine")
    with pytest.raises(UsageError, match="is another file"):
        fetch(f"{server}/data.bin", digest, place)
    assert place.read_bytes() == b"mine"
    fetch(f"{server}/data.bin", digest, place, force=True)
    assert place.read_bytes() == b"dataset" * 1000
    with pytest.raises(UsageError, match="no http"):
        fetch("file:///etc/passwd", digest, tmp_path / "p")
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["data.bin"]


# The command


def test_get_writes_container_and_scores_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "w.jlt"
    assert main(["zoo", "get", "watch", "-o", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["made"] is False
    assert Container.from_bytes(out.read_bytes()).model_hash.hex() == said["model_hash"]
    assert main(["zoo", "get", "watch", "-o", str(out)]) == 0  # the same again is no change
    out.write_bytes(b"something of mine")
    assert main(["zoo", "get", "watch", "-o", str(out)]) == 2
    assert out.read_bytes() == b"something of mine"
    assert "--force" in capsys.readouterr().err
    assert main(["zoo", "get", "watch", "-o", str(out), "--force"]) == 0
    assert main(["zoo", "show", "watch", "--container", str(out)]) == 0
    assert "nrf52840_dk" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.jlt", "w.json"]


@pytest.mark.parametrize("name", recipe_names())
def test_show_says_where_everything_comes_from(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "show", name]) == 0
    text = capsys.readouterr().out
    assert "weights" in text
    assert ("pico" in text) == (name in SHIPPED)
    assert main(["zoo", "show", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == name
    assert main(["zoo", "show", name, "--card"]) == 0
    assert main(["zoo", "list"]) == 0
    assert name in capsys.readouterr().out


def test_reference_models_come_from_the_users_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "get", "kws", "-o", str(tmp_path / "k.jlt")]) == 2
    assert "not ours to ship" in capsys.readouterr().err
    small_speech(tmp_path)
    (tmp_path / "kws_ref_model_int8.tflite").write_bytes(b"another model")
    assert main(["zoo", "get", "kws", "--from", str(tmp_path), "-o", str(tmp_path / "k.jlt")]) == 2
    assert "compile other models with joulet compile" in capsys.readouterr().err
    assert not (tmp_path / "k.jlt").exists()
    assert main(["zoo", "get", "ecg", "--download", str(tmp_path)]) == 2
    assert "is not known here" in capsys.readouterr().err


def test_a_model_is_made_again_from_a_folder(tmp_path: Path) -> None:
    """The whole recipe on small data: compiled, measured, written, shown."""
    small_ecg(tmp_path)
    entry = make_entry(load_recipe("ecg"), tmp_path)
    scores = write_entry(entry, tmp_path / "mine.jlt")
    table = json.loads(scores.read_text())
    assert table["provenance"]["test"]["samples"] == len(load_split("mitbih", tmp_path, "test").y)
    assert {"w8", "w4", "mix"} <= set(table["paths"])
    assert points(Container.from_bytes(entry.container), table, [load_board("pico")])
    with pytest.raises(UsageError, match="no folder"):
        write_entry(entry, tmp_path / "none" / "m.jlt")
    with pytest.raises(UsageError, match="give the name of a container"):
        write_entry(entry, tmp_path / "m.json")
