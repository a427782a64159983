"""An update from a file or a server into the bank that does not run."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from dcu.errors import UpdateError
from dcu.platform import swuconfig, swupdate, updatekey
from dcu.platform.bootenv import Slot
from dcu.platform.fetch import Download, Trust
from dcu.platform.machine import Machine
from dcu.platform.update import Phase

_ANOTHER = ("server", "image")  # causes for which another source of the same update may do


def trust(machine: Machine, authorities: Path | None = None, *, http: bool = False) -> Trust:
    """Whom a server has to be vouched for by: `authorities`, else the utility's own, else the system's."""
    return Trust(authorities or (machine.servers if machine.servers.exists() else None), http)


def install_first(
    machine: Machine, sources: Sequence[str], trusted: Trust, tell: Callable[[str], None], note: Callable[[str], None]
) -> Slot:
    """Install the first of `sources` that can be, say a delta and then the full update; `note` hears why one was not.

    Raises UpdateError.
    """
    for source, following in pairwise(sources):
        try:
            return install(machine, source, trusted, tell)
        except UpdateError as error:
            if error.cause not in _ANOTHER:
                raise
            note(f"{source}: {error}; now {following}")
    return install(machine, sources[-1], trusted, tell)


def install(machine: Machine, source: str, trusted: Trust, tell: Callable[[str], None], *, check: bool = False) -> Slot:
    """Have SWUpdate install `source`, a file or a URL, and return the bank; `tell` hears it. Raises UpdateError.

    check: only looks whether it would be installed.
    """
    updates = machine.updates()
    target, oldest = updates.target()
    if swupdate.busy():
        raise UpdateError(
            "an installation is at work, or dcu-hawkbit.service waits for one: let it end, or stop that service",
            "state",
        )
    delta = swuconfig.section("delta", swuconfig.channel(trusted.authorities))
    configuration = machine.run / "update.cfg"
    swuconfig.write([delta], configuration, base=machine.swupdate)
    command = partial(
        swupdate.local, target=target, oldest=oldest, configuration=configuration, key=(key := updatekey.place(machine))
    )
    if "://" in source:
        with Download(source, trusted, tell) as pieces:
            swupdate.install(command(swupdate.STDIN, check=check), tell, scratch=machine.scratch, pieces=pieces)
    else:
        path = Path(source).absolute()
        if not path.is_file():
            raise UpdateError(f"{source}: no such file", "image")
        if key and not check:  # a wrong key shows when images are decrypted: find it before the other bank is written
            swupdate.install(command(str(path), check=True), tell, scratch=machine.scratch)
        swupdate.install(command(str(path), check=check), tell, scratch=machine.scratch)
    state = updates.status()
    if not check and state.phase is not Phase.INSTALLED:
        raise UpdateError(f"SWUpdate ended well, and yet {state.why}: look into its log", "environment")
    return target
