"""`dcu security`: a meter's security setup (class 64) over a link of the command's own: policy, keys, certificates.

New keys are on the disk before the meter hears of them, in a keys file of their own, so that whatever is cut off one of
the two files opens the meter. Which one, the command finds out: it associates once more. Keys that are agreed are known
only with the meter's answer; so the new file then stands once it has come.
"""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from dcu import certificates, durable
from dcu.certificates import Certificate, Purpose
from dcu.cli import output
from dcu.cli.access import open_access
from dcu.cli.collector import FILE
from dcu.cli.linked import Linked
from dcu.cli.options import meter_options
from dcu.collect.associations import PROTECTION
from dcu.cosem import axdr
from dcu.cosem.exchange import Exchange
from dcu.cosem.security import Policy
from dcu.cosem.security_setup import CLASS, CURRENT, Entity, KeyId, SecuritySetup, decode_certificates, policy_of
from dcu.credentials import MeterKeys, Secret
from dcu.errors import AuthenticationFailed, ConfigError, DcuError, DecodeError, JobError, LinkError
from dcu.model import AttributeRef
from dcu.suites import SUITES

KEYS = {
    "guek": KeyId.UNICAST,
    "gak": KeyId.AUTHENTICATION,
    "master": KeyId.MASTER,
    "broadcast": KeyId.BROADCAST,
}
_NAMES = {which: name for name, which in KEYS.items()}  # in MeterKeys, too
_IN_FILE = _NAMES | {KeyId.MASTER: "master_key", KeyId.BROADCAST: "broadcast_key"}
_SEEN = frozenset((KeyId.UNICAST, KeyId.AUTHENTICATION))  # whether the meter has them, an association shows
_PURPOSES = {"signing": Purpose.SIGNING, "agreement": Purpose.AGREEMENT}
_USE = click.option("--use", type=click.Choice(list(_PURPOSES)), required=True, help="What the key is for.")
_ISSUER = click.option("--issuer", type=FILE, help="The authority's certificate (DER), which must have issued it.")
_KEYS = click.option(
    "--key", "wanted", type=click.Choice(list(KEYS)), multiple=True, default=("guek", "gak"), show_default=True,
    help="Which key; may be given again.",
)  # fmt: skip
_INTO = click.option("--into", type=FILE, required=True, help="The keys file to make, with the new keys.")


@click.group()
def security() -> None:
    """See to a meter's security policy, keys and certificates (class 64).

    Over a link of the command's own, in an association that ciphers.
    """


@security.command(short_help="Show policy, suite, titles, certificates.")
@meter_options
@output.json_option
def show(as_json: bool, **where: Any) -> None:
    """Show the policy, the suite, whom the meter takes us for, and its certificates."""
    linked = _open(where)
    policy, suite, client, server, listed = (
        linked.work(lambda meter, number=number: meter.get(AttributeRef(CLASS, CURRENT, number)))  # type: ignore[misc]
        for number in range(2, 7)
    )
    bits = axdr.decode(policy).value
    if not isinstance(bits, int):
        raise DecodeError("the security policy is no number")
    found, signed = policy_of(bits)
    told = {
        "policy": {"request": str(found.request), "response": str(found.response), "signed": signed, "bits": bits},
        "suite": axdr.decode(suite).value,
        "client_title": axdr.decode(client).value,
        "system_title": axdr.decode(server).value,
        "certificates": [
            {
                "of": each.entity.name.lower(),
                "use": "signing" if each.kind == 0 else "agreement",
                "serial": each.serial,
                "issuer": each.issuer.decode("utf-8", "replace"),
                "subject": each.subject.decode("utf-8", "replace"),
            }
            for each in decode_certificates(listed)
        ],
    }
    if as_json:
        output.show_json(told)
        return
    asked = f"requests {found.request}, answers {found.response}{', signed' if signed else ''}"
    ours, theirs = (
        title.hex() if isinstance(title, bytes) else "none" for title in (told["client_title"], told["system_title"])
    )
    click.echo(f"suite {output.text(told['suite'])}; {asked}; client {ours}, meter {theirs}")
    if told["certificates"]:
        output.show_records(told["certificates"], as_json=False)  # type: ignore[arg-type]
    else:
        click.echo("no certificates")


@security.command(short_help="Ask for more protection from now on.")
@click.option("--request", type=click.Choice(list(PROTECTION)), default="authenticated+encrypted", show_default=True)
@click.option("--response", type=click.Choice(list(PROTECTION)), default="authenticated+encrypted", show_default=True)
@click.option("--signed", is_flag=True, help="Requests and answers are signed, too.")
@meter_options
def activate(request: str, response: str, signed: bool, **where: Any) -> None:
    """Have the meter ask for more protection from the next association on; never for less."""
    policy = Policy(PROTECTION[request], PROTECTION[response])
    _call(_open(where), lambda setup: setup.activate(policy, signed=signed))
    click.echo(f"the meter asks for it from the next association on{': --general-signing' if signed else ''}")


