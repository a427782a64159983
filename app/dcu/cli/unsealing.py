"""Captured frames in general-ciphering and general-signing, opened with what a keys file holds of both parties.

A keys file is the client's: its own private keys, the meter's public ones. Keys that are named, wrapped or agreed from
both sides' static keys open both directions; C(1e,1s) opens for its recipient alone, so what the client sent so stays
closed, unless the meter is a simulated one whose private key is there, too.

Source: DLMS Green Book (IEC 62056-5-3) 9.2.7.2.4 (general-ciphering), 9.2.7.2.5 (general-signing).
"""

from dataclasses import replace

from dcu.cosem import general
from dcu.cosem.security import Framing, Opened, Protection, hex_title
from dcu.credentials import KeyPair, MeterKeys
from dcu.errors import KeysError
from dcu.keys.keysfile import KeysFile
from dcu.suites import SUITES


def unsigned(frame: bytes, keys: KeysFile | None) -> tuple[bytes, str]:
    """What a general-signing APDU signs, and who signed it, verified where the keys are there.

    Raises DecodeError, and AuthenticationFailed for a signature that does not fit.
    """
    signed = general.parse_signed(frame)
    who = f"signed by system title {hex_title(signed.header.originator)}"
    if keys is None or keys.signing is None or not keys.suite:
        return signed.apdu, f"{who}, which was not verified: the keys have no signing_key and meter_signing"
    general.verify(_signers(keys, signed.header.originator), signed)
    return signed.apdu, who


def opened(frame: bytes, keys: KeysFile | None) -> Opened:
    """What a general-ciphering APDU holds. Raises DecodeError, KeysError, ConfigError, SecurityError."""
    ciphered = general.parse(frame)
    header, protection = ciphered.header, ciphered.control.protection
    if keys is None:
        raise KeysError(
            f"general-ciphering, {protection}, from system title {hex_title(header.originator)}, invocation counter "
            f"{ciphered.counter}: give the keys with --keys FILE"
        )
    held = keys.meter_keys()
    try:
        general.check_keys(held, ciphered.framing, signed=False)
    except ValueError as error:
        raise KeysError(f"{keys.path}: {error}") from None
    if ciphered.framing is Framing.ONE_PASS and header.originator == keys.client_title:
        held = _recipients(keys, held)
    plain = general.unprotect(held, ciphered, required=Protection.NONE)
    return Opened(plain, protection, ciphered.counter, header.originator, ciphered.framing, header.transaction)


def _signers(keys: KeysFile, originator: bytes) -> MeterKeys:
    """Keys by which the signature of either party is verified."""
    held = keys.proving_keys()
    assert held.signing
    if originator != keys.client_title:
        return held
    return replace(held, signing=KeyPair(held.signing.private, SUITES[keys.suite].public(held.signing.private)))


def _recipients(keys: KeysFile, held: MeterKeys) -> MeterKeys:
    """A simulated meter's view of what the client sent."""
    private = keys.simulated[1]
    if private is None:
        raise KeysError(
            f"{keys.path}: what the client sends in C(1e,1s) opens with the meter's private agreement key alone: a "
            "simulated meter's stands in meter_agreement_key"
        )
    assert held.agreement
    return replace(_signers(keys, keys.client_title or b""), guek=held.guek, gak=held.gak,
                   agreement=KeyPair(private, held.agreement.peer))  # fmt: skip
