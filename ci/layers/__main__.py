"""`python -m layers lint | manifest | check`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from layers import check, lint, payload
from layers.workspace import Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m layers", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    commands.add_parser("lint", help="what needs no OpenEmbedded")
    commands.add_parser("manifest", help="take new digests of changed payload files")
    checking = commands.add_parser("check", help="what BitBake itself says (docs/yocto.md)")
    checking.add_argument(
        "--work",
        type=Path,
        required=True,
        help="kas work directory with layers/upstream checked out",
    )
    checking.add_argument("--user", default="", help="run BitBake as this user (it refuses root)")
    for name in ("kernel", "uboot"):
        checking.add_argument(f"--{name}", type=Path, help="its sources, of the release's version (part kconfig)")
    checking.add_argument("--world", choices=("core", "needed"), default="core", help="what part upstream compares")
    checking.add_argument("parts", nargs="*", help=f"some of: {' '.join(check.PARTS)}")
    options = parser.parse_args(arguments)
    if options.command == "lint":
        return int(lint.main() > 0)
    if options.command == "manifest":
        print(f"{payload.refresh()} digests changed")  # noqa: T201 -- a command
        return 0
    sources = [path and path.resolve() for path in (options.kernel, options.uboot)]
    workspace = Workspace(options.work.resolve(), options.user, *sources, options.world == "needed")
    return check.main(workspace, options.parts or list(check.PARTS))


if __name__ == "__main__":
    sys.exit(main())
