# SPDX-License-Identifier: Apache-2.0
"""What of the machine the checks look at, passed in so that tests can examine machines they make up."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from joulet.flash.surroundings import Surroundings

JOBS = {
    "infer": "run, compile and simulate models on this machine",
    "build": "build firmware images",
    "emulate": "run firmware on a virtual board",
    "flash": "put images onto boards",
    "serial": "talk to boards",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at.

    ``status`` is ``ok``; ``missing`` when a stated job needs what is not there; ``optional`` when it is not there and no
    stated job needs it; ``warning`` when it is there and will cause trouble. ``fix`` is the command that helps, empty when
    all is well; ``jobs`` are the jobs it serves.
    """

    name: str
    status: str
    found: str
    jobs: tuple[str, ...] = ()
    fix: str = ""


def _can_open(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine to examine: its surroundings, its Python, and who may open which port."""

    around: Surroundings
    python: tuple[int, int, int] = field(default_factory=lambda: sys.version_info[:3])
    in_environment: bool = field(default_factory=lambda: sys.prefix != sys.base_prefix)
    stdlib: Path = field(default_factory=lambda: Path(sysconfig.get_path("stdlib")))
    can_open: Callable[[Path], bool] = _can_open