@security.command(short_help="Give new keys, wrapped under the master key.")
@_KEYS
@_INTO
@meter_options
def transfer(wanted: tuple[str, ...], into: Path, **where: Any) -> None:
    """Give the meter new keys, wrapped under the master key of --keys; then associate with them.

    The new keys are written --into a keys file first: where the command is cut off, one of the two opens the meter.
    """
    linked = _open(where)
    held, path = _held(linked), _path(where)
    new = {KEYS[name]: SUITES[held.suite].new_key() for name in dict.fromkeys(wanted)}
    if held.master is None:
        raise ConfigError(f"{path}: key master_key is missing: it wraps the new ones")
    _new_file(into, _changed(path, new))
    try:
        why: DcuError | None = None
        _call(linked, lambda setup: setup.transfer(new))
    except DcuError as error:  # the meter may have them all the same
        why = error
    _settled(linked, new, into, path, why)


@security.command(short_help="Agree on new keys, C(2e,0s).")
@_KEYS
@_INTO
@meter_options
def agree(wanted: tuple[str, ...], into: Path, **where: Any) -> None:
    """Agree with the meter on new keys, C(2e,0s), with the signing keys of --keys; then associate with them.

    Both sides make them from fresh key pairs. Where the meter's answer is lost nobody knows its new keys: agree on one
    at a time, and not on the master key, which is what can still change them from another client.
    """
    linked = _open(where)
    path, which = _path(where), [KEYS[name] for name in dict.fromkeys(wanted)]
    size = len(_changed(path, {each: SUITES[_held(linked).suite].new_key() for each in which}))
    with _room(into, size) as fill:
        linked.work(_nothing)
        try:
            new = _call(linked, lambda setup: setup.agree(which))
        except LinkError as error:
            raise _unanswered(linked, which, path, error) from None
        fill(_changed(path, new))
    _settled(linked, new, into, path, None)


# --- certificates


@security.command(short_help="Write a certification request of the meter.")
@_USE
@click.argument("file", type=FILE)
@meter_options
def request(use: str, file: Path, **where: Any) -> None:
    """Have the meter make a key pair, and write its certification request (PKCS #10, DER) to FILE.

    The pair is in use once its certificate was imported.
    """
    linked = _open(where)
    with _room(file, 1024) as fill:  # a new pair would make worthless what is there
        _call(linked, lambda setup: setup.generate_pair(_PURPOSES[use]))
        raw = _call(linked, lambda setup: setup.request_certificate(_PURPOSES[use]))
        fill(raw)
    click.echo(f"{file}: {len(raw)} B, of the meter {_held(linked).system_title.hex()}; it holds the key")


@security.command(name="import", short_help="Give the meter a certificate.")
@_ISSUER
@click.argument("file", type=FILE)
@meter_options
def import_(issuer: Path | None, file: Path, **where: Any) -> None:
    """Give the meter a certificate (DER): its own, or that of a client."""
    found = _certificate(_read(file), file)
    linked = _open(where)
    if found.suite.number != _held(linked).suite:
        raise AuthenticationFailed(f"the certificate is of {found.suite}, the meter's is suite {_held(linked).suite}")
    _trusted(found, issuer)
    _call(linked, lambda setup: setup.import_certificate(found.raw))
    click.echo(f"imported: {found.purpose.value} of {found.title.hex()}, valid until {found.not_after:%Y-%m-%d}")
    if found.title == _held(linked).system_title:
        use = next(name for name, purpose in _PURPOSES.items() if purpose is found.purpose)
        output.note(f"the meter goes by that pair now: {_path(where)} needs it as meter_{use}, in hexadecimal digits")


@security.command(short_help="Write a certificate of the meter's to FILE.")
@_USE
@click.option("--of", "entity", type=click.Choice(["server", "client"]), default="server", show_default=True)
@_ISSUER
@click.argument("file", type=FILE)
@meter_options
def export(use: str, entity: str, issuer: Path | None, file: Path, **where: Any) -> None:
    """Write a certificate of the meter's (DER) to FILE: its own, or the one that it has of us.

    Whose it is, what for, its suite and its time are checked, and with --issuer who issued it.
    """
    linked = _open(where)
    whose = Entity[entity.upper()]
    found = _call(linked, lambda setup: setup.export_certificate(whose, _PURPOSES[use], _title(linked, whose)))
    _trusted(found, issuer)
    _new_file(file, found.raw)
    click.echo(f"{file}: {found.purpose.value} of {found.title.hex()}, issued by {found.issuer}")


