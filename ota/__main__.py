"""`python -m ota`: keys, pack, check, cost."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ota import checking, delta, packing, signing
from ota.errors import OtaError
from ota.packing import BOARD, HARDWARE, TEMPLATE, Software
from ota.signing import AesKey, Signer


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code; what went wrong is one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        for line in options.run(options):
            print(line)  # noqa: T201 -- a command
    except (OtaError, OSError) as error:
        print(f"ota: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _keys(options: argparse.Namespace) -> list[str]:
    signing.make_keys(options.directory)
    return [f"{options.directory}: {path.name}" for path in sorted(options.directory.iterdir())]


def _pack(options: argparse.Namespace) -> list[str]:
    hardware = tuple(options.hardware or HARDWARE)
    software = Software(options.version, options.kernel, options.rootfs, options.board, hardware)
    key = AesKey.load(options.encrypt) if options.encrypt else None
    signer = Signer(options.key, options.cert)
    chunks = packing.pack(
        software, options.out, signer, key=key, template=options.template, chunks=options.delta_url or ""
    )
    made = [f"{options.out}: version {software.version}, {options.out.stat().st_size} bytes"]
    return [*made, *(f"{path}: {path.stat().st_size} bytes, goes to {options.delta_url}" for path in chunks)]


def _cost(options: argparse.Namespace) -> list[str]:
    seen = delta.cost(options.old, options.new)
    return [f"{seen.fetched} of {seen.whole} bytes in {seen.chunks} chunks"]


def _check(options: argparse.Namespace) -> list[str]:
    seen = checking.check(options.swu, options.authority)
    lines = [f"version {seen.version}, signed" + (", encrypted" if seen.encrypted else "")]
    return [*lines, *(f"{size:>12} {name}" for name, size in seen.files)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ota", description="Update files of Grid DCU: pack, sign, check.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    keys = commands.add_parser("keys", help="make an authority, a signer and an AES key for development")
    keys.add_argument("directory", type=Path)
    keys.set_defaults(run=_keys)

    pack = commands.add_parser("pack", help="make a signed .swu")
    pack.add_argument("--version", required=True, help="MAJOR.MINOR.PATCH, above what is in the field")
    pack.add_argument("--kernel", required=True, type=Path, help="signed FIT image with conf-a and conf-b")
    pack.add_argument("--rootfs", required=True, type=Path, help="squashfs with its verity tree")
    pack.add_argument("--key", required=True, help="the signer's private key: a file, or a URI that openssl takes")
    pack.add_argument("--cert", required=True, type=Path, help="the signer's certificate (code signing)")
    pack.add_argument("--encrypt", type=Path, metavar="FILE", help="encrypt the images under this AES key")
    pack.add_argument("--board", default=BOARD, help=f"({BOARD})")
    pack.add_argument("--hardware", action="append", help=f"revision that it is for, may be repeated ({HARDWARE[0]})")
    pack.add_argument("--template", type=Path, default=TEMPLATE)
    pack.add_argument("--out", "-o", required=True, type=Path)
    pack.add_argument("--delta-url", metavar="URL", help="a delta update; its .zck files, made beside it, lie there")
    pack.set_defaults(run=_pack)

    cost = commands.add_parser("cost", help="what a device with one .zck fetches for another")
    cost.add_argument("old", type=Path)
    cost.add_argument("new", type=Path)
    cost.set_defaults(run=_cost)

    check = commands.add_parser("check", help="check a .swu as a device would")
    check.add_argument("swu", type=Path)
    check.add_argument("--authority", required=True, type=Path, help="certificate that signers descend from")
    check.set_defaults(run=_check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
