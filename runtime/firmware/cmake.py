# SPDX-License-Identifier: Apache-2.0
"""What CMake is told of a board: the same recipe that :mod:`joulet.firmware.build` follows, as a file it includes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from joulet.firmware.build import Recipe, firmware_recipe


def write_cmake(board: str, folder: Path) -> None:
    """Write board.h, link.ld and board.cmake for a board; GCC is the compiler.

    Raises
    ------
    UsageError
        If there is no such board, or no GCC.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with firmware_recipe(board, toolchain="gcc") as recipe:
        script = recipe.write(folder)
        (folder / "board.cmake").write_text(_text(recipe, folder, script), encoding="utf-8")


def _text(recipe: Recipe, folder: Path, script: Path) -> str:
    rooms = ("csrc", "firmware", "front", "kernels")
    # CMake links in the order in which it lists the files
    order = [unit.room for unit in recipe.units]
    assert order == sorted(order), "a target's sources must be grouped by room"
    lists: dict[str, Iterable[object]] = {
        "JLT_PROCESSOR": [recipe.toolchain.architecture.name],
        "JLT_COMPILER": recipe.toolchain.command,
        "JLT_SYSTEM_INCLUDE": [recipe.system_include],
        "JLT_INCLUDES": recipe.includes(folder),
        "JLT_LINK_OPTIONS": [*recipe.machine, *recipe.toolchain.link_options(script)],
        "JLT_LIBRARIES": recipe.toolchain.libraries,
        "JLT_DEPENDS": [*recipe.depends, recipe.firmware / "boards" / recipe.facts.name / "board.toml"],
    }
    for room in rooms:
        lists[f"JLT_{room.upper()}_SOURCES"] = [unit.path for unit in recipe.units if unit.room == room]
        lists[f"JLT_{room.upper()}_OPTIONS"] = recipe.options(room)
    parts = [f"# Made from boards/{recipe.facts.name}/board.toml; do not edit.\n"]
    for name, items in lists.items():
        parts.append(f"set({name}\n" + "".join(f'  "{_quoted(str(item))}"\n' for item in items) + ")\n")
    return "".join(parts)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
