# SPDX-License-Identifier: Apache-2.0
"""The wheel works away from any checkout, and the sdist carries what the wheel is built from."""

from __future__ import annotations

import re
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


def test_the_sdist_is_what_is_kept(built: Path) -> None:
    """Every file under version control but those of the workshop is in the sdist, and nothing built is."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: what is kept is not known")
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        held = {name.name.split("/", 1)[1] for name in archive.getmembers() if name.isfile()}
    # .ci and git's own files are of the checkout
    kept = {name for name in run("git", "ls-files", cwd=ROOT).splitlines() if not name.startswith(".")}
    assert {name for name in kept if (ROOT / name).is_file()} - held == set()
    made = {"PKG-INFO", "setup.cfg"}
    assert {name for name in held - kept - made if not name.startswith("joulet.egg-info/")} == set()


def test_an_index_would_take_it(built: Path) -> None:
    pytest.importorskip("twine", reason="pip install twine")
    files = [str(path) for pattern in ("*.tar.gz", "*.whl") for path in built.glob(pattern)]
    assert run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files, cwd=built).count("PASSED") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="manylinux is of Linux")
def test_the_wheel_runs_on_any_linux_of_this_libc(built: Path) -> None:
    """What manylinux asks: no library but the C library's own; a wheel that serves all Pythons from 3.10 on."""
    pytest.importorskip("auditwheel", reason="pip install auditwheel")
    wheel = next(built.glob("*.whl"))
    assert "-cp310-abi3-" in wheel.name
    said = " ".join(run(sys.executable, "-m", "auditwheel", "show", str(wheel), cwd=built).split())
    assert "manylinux_2_" in said
    needed = set(re.findall(r"\b(lib\w+|ld-linux\S*)\.so", said))
    assert needed <= {"libc", "libm"}, needed


def test_the_wheel_holds_all_that_is_kept(built: Path) -> None:
    """Every file under version control that belongs to the package is in the wheel, and nothing else is."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: what is kept is not known")
    homes = {"runtime": "joulet", "policies": "joulet/policies", "tools": "joulet/tools", "csrc": "joulet/_src/csrc",
             "firmware": "joulet/_src/firmware"}  # fmt: skip
    kept = set()
    for name in run("git", "ls-files", *homes, cwd=ROOT).splitlines():
        top, _, rest = name.partition("/")
        if (ROOT / name).is_file():
            kept.add(f"{homes[top]}/{rest}")
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith(".so")}
    assert kept - held == set()
    assert held - kept == set()


def test_wheels_are_made_for_two_machines() -> None:
    """What cibuildwheel makes of its table in pyproject.toml; building needs containers (make wheels)."""
    pytest.importorskip("cibuildwheel", reason="pip install cibuildwheel")
    said = run(
        sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", "linux", str(ROOT), cwd=ROOT
    )
    assert said.split() == ["cp310-manylinux_x86_64", "cp310-manylinux_aarch64"]


@pytest.mark.slow
def test_the_sdist_installs_into_a_clean_environment(built: Path, tmp_path: Path) -> None:
    """As pip does on a machine that has no wheel, such as 32-bit Arm: sources, a compiler, nothing else."""
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"), cwd=tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", str(next(built.glob("*.tar.gz")))],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 and ("No matching distribution" in done.stderr or "Failed to establish" in done.stderr):
        pytest.skip("no package index can be reached for numpy and cffi")
    assert done.returncode == 0, done.stderr[-2000:]
    check = str(ROOT / "tests" / "wheel_check.py")
    assert "works from" in run(python, "-I", check, str(ROOT / "tests" / "models"), cwd=tmp_path)


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
