# SPDX-License-Identifier: Apache-2.0
"""mypy --strict over the package as installed.

mypy cannot follow an editable install (its finder is a hook, not a path), so the package is laid out as a plain
folder of links first and checked there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Return mypy's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "joulet"
        package.mkdir()
        for entry in (ROOT / "runtime").iterdir():
            if entry.suffix in {".py", ".pyi", ".typed"} or (entry.is_dir() and (entry / "__init__.py").exists()):
                (package / entry.name).symlink_to(entry)
        (package / "policies").symlink_to(ROOT / "policies")
        (package / "tools").symlink_to(ROOT / "tools")
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "joulet"]
        return subprocess.run(command, cwd=folder, env={**os.environ, "MYPYPATH": folder}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