@security.command()
@_USE
@click.option("--of", "entity", type=click.Choice(["server", "client"]), required=True)
@meter_options
def remove(use: str, entity: str, **where: Any) -> None:
    """Have the meter forget a certificate."""
    linked = _open(where)
    whose = Entity[entity.upper()]
    _call(linked, lambda setup: setup.remove_certificate(whose, _PURPOSES[use], _title(linked, whose)))
    click.echo("removed")


# --- what they share


def _open(where: dict[str, Any]) -> Linked:
    """Raises ConfigError where the meter is the collector's: the keys that it has would be those of before."""
    access = open_access(**where)
    if not isinstance(access, Linked):
        raise ConfigError("a meter of the collector: change its keys over a link of your own, and import them then")
    if not access.association.ciphered:
        raise ConfigError("a security setup is seen to in an association that ciphers: --auth gmac, --keys FILE")
    return access


def _call(linked: Linked, make: Callable[[SecuritySetup], Exchange[Any]]) -> Any:
    """Raises ConfigError for what the keys or the suite do not allow."""
    try:
        return linked.work(lambda meter: meter.run(lambda session: make(SecuritySetup(session))))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _held(linked: Linked) -> MeterKeys:
    assert linked.association.keys
    return linked.association.keys


def _title(linked: Linked, whose: Entity) -> bytes:
    return _held(linked).system_title if whose is Entity.SERVER else linked.association.client_title


def _path(where: dict[str, Any]) -> Path:
    path: Path = where["keys_path"]
    return path


def _changed(path: Path, new: Mapping[KeyId, Secret]) -> bytes:
    """The keys file of before, with new keys."""
    held = tomllib.loads(path.read_text(encoding="utf-8"))
    held |= {_IN_FILE[which]: key.reveal().hex() for which, key in new.items()}
    lines = (f"{name} = {value if isinstance(value, int) else _quoted(value)}\n" for name, value in held.items())
    return "".join(lines).encode()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\u{ord(each):04X}" for each in escaped) + '"'


def _new_file(path: Path, raw: bytes) -> None:
    try:
        durable.create(path, raw)
    except FileExistsError:
        raise ConfigError(f"{path} exists: name another file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


@contextmanager
def _room(path: Path, size: int) -> Iterator[Callable[[bytes], None]]:
    """A new file with room for `size` bytes, before there is something to write; gone where nothing comes."""
    _new_file(path, b"#" * size)

    def fill(raw: bytes) -> None:
        with path.open("r+b") as file:
            file.write(raw)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    try:
        yield fill
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _unanswered(linked: Linked, which: Sequence[KeyId], path: Path, why: DcuError) -> JobError:
    """What to tell where the meter's answer to a key agreement was lost: it may have keys that nobody knows."""
    if _SEEN.intersection(which):
        linked.begin_anew(after=0.0)
        try:
            linked.work(_nothing)
        except DcuError:
            pass
        else:
            return JobError(f"the meter has its old keys ({why}): {path} opens it")
    return JobError(
        f"whether the meter has new keys is unknown, and nobody knows them ({why}): where {path} no longer opens it, "
        "another client can change them, or the maker"
    )


def _settled(linked: Linked, new: Mapping[KeyId, Secret], into: Path, path: Path, why: DcuError | None) -> None:
    """Find out which keys the meter has. Raises JobError unless it has the new ones."""
    before = linked.association
    after = replace(_held(linked), **{_NAMES[which]: key for which, key in new.items()})  # type: ignore[arg-type]
    try:
        linked.as_another(replace(before, keys=after))
        linked.work(_nothing)
    except DcuError as error:
        why = why or error
        linked.as_another(before)
        try:
            linked.work(_nothing)
        except DcuError:
            raise JobError(
                f"whether the meter has the new keys is unknown ({why}): {into} or {path} opens it"
            ) from None
        raise JobError(f"the meter has its old keys ({why}): {path} opens it; delete {into}") from None
    click.echo(f"the meter has its new keys, and answered by them: {into}")
    if not _SEEN.intersection(new):
        output.note("none of these keys is in an answer: that the meter took them, it says itself")


async def _nothing(_meter: Any) -> None:
    """The association alone: who opens it has the keys."""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _certificate(raw: bytes, path: Path) -> Certificate:
    try:
        return certificates.parse(raw)
    except DecodeError as error:
        raise ConfigError(f"{path}: {error}") from None


def _trusted(found: Certificate, issuer: Path | None) -> None:
    """Raises AuthenticationFailed outside of its time, or where another issued it."""
    found.require_valid(datetime.now(UTC))
    if issuer is None:
        output.note("who issued it was not looked at (--issuer)")
        return
    from cryptography import x509

    try:
        authority = x509.load_der_x509_certificate(_read(issuer))
    except ValueError:
        raise ConfigError(f"{issuer}: no certificate (DER)") from None
    found.require_issuer(authority)
