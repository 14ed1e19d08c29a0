# SPDX-License-Identifier: Apache-2.0
"""Updates of a virtual board, cut at random instructions and in the middle of flash operations; what boots after each cut.

    python tests/studies/update_cuts.py [--cuts 10000] [--seed 0] [--board virtual_m4]

A third of the cuts fall anywhere in an upload (or a rollback), a third while its last request is served, a third in the
60,000 instructions before its end, where first bytes and activation record are written; beside them, one flash operation
in some hundred is caught with part of its bits done. After each cut a board with the same flash and FRAM must boot, say
one of the two models' hashes and answer as that model does. Three in a hundred updates are resumed after the cut, cut once
more and finished. The last line is one JSON object: cuts, old, new, neither, and the others. Exit code 1 when a cut left
neither.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from link_bench import other_container, tiny_container  # noqa: E402
from update_bench import Campaign  # noqa: E402

CUTS_A_ROUND = 240


def main() -> int:
    """Print how far it is, and the figures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=10_000, help="at least so many (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    parser.add_argument("--board", default="virtual_m4", help="virtual_m4 or virtual_m0plus")
    args = parser.parse_args()
    if args.cuts < 1:
        parser.error("--cuts: 1 or more")
    began_s, shown_s = time.monotonic(), 0.0
    campaign = Campaign((tiny_container(), other_container()), args.seed, args.board)
    counts, rounds = campaign.counts, 0
    while counts["cuts"] < args.cuts:
        campaign.round(min(CUTS_A_ROUND, max(3, args.cuts - counts["cuts"])), resume_share=0.03)
        rounds += 1
        if time.monotonic() - shown_s > 10.0 or counts["cuts"] >= args.cuts:
            shown_s = time.monotonic()
            print(
                f"{counts['cuts']:>7,} cuts in {rounds} updates, {shown_s - began_s:.0f} s", file=sys.stderr, flush=True
            )
    for problem in campaign.problems:
        print(problem, file=sys.stderr)
    names = ("cuts", "old", "new", "neither", "torn", "resumed", "again")
    print(json.dumps({**{name: counts[name] for name in names}, "updates": rounds, "seed": args.seed}))
    return int(bool(campaign.problems or counts["neither"]))


if __name__ == "__main__":
    sys.exit(main())
