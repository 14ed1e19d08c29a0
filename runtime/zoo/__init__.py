# SPDX-License-Identifier: Apache-2.0
"""Models worth deploying: recipes as data, loaders of their datasets, and what every operating point costs and scores."""
