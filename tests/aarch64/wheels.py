# SPDX-License-Identifier: Apache-2.0
"""Unpacks the wheels that the tests need on AArch64 by this machine's pip, since pip under an emulator takes half an hour.

    python3 tests/aarch64/wheels.py VENV PYTHON GLIBC

VENV is the root's environment, PYTHON its version (3.11), GLIBC that of its libc (36 for 2.36). This is a head start only:
pip in the root then looks at all of it, and installs what is missing or wrong.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib
from pip._vendor.packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
INTERPRETER = b"#!/joulet/.venv/bin/python3"
EXTRAS = ("demo", "judges", "test", "emulator")  # as the Makefile's .venv/.test


def requirements(python: str) -> list[str]:
    """Return what pyproject.toml asks for on AArch64."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    machine = {"platform_machine": "aarch64", "sys_platform": "linux", "python_version": python}
    wanted = [Requirement(line) for line in listed]
    return [f"{r.name}{r.specifier}" for r in wanted if r.marker is None or r.marker.evaluate(machine)]


def unpack(target: Path, python: str, glibc: int) -> None:
    """Put the wheels of everything asked for into ``target``."""
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(glibc, 16, -1)] + ["manylinux2014_aarch64"]
    platforms = [word for tag in tags for word in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    where = ["--target", str(target), "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    subprocess.run([*command, *where, *platforms, *requirements(python)], check=True)


def move_programs(source: Path, target: Path) -> None:
    """Move what pip has put into ``bin``, with the first line of scripts as it must be in the root."""
    target.mkdir(exist_ok=True)
    for program in source.iterdir():
        first, _, rest = program.read_bytes().partition(b"\n")
        line = INTERPRETER if first.startswith(b"#!") else first
        (target / program.name).write_bytes(line + b"\n" + rest)
        (target / program.name).chmod(0o755)
        program.unlink()
    source.rmdir()


def main(venv: Path, python: str, glibc: str) -> None:
    """Unpack the wheels, and put packages and programs where the environment has them."""
    site = venv / "lib" / f"python{python}" / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=venv) as folder:
        unpack(Path(folder), python, int(glibc))
        move_programs(Path(folder) / "bin", venv / "bin")
        for package in Path(folder).iterdir():
            package.rename(site / package.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
