"""SWUpdate from outside: how it is started for this device, and what its words mean when it refuses.

SWUpdate judges an update alone: signature, hardware, version, hashes. What it prints is the only account of why it
refused; it loses its last lines now and then, so that each cause is known by any of several, and by how far it came.

Source: SWUpdate 2022.12 to 2026.05: core/parser.c, core/stream_interface.c, core/cpio_utils.c, corelib and crypto CMS.
"""

import os
import re
import selectors
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dcu.errors import DcuError, UpdateError
from dcu.platform.bootenv import Slot
from dcu.platform.version import Version

PROGRAM = "swupdate"
STDIN = "/dev/stdin"
SELECTION = "stable"
CONTROL = Path("/run/swupdate/sockinstctrl")
SILENT = 600.0  # seconds without a word, after which it is taken for hung: it writes 100 MB in less
LINGERS = 10.0  # and after its last
_KEPT = 400  # lines of its output, from the end
LONGEST = 1_000  # bytes of a line
_LINE = re.compile(r"\[(?P<level>[A-Z]+) *\] : SWUPDATE \S+ (?:\[\d+\] )?(?:ERROR [^:]*: |: )*(?P<text>.*)")


@dataclass(frozen=True, slots=True)
class _Sign:
    pattern: re.Pattern[str]
    cause: str
    meaning: str


_SIGNS = tuple(
    _Sign(re.compile(pattern), cause, meaning)
    for pattern, cause, meaning in (
        (
            r"instead of sw-description\.sig",
            "signature",
            "it is not signed: take the .swu that the release process signed",
        ),
        (
            r"Signature verification failed|Authentication of all signatures failed|parsed as DER-encoded CMS",
            "signature",
            "its signature does not hold: it was changed after signing, or signed with a key that this device does not "
            "trust",
        ),
        (
            r"No downgrading allowed: new version (?P<new>\S+) <=? installed (?P<old>\S+)",
            "version",
            "version {new} is older than {old}, which was confirmed on this device: to go back on purpose, release the "
            "old software again under a higher version",
        ),
        (
            r"HW compatibility not found|SW not compatible with hardware",
            "hardware",
            "it is for other hardware: compare /etc/hwrevision with the update's hardware-compatibility",
        ),
        (
            r"Delta Update fails|Chunks dowbnloader is not running|Unable to open Source|Unable to read ZCK header",
            "image",
            "the parts that differ could not be fetched, or do not fit what runs here: install the full update",
        ),
        (
            r"HASH mismatch|Checksum WRONG|Required image file (?P<name>\S+) missing|Error reading \d+ bytes",
            "image",
            "a file in it is damaged or missing: copy it again",
        ),
        (
            r"no key or iv provided for decryption",
            "key",
            "it is encrypted, and this device has no key for it: `dcu device update-key FILE` gives it one",
        ),
        (r"CPIO (?:Format|[Hh]eader)", "image", "it is no .swu, or damaged: copy it again"),
        (r"cannot be opened: .*No space|No space left|Error writing|ENOSPC", "image", "no room to unpack it"),
    )
)


def local(
    path: str, target: Slot, oldest: Version, *, configuration: Path, check: bool = False, key: Path | None = None
) -> tuple[str, ...]:
    """The command that installs a file, or what comes by STDIN; check: only looks whether it would."""
    return (*common(target, oldest, configuration, key), *(("-c",) if check else ()), "-i", path)


def common(
    target: Slot, oldest: Version, configuration: Path, key: Path | None = None, *, loud: Sequence[str] = ("-v",)
) -> tuple[str, ...]:
    """What every start of it has: into which bank, how old at most, the key of encrypted images where there is one."""
    selection = f"{SELECTION},{target.value}"
    given = ("-K", str(key)) if key else ()
    return (PROGRAM, *loud, "-f", str(configuration), "-e", selection, "-N", str(oldest), *given)


def install(
    command: Sequence[str],
    tell: Callable[[str], None],
    *,
    scratch: Path | None = None,
    pieces: Iterable[bytes] | None = None,
) -> None:
    """Run SWUpdate to its end, unpacking in `scratch`; `tell` hears each line it says to people. Raises UpdateError.

    pieces: what it reads from its stdin; where they end with an error, that error is raised.
    """
    environment = {**os.environ, "TMPDIR": str(scratch)} if scratch and scratch.is_dir() else None
    said: deque[str] = deque(maxlen=_KEPT)
    broken: list[DcuError] = []
    try:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL if pieces is None else (pipe := os.pipe())[0],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    except OSError as error:
        raise UpdateError(f"{command[0]}: {error.strerror}: is this the device?", "state") from None
    if pieces is not None:
        os.close(pipe[0])
        threading.Thread(target=_feed, args=(pipe[1], pieces, broken), daemon=True).start()
    with process:
        try:
            for line in _lines(process):
                said.append(line)
                if text := spoken(line):
                    tell(text)
            code = process.wait(LINGERS)
        except (TimeoutError, subprocess.TimeoutExpired):
            code = -1
        finally:
            process.kill()
    if broken:
        raise broken[0]
    if code != 0:
        raise refusal(said)


def spoken(line: str) -> str:
    """What a line of SWUpdate says to people, "" for one that is not for them."""
    shown = _LINE.match(line)
    return shown["text"].strip() if shown and shown["level"] in ("INFO", "WARN", "ERROR") else ""


def _feed(pipe: int, pieces: Iterable[bytes], broken: list[DcuError]) -> None:
    """Write `pieces` until they end, break, or are no longer wanted; `broken` has the error before the pipe ends."""
    with suppress(OSError), os.fdopen(pipe, "wb") as file:  # it refused, and reads no more
        try:
            for piece in pieces:
                file.write(piece)
        except DcuError as error:
            broken.append(error)


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[str]:
    """What it says, as it says it. Raises TimeoutError where it says nothing more and does not end.

    Older versions now and then hang after they have refused: from then on they have little time.
    """
    assert process.stdout is not None
    rest, patience = b"", SILENT
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(patience):
                raise TimeoutError
            chunk = os.read(process.stdout.fileno(), 65536)
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:LONGEST]
            for raw in lines:
                if b"SWUPDATE failed [1]" in raw:
                    patience = LINGERS
                yield raw[:LONGEST].decode(errors="replace") + "\n"
            if not chunk:
                return


def busy(control: Path = CONTROL) -> bool:
    """Whether another SWUpdate listens: two would write into each other's banks."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(control))
        except OSError:
            return False
    return True


def refusal(said: Iterable[str]) -> UpdateError:
    """What SWUpdate's words mean, as an error."""
    said = list(said)
    text = "".join(line if line.endswith("\n") else f"{line}\n" for line in said)
    for sign in _SIGNS:
        if found := sign.pattern.search(text):
            return UpdateError(f"the update is refused: {sign.meaning.format(**found.groupdict())}", sign.cause)
    if re.search(r"Number of found artifacts|Installation in progress|filename \S+\n", text):
        return UpdateError(
            "the update is refused: a file in it is damaged, or encrypted under another key than this "
            "device's: copy it again, or compare the keys",
            "image",
        )
    errors = [found["text"] for line in said if (found := _LINE.match(line)) and found["level"] == "ERROR"]
    return UpdateError(f"SWUpdate failed: {errors[0] if errors else 'it did not say why'}", "image")
