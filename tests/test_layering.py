# SPDX-License-Identifier: Apache-2.0
"""The table of allowed imports: a new edge is a reviewed change to this file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "units": {"errors"},
    "records": {"errors", "units"},
    "measured": {"errors"},
    "ir": {"errors"},
    "numerics": {"ir", "errors"},
    "importers": {"ir", "errors", "numerics"},
    "passes": {"ir", "errors", "numerics"},
    "quant": {"ir", "errors", "numerics", "passes", "container", "engine", "records"},
    "exits": {"ir", "errors", "numerics", "passes", "quant", "container", "engine", "records"},
    "front": {"errors", "_core"},
    "plan": {"ir", "errors", "numerics", "records", "boards", "container", "measured", "units", "_core"},
    "container": {"ir", "errors", "records", "measured", "plan", "_core"},
    "engine": {"errors", "container", "records", "link", "_core"},
    "boards": {"errors", "measured", "records", "units", "_src"},
    "energy": {"records", "units", "errors"},
    "optimum": {"records", "errors", "_core"},
    "policies": {"records", "units", "errors", "optimum"},
    "simulate": {
        "boards", "engine", "energy", "optimum", "plan", "policies", "records", "report", "session", "errors", "units",
        "_core",
    },
    "events": {"energy", "records"},
    "session": {"events", "engine", "energy", "policies", "records", "units", "errors"},
    "live": {
        "boards", "container", "emulator", "energy", "engine", "errors", "events", "firmware", "link", "plan", "policies",
        "records", "session",
    },
    "compile": {
        "importers", "passes", "quant", "exits", "plan", "container", "boards", "ir", "errors", "records", "engine",
    },
    "variants": {
        "boards", "compile", "exits", "importers", "ir", "passes", "plan", "quant",
    },
    "train": {
        "importers", "passes", "quant", "exits", "boards", "compile", "ir", "errors", "numerics",
    },
    "report": {"metered_run", "records", "units", "errors"},
    "flash": {"errors", "records", "units", "boards", "link"},
    "link": {"errors", "container", "records"},
    "firmware": {"errors", "boards", "container", "flash", "link"},
    "emulator": {"errors", "boards", "energy", "firmware", "flash", "records", "_core"},
    "meters": {"errors", "units", "records", "link"},
    "knobs": {"errors", "meters"},
    "edge": {"engine", "errors", "knobs", "metered_run", "meters", "policies", "records", "units"},
    "metered_run": set(),
    "footprint": {"errors"},
    "profile": {"errors", "metered_run", "records", "units", "engine", "link", "meters"},
    "doctor": {"errors", "flash", "boards"},
    "demo": {"errors"},
    "zoo": {"boards", "compile", "container", "demo", "engine", "errors", "plan"},
    "_src": set(),
    "_core_build": set(),
}  # fmt: skip


def room(path: Path) -> str:
    """Return the room a source file belongs to."""
    relative = path.relative_to(ROOT)
    if relative.parts[0] != "runtime":
        return relative.parts[0]
    return relative.parts[1].removesuffix(".py")


def edges(path: Path) -> set[str]:
    """Return the rooms of joulet that a file imports, wherever in the file it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
            if node.module == "joulet":
                names = [f"joulet.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("joulet.")}
    return found


SOURCES = sorted([*ROOT.glob("runtime/**/*.py"), *ROOT.glob("policies/*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_what_the_table_allows(path: Path) -> None:
    name = room(path)
    if name == "__init__":
        return
    assert edges(path) - {name} <= ALLOWED[name]


def test_nothing_in_the_library_imports_the_tools() -> None:
    assert not [path for path in SOURCES if "tools" in edges(path)]
