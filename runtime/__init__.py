# SPDX-License-Identifier: Apache-2.0
"""Joulet: one nested, early-exit network whose bits and depth follow the energy at hand.

The names below are the public interface; each is imported when first used, so that ``import joulet`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joulet.boards import load_board as load_board
    from joulet.compile import compile_model as compile_model
    from joulet.container.read import Container as Container
    from joulet.energy.battery import Battery as Battery
    from joulet.energy.bq25570 import bq25570 as bq25570
    from joulet.energy.capacitor import Capacitor as Capacitor
    from joulet.energy.converter import ConstantConverter as ConstantConverter
    from joulet.energy.load import load_harvester as load_harvester
    from joulet.energy.trace import load_trace as load_trace
    from joulet.engine.answers import Answers as Answers
    from joulet.engine.host import HostEngine as HostEngine
    from joulet.engine.litert import LiteRTEngine as LiteRTEngine
    from joulet.engine.litert import LiteRTLadder as LiteRTLadder
    from joulet.importers.tflite import load_tflite as load_tflite
    from joulet.plan.cost import board_costs as board_costs
    from joulet.plan.cost import cost_table as cost_table
    from joulet.policies import make_policy as make_policy
    from joulet.session import SessionSettings as SessionSettings

__version__ = "0.1.0"

_HOMES = {
    "Answers": "joulet.engine.answers",
    "Battery": "joulet.energy.battery",
    "Capacitor": "joulet.energy.capacitor",
    "ConstantConverter": "joulet.energy.converter",
    "Container": "joulet.container.read",
    "HostEngine": "joulet.engine.host",
    "LiteRTEngine": "joulet.engine.litert",
    "LiteRTLadder": "joulet.engine.litert",
    "SessionSettings": "joulet.session",
    "board_costs": "joulet.plan.cost",
    "bq25570": "joulet.energy.bq25570",
    "compile_model": "joulet.compile",
    "cost_table": "joulet.plan.cost",
    "load_board": "joulet.boards",
    "load_harvester": "joulet.energy.load",
    "load_tflite": "joulet.importers.tflite",
    "load_trace": "joulet.energy.trace",
    "make_policy": "joulet.policies",
}

__all__ = [
    "Answers",
    "Battery",
    "Capacitor",
    "ConstantConverter",
    "Container",
    "HostEngine",
    "LiteRTEngine",
    "LiteRTLadder",
    "SessionSettings",
    "board_costs",
    "bq25570",
    "compile_model",
    "cost_table",
    "load_board",
    "load_harvester",
    "load_tflite",
    "load_trace",
    "make_policy",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'joulet' has no attribute '{name}'")
