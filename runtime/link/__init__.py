# SPDX-License-Identifier: Apache-2.0
"""The link to a board: frames, requests, the ASCII runner protocol. PROTOCOL.md."""
