"""gurux-dlms changes what a meter of the street is secured with (security setup, secrets), and reads its event logs.

Each change is looked at in the meter, and from the next association. Its own defects are named: "(gurux)".
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from gurux_dlms import GXDLMSException
from gurux_dlms.asn import GXx509Certificate
from gurux_dlms.GXDLMSExceptionResponse import GXDLMSExceptionResponse
from gurux_dlms.objects import (
    GXDLMSAssociationLogicalName,
    GXDLMSData,
    GXDLMSProfileGeneric,
    GXDLMSSecuritySetup,
)
from gurux_dlms.objects.enums import CertificateEntity, CertificateType, GlobalKeyType

from dcu import certificates
from dcu.certificates import Purpose
from dcu.cosem.association import Authentication
from dcu.cosem.datetimes import CosemDateTime
from dcu.credentials import Secret
from dcu.errors import PolicyViolated
from dcu.suites import SUITES
from neighbourhood.meter import CONCENTRATOR, Event
from tests.cosem.certificates import issued
from tests.cosem.small_meter import CLIENT_TITLE
from tests.cosem.suite_keys import MASTER

from .gurux_client import RULE, House, register, relay

NEW = Secret(b"another secret")
REFUSED = 250  # other-reason
SIGNATURE, SERVER = CertificateType.DIGITAL_SIGNATURE, CertificateEntity.SERVER


def claim(row, **more):
    return pytest.mark.conforms("Object", row, peer="gurux-dlms client", link="wrapper", **more)


def mastered(suite):
    """A house whose meter has a master key, and that key."""
    master = MASTER[max(suite, 1)]

    def prepare(meter):
        meter.rekey(CONCENTRATOR, replace(meter.keys(CONCENTRATOR), master=master))

    return House(Authentication.GMAC, suite=suite, prepare=prepare), master


def imported(house):
    return house.meter.registers(house.now).active_import


# --- security setup


@claim("security setup: security activate")
@pytest.mark.parametrize("suite", [1, 2])
def test_gurux_reads_the_setup_and_strengthens_the_policy(suite):
    house, setup = House(Authentication.GMAC, suite=suite), GXDLMSSecuritySetup()
    house.read(setup, 2, 3, 4, 5, 6)
    titles = bytes(setup.clientSystemTitle), bytes(setup.serverSystemTitle)
    assert titles == (CLIENT_TITLE, house.meter.system_title)
    assert (setup.securityPolicy, setup.securitySuite, setup.certificates) == (0x6C, suite, [])
    assert house.ask(setup.activate(house.client, 0xFC)).error == 0
    assert house.meter.policy == 0xFC
    assert house.ask(setup.activate(house.client, 0x6C)).error == REFUSED
    assert house.value(setup, 2) == 0xFC
    with pytest.raises(GXDLMSExceptionResponse):  # from the next one on, everything is signed, which it cannot
        house.open()
    assert house.fleet.counts.refused == {PolicyViolated.__name__: 1}


@claim("security setup: key transfer")
@pytest.mark.parametrize("suite", [0, 1])
def test_keys_that_gurux_transferred_open_the_next_association_and_the_old_ones_do_not(suite):
    house, master = mastered(suite)
    guek, gak, next_master = (SUITES[suite].new_key() for _ in range(3))
    brought = [
        (GlobalKeyType.UNICAST_ENCRYPTION, guek.reveal()),
        (GlobalKeyType.AUTHENTICATION, gak.reveal()),
        (GlobalKeyType.KEK, next_master.reveal()),
    ]
    setup = GXDLMSSecuritySetup()
    assert house.ask(setup.globalKeyTransfer(house.client, master.reveal(), brought)).error == 0
    held = house.meter.keys(CONCENTRATOR)
    assert (held.guek, held.gak, held.master) == (guek, gak, next_master)
    assert house.value(register()) == imported(house)  # the association that stands goes on
    with pytest.raises(GXDLMSException, match="Authentication failure"):
        house.open()
    house.open(replace(house.meter.shipped_keys(), guek=guek, gak=gak))
    assert house.value(register()) == imported(house)
    stale = setup.globalKeyTransfer(house.client, master.reveal(), brought[:1])
    assert house.ask(stale).error == REFUSED  # under the master key that was replaced


@claim("security setup: key transfer", defect="it wraps nothing under a master key of 32 bytes (suite 2)")
def test_gurux_wraps_no_keys_of_suite_2():
    house, master = mastered(2)
    brought = [(GlobalKeyType.UNICAST_ENCRYPTION, bytes(32))]
    with pytest.raises(ValueError, match="Key Encrypting Key"):
        GXDLMSSecuritySetup().globalKeyTransfer(house.client, master.reveal(), brought)


@claim("security setup: key agreement C(2e,0s)", defect="its key agreement sends no key: it trips over its own list")
def test_gurux_agrees_on_no_key():
    house = House(Authentication.GMAC, suite=1)
    pair = SimpleNamespace(public=b"", private=b"")
    house.client.ciphering.ephemeralKeyPair = house.client.ciphering.signingKeyPair = pair
    with pytest.raises(AttributeError, match="getKey"):
        GXDLMSSecuritySetup().keyAgreement(house.client, GlobalKeyType.UNICAST_ENCRYPTION)


@claim("security setup: certificates")
@pytest.mark.parametrize("suite", [1, 2])
def test_gurux_has_a_new_key_pair_of_the_meter_certified(suite):
    house, setup = House(Authentication.GMAC, suite=suite), GXDLMSSecuritySetup()
    assert house.ask(setup.generateKeyPair(house.client, SIGNATURE)).error == 0
    request = bytes(house.ask(setup.generateCertificate(house.client, SIGNATURE)).value)
    title, kind, public = certificates.parse_request(request)
    assert (title, kind.number) == (house.meter.system_title, suite)
    certificate = issued(title, kind, public, Purpose.SIGNING)
    brought = SimpleNamespace(encoded=certificate)
    assert house.ask(setup.importCertificate(house.client, brought)).error == 0
    private = house.meter.keys(CONCENTRATOR).signing.private
    assert SUITES[suite].public(private) == public
    exported = house.ask(setup.exportCertificateByEntity(house.client, SERVER, SIGNATURE, title))
    assert bytes(exported.value) == certificate
    house.value(setup, 6)
    (line,) = setup.certificates
    assert (line.entity, line.type_, bytes(line.serialNumber)) == (SERVER, SIGNATURE, b"\x07")
    assert bytes(line.subject) == title.hex().upper().encode()
    assert house.ask(setup.removeCertificateByEntity(house.client, SERVER, SIGNATURE, title)).error == 0
    assert house.meter.certificates == {}


@claim("security setup: certificates", defect="it reads no certificate whose key usage is critical")
def test_gurux_reads_no_certificate_whose_key_usage_is_critical():
    """(gurux) RFC 5280 has it critical, and so has DLMS: the Boolean in front of it is taken for the usage."""
    suite = SUITES[1]
    certificate = issued(CLIENT_TITLE, suite, suite.public(suite.new_private()), Purpose.SIGNING)
    with pytest.raises(TypeError, match="'bool' object is not subscriptable"):
        GXx509Certificate(certificate)


# --- secrets


@claim("association: secret")
@pytest.mark.parametrize("kind", [Authentication.LOW, Authentication.MD5, Authentication.SHA256])
def test_a_secret_that_gurux_changed_opens_the_next_association_and_the_old_one_does_not(kind):
    """A password is written, a secret of HLS is given to a method."""
    house, association = House(kind, ciphered=True), GXDLMSAssociationLogicalName()
    house.value(association, 6)  # how it authenticates: by this gurux chooses
    association.secret = NEW.reveal()
    assert house.ask(association.updateSecret(house.client)).error == 0
    assert house.meter.keys(CONCENTRATOR).password == NEW
    assert house.value(register()) == imported(house)  # the association that stands goes on
    with pytest.raises(Exception, match=r"Authentication failure|Server to Client do not match"):
        house.open()
    house.open(replace(house.meter.shipped_keys(), password=NEW))
    assert house.value(register()) == imported(house)


# --- event logs


@claim("event logs")
def test_gurux_reads_the_event_logs():
    house = House()
    house.ask(relay().remoteDisconnect(house.client))
    switched = house.meter.shown()
    house.now += 100
    house.meter.record(Event.REPLAY)
    for number, code, at in ((1, Event.REPLAY, house.meter.shown()), (2, Event.REMOTE_DISCONNECTION, switched)):
        log = house.read(GXDLMSProfileGeneric(f"0.0.99.98.{number}.255"), 3, 7)
        captured = [(str(item.logicalName), column.attributeIndex) for item, column in log.captureObjects]
        assert captured == [("0.0.1.0.0.255", 2), (f"0.0.96.11.{number}.255", 2)]
        ((clock, told),) = house.ask(house.client.read(log, 2)).value
        assert (int(CosemDateTime.parse(bytes(clock)).utc(RULE).timestamp()), told) == (at, code)
        assert log.entriesInUse == 1
        assert house.value(GXDLMSData(f"0.0.96.11.{number}.255")) == code
