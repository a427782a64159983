"""The tags that APDUs begin with, as the standard names them (IEC 62056-5-3, DLMS Green Book 9.5)."""

from collections.abc import Mapping

SERVICES: Mapping[int, str] = {
    0x01: "initiate-request",
    0x05: "read-request",
    0x06: "write-request",
    0x08: "initiate-response",
    0x0C: "read-response",
    0x0D: "write-response",
    0x0E: "confirmed-service-error",
    0x0F: "data-notification",
    0x16: "unconfirmed-write-request",
    0x18: "information-report-request",
    0x21: "glo-initiate-request",
    0x28: "glo-initiate-response",
    0x2E: "glo-confirmed-service-error",
    0x4E: "ded-confirmed-service-error",
    0x60: "aarq",
    0x61: "aare",
    0x62: "rlrq",
    0x63: "rlre",
    0xC0: "get-request",
    0xC1: "set-request",
    0xC2: "event-notification-request",
    0xC3: "action-request",
    0xC4: "get-response",
    0xC5: "set-response",
    0xC7: "action-response",
    0xC8: "glo-get-request",
    0xC9: "glo-set-request",
    0xCA: "glo-event-notification-request",
    0xCB: "glo-action-request",
    0xCC: "glo-get-response",
    0xCD: "glo-set-response",
    0xCF: "glo-action-response",
    0xD0: "ded-get-request",
    0xD1: "ded-set-request",
    0xD2: "ded-event-notification-request",
    0xD3: "ded-action-request",
    0xD4: "ded-get-response",
    0xD5: "ded-set-response",
    0xD7: "ded-action-response",
    0xD8: "exception-response",
    0xD9: "access-request",
    0xDA: "access-response",
    0xDB: "general-glo-ciphering",
    0xDC: "general-ded-ciphering",
    0xDD: "general-ciphering",
    0xDF: "general-signing",
    0xE0: "general-block-transfer",
}

_VARIANTS: Mapping[int, Mapping[int, str]] = {
    0xC1: {
        2: "with-first-datablock",
        3: "with-datablock",
        4: "with-list",
        5: "with-list-and-first-datablock",
    },
    0xC3: {
        2: "next-pblock",
        3: "with-list",
        4: "with-first-pblock",
        5: "with-list-and-first-pblock",
        6: "with-pblock",
    },
    0xC5: {2: "datablock", 3: "last-datablock", 4: "last-datablock-with-list", 5: "with-list"},
    0xC7: {2: "with-pblock", 3: "with-list", 4: "next-pblock"},
}


def service_name(tag: int) -> str:
    """The standard's name of the APDU that begins with `tag`."""
    return SERVICES.get(tag, f"APDU tag {tag:02X}")


def variant_name(tag: int, variant: int) -> str:
    return _VARIANTS.get(tag, {}).get(variant, f"variant {variant}")
