"""Keys of suites 1 and 2 for tests, of a client and its meter.

P-256: the Green Book's examples (Ed. 8, tables C.1 and C.2), as public sources give them. P-384: a scalar of the Suite
B Implementer's Guide to FIPS 186-3, the others made up. Published or made up: none is secret.
"""

from dcu.credentials import KeyPair, MeterKeys, Secret
from dcu.suites import SUITES

METER_TITLE = bytes.fromhex("4D4D4D0000BC614E")
CLIENT_TITLE = bytes.fromhex("4D4D4D0000000001")


def _secret(text):
    return Secret(bytes.fromhex(text))


PRIVATE = {  # suite → client's signing, meter's signing, client's agreement, meter's agreement
    1: (
        _secret("418073C239FA6125011DE4D6CD2E645780289F761BB21BFB0835CB5585E8B373"),
        _secret("AE55414FFE079F9FC95649536BD1C2B5653D200813727E07D501A8B550C69207"),
        _secret("A51C16FF5C498FCC89323D4A9267CD71BF81FD6F6A891CD240DA7F3D6F283E65"),
        _secret("AAD3FD0732E991CF52A74C66C1F2827DDC53522A2E0A169D7C4FFCC0FB5D6A4D"),
    ),
    2: (
        _secret("c838b85253ef8dc7394fa5808a5183981c7deef5a69ba8f4f2117ffea39cfcd90e95f6cbc854abacab701d50c1f3cf24"),
        Secret(b"made up: the meter's signing key, P-384".ljust(48, b".")),
        Secret(b"made up: the client's agreement key, P-384".ljust(48, b".")),
        Secret(b"made up: the meter's agreement key, P-384".ljust(48, b".")),
    ),
}
PASSWORD = Secret(b"12345678")
MASTER = {1: _secret("00112233445566778899AABBCCDDEEFF"), 2: _secret("00112233445566778899AABBCCDDEEFF" * 2)}


def _key(number, first):
    return Secret(bytes(range(first, first + SUITES[number].key_size)))


def keys(number):
    """What client and meter hold: (the client's, the meter's)."""
    if not number:
        both = MeterKeys(METER_TITLE, _key(0, 0), _key(0, 0xD0), PASSWORD, master=MASTER[1])
        return both, both
    suite = SUITES[number]
    client_signs, meter_signs, client_agrees, meter_agrees = PRIVATE[number]
    shared = (METER_TITLE, _key(number, 0), _key(number, 0xD0), PASSWORD, number)

    def pairs(signing, their_signing, agreement, their_agreement):
        return KeyPair(signing, suite.public(their_signing)), KeyPair(agreement, suite.public(their_agreement))

    return (
        MeterKeys(*shared, *pairs(client_signs, meter_signs, client_agrees, meter_agrees), MASTER[number]),
        MeterKeys(*shared, *pairs(meter_signs, client_signs, meter_agrees, client_agrees), MASTER[number]),
    )
