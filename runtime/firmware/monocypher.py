# SPDX-License-Identifier: Apache-2.0
"""Monocypher's C source, for firmware that checks signatures: from the sdist of ``pymonocypher``, by its hash.

It is fetched with pip the first time and kept beside built firmware; nothing of it lies in this repository.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from joulet.errors import UsageError

VERSION = "4.0.3.4"
SDIST = f"pymonocypher-{VERSION}.tar.gz"
SDIST_SHA256 = "5e56e3d3eb770a53e0b9f6274146663c11a11f3d0de5cd48e3be0428d1b07a4a"
FILES: Mapping[str, str] = {
    "monocypher.c": "57eb914fc88136119bd41655cccb8c250048bf54d470540625186f8ab16f64be",
    "monocypher.h": "c494da712122da7ff679fdcf318a5317e84972b6c950fe9d896212947797facd",
}
_FETCH_S = 300.0


def monocypher_source(cache: Path) -> Path:
    """Return the folder of monocypher.c and monocypher.h, fetching them when the cache lacks them.

    Raises
    ------
    UsageError
        If the sdist cannot be had, or is not the one that is known.
    """
    folder = cache / "monocypher" / VERSION
    if not all(_is(folder / name, digest) for name, digest in FILES.items()):
        folder.mkdir(parents=True, exist_ok=True)
        sdist = folder / SDIST
        if not _is(sdist, SDIST_SHA256):
            _fetch(sdist)
        _unpack(sdist, folder)
    return folder


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _fetch(sdist: Path) -> None:
    with tempfile.TemporaryDirectory(dir=sdist.parent) as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"pymonocypher=={VERSION} --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
        # its metadata is there without a build; pip wants to see its tools all the same
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", "pymonocypher", "--require-hashes", "--dest", folder, "-r", str(wanted)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1] if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        got = Path(folder) / SDIST
        if said or not _is(got, SDIST_SHA256):
            raise UsageError(
                f"firmware that checks signatures needs the source of Monocypher, and pip cannot fetch {SDIST}: "
                f"{said or 'it is another one'}; put that file (SHA-256 {SDIST_SHA256}) into '{sdist.parent}', "
                "or build without --key"
            )
        os.replace(got, sdist)


def _unpack(sdist: Path, folder: Path) -> None:
    with tarfile.open(sdist) as archive:
        for name, digest in FILES.items():
            member = archive.extractfile(f"pymonocypher-{VERSION}/{name}")
            content = member.read() if member is not None else b""
            if hashlib.sha256(content).hexdigest() != digest:
                raise UsageError(f"{name} in '{sdist}' is not the one that is known; remove it and build again")
            part = folder / f".{name}.{os.getpid()}"
            part.write_bytes(content)
            os.replace(part, folder / name)
