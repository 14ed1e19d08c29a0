# SPDX-License-Identifier: Apache-2.0
"""``joulet keys``: the key pair that updates over the link are signed with."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from joulet.link.signing import new_secret, public_key, read_secret, write_keys

EPILOG = """\
Without --new, the public key of an existing FILE is printed. FILE holds the secret key and is readable by its owner alone;
FILE.pub holds the public one. They are EdDSA keys with BLAKE2b (Monocypher), not Ed25519 ones.

  joulet keys --new updates.key
  joulet build --board pico kws.jlt --key updates.key.pub    # this firmware takes signed updates only
  python: board.upload("MODEL", data, sign=joulet.link.signing.read_secret(Path("updates.key")))
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "keys",
        help="make a key pair for signed updates, or print the public key",
        description="Make a key pair for signed updates, or print the public key of one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the secret key")
    parser.add_argument("--new", action="store_true", help="make a new pair: FILE and FILE.pub")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Make or show a key; return the exit code."""
    if args.new:
        secret = new_secret()
        write_keys(args.file, secret)
    else:
        secret = read_secret(args.file)
    public = public_key(secret).hex()
    print(json.dumps({"file": str(args.file), "public": public}) if args.json else public)
    return 0
