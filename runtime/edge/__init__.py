# SPDX-License-Identifier: Apache-2.0
"""Inference on this machine in real time, under a cap on measured power or a budget of joules."""

from joulet.edge.loop import EdgeSettings, run
from joulet.edge.points import Point, points_of_ladder, points_of_table
from joulet.metered_run import EdgeRecord

__all__ = ["EdgeRecord", "EdgeSettings", "Point", "points_of_ladder", "points_of_table", "run"]
