# SPDX-License-Identifier: Apache-2.0
"""The link to a board: frames, requests, the ASCII runner protocol. PROTOCOL.md."""

from joulet.link.client import Board, Hello, Reached, connect, greet
from joulet.link.port import Port, open_port
from joulet.link.recovery import recover
from joulet.link.runner import Runner

__all__ = ["Board", "Hello", "Port", "Reached", "Runner", "connect", "greet", "open_port", "recover"]
