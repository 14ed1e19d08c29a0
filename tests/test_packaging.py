# SPDX-License-Identifier: Apache-2.0
"""The wheel works away from any checkout, and the sdist carries what the wheel is built from."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from thumb import need_tools

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and from it the wheel; return the folder."""
    pytest.importorskip("build", reason="the package 'build' is not installed")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    return folder


def test_the_sdist_carries_sources_and_boards(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"csrc/joulet.h", "csrc/kernels/kernels.def", "firmware/boards/nucleo_l4r5zi/board.toml"} <= names


def test_the_wheel_runs_away_from_the_checkout(built: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "import sys; sys.path.insert(0, 'site')\n"
        "import joulet; assert 'site' in joulet.__file__, joulet.__file__\n"
        "from importlib.resources import files\n"
        "assert (files('joulet._src.csrc') / 'joulet.h').is_file()\n"
        "from joulet.tools.main import main\n"
        "assert main(['zoo', 'get', 'ecg', '-o', 'ecg.jlt']) == 0\n"
        "sys.exit(main(['compile', sys.argv[1], '--exits', 'off', '--board', 'nucleo_l4r5zi', '-o', 'm.jlt']))\n"
    )
    # -I and -P would hide site-packages' numpy too; the first entry of sys.path decides.
    model = str(next((ROOT / "tests" / "models").glob("*conv*.tflite")))
    run(sys.executable, "-c", script, model, cwd=tmp_path)
    assert (tmp_path / "m.jlt").stat().st_size > 0


def test_the_wheel_builds_and_flashes_away_from_the_checkout(built: Path, tmp_path: Path) -> None:
    need_tools()
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        archive.extractall(tmp_path / "site")
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
    script = (
        "import os, sys; sys.path.insert(0, 'site')\n"
        "os.environ['JOULET_CACHE'] = 'cache'\n"
        "import pathlib, shutil, threading, time\n"
        "def board():  # takes the image and restarts: its volume goes away\n"
        "    while len(list(pathlib.Path('volume').iterdir())) < 2:\n"
        "        time.sleep(0.05)\n"
        "    time.sleep(0.5)\n"
        "    shutil.copytree('volume', 'taken')\n"
        "    shutil.rmtree('volume')\n"
        "threading.Thread(target=board, daemon=True).start()\n"
        "from joulet.tools.main import main\n"
        "for words in (\n"
        "    ['compile', sys.argv[1], '--exits', 'off', '-o', 'm.jlt'],\n"
        "    ['build', 'm.jlt', '--board', 'virtual_m4'],\n"
        "    ['build', 'm.jlt', '--board', 'pico'],\n"
        "    ['flash', '--board', 'pico', '--via', 'uf2', '--mount', 'volume', '--no-verify'],\n"
        "    ['bench', 'm.jlt', '--engine', 'virtual:virtual_m4'],\n"
        "):\n"
        "    code = main(words)\n"
        "    assert code == 0, (words, code)\n"
    )
    model = str(next((ROOT / "tests" / "models").glob("*conv*.tflite")))
    said = run(sys.executable, "-c", script, model, cwd=tmp_path)
    assert "virtual_m4" in said
    assert (tmp_path / "joulet-build" / "virtual_m4" / "image.hex").is_file()
    assert len(list((tmp_path / "taken").iterdir())) == 2
