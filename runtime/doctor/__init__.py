# SPDX-License-Identifier: Apache-2.0
"""What a machine lacks for the jobs Joulet does, each thing with the command that brings it."""
