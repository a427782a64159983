"""Who a meter is, made of the street's seed and its number: serial number, system title, and the keys of each client.

Anybody who knows the seed knows the keys: they are of a simulation.
Source: DLMS Green Book (IEC 62056-5-3) 4.3.4 (system title).
"""

from dataclasses import replace
from hashlib import blake2b

from dcu.credentials import KeyPair, MeterKeys, Secret
from dcu.suites import SUITES

FLAG = "GDM"  # three letters of a maker; no maker of the FLAG association's list is meant
LARGEST = 10_000  # meters of one seed: what the serial number has digits for


def serial(seed: int, number: int) -> str:
    """The name by which a meter is known everywhere: maker, seed, number."""
    return f"{FLAG}{seed % 10_000:04d}{number:05d}"


def system_title(seed: int, number: int) -> bytes:
    """8 bytes: the maker's letters and the serial number."""
    return FLAG.encode() + (seed % 10_000 * 100_000 + number).to_bytes(5, "big")


def keys_of(seed: int, number: int, client: int, suite: int = 0, salt: str = "") -> tuple[MeterKeys, MeterKeys]:
    """Keys of a simulation, the client's view and the meter's: anybody who knows the seed knows them."""
    sizes = SUITES[suite]

    def derived(purpose: str, size: int = 16) -> bytes:
        text = f"{seed}/{number}/{client}/{purpose}/{salt}"
        return blake2b(text.encode(), digest_size=size, person=b"street").digest()

    shared = MeterKeys(
        system_title=system_title(seed, number),
        guek=Secret(derived("guek", sizes.key_size)),
        gak=Secret(derived("gak", sizes.key_size)),
        password=Secret(derived("password").hex()[:8].encode()),
        suite=suite,
    )
    if not sizes.width:
        return shared, shared
    (signs, signed), (agrees, agreed) = (
        pairs(suite, *(Secret(derived(f"{who} {use}", sizes.width)) for who in ("client", "meter")))
        for use in ("signing", "agreement")
    )
    return replace(shared, signing=signs, agreement=agrees), replace(shared, signing=signed, agreement=agreed)


def pairs(suite: int, client: Secret, meter: Secret) -> tuple[KeyPair, KeyPair]:
    """What either side holds of two private keys: the client's pair, the meter's."""
    public = SUITES[suite].public
    return KeyPair(client, public(meter)), KeyPair(meter, public(client))
