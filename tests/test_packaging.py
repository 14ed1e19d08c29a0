# SPDX-License-Identifier: Apache-2.0
"""The wheel works away from any checkout, and the sdist carries what the wheel is built from."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

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
        "sys.exit(main(['compile', sys.argv[1], '--exits', 'off', '--board', 'nucleo_l4r5zi', '-o', 'm.jlt']))\n"
    )
    # -I and -P would hide site-packages' numpy too; the first entry of sys.path decides.
    model = str(next((ROOT / "tests" / "models").glob("*conv*.tflite")))
    run(sys.executable, "-c", script, model, cwd=tmp_path)
    assert (tmp_path / "m.jlt").stat().st_size > 0
