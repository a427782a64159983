"""`dcu security` against a simulated meter: keys that change and are never lost, certificates, a policy that grows."""

import datetime

import pytest

from dcu import certificates
from dcu.certificates import Purpose
from dcu.cli import security
from dcu.cosem.association import Authentication
from dcu.cosem.security_setup import SecuritySetup
from dcu.errors import LinkTimeout
from dcu.keys import keysfile
from dcu.suites import SUITES
from neighbourhood.running import CLIENT_TITLE
from tests.cli.house import ONE
from tests.cli.street import NAME
from tests.cosem.certificates import authority, issued


@pytest.fixture(params=[0, 1, 2], ids=["suite 0", "suite 1", "suite 2"])
def any_suite(street, request):
    return made(street, request.param)


@pytest.fixture(params=[1, 2], ids=["suite 1", "suite 2"])
def curved(street, request):
    return made(street, request.param)


def made(street, suite):
    kind = Authentication.ECDSA if suite else Authentication.GMAC
    here = street(authentication=kind, suite=suite)
    here.how = kind.name.lower()
    here.number = suite
    return here


def options(here, keys=None):
    found = here.options(auth=here.how)
    return [*found[:-1], str(keys or here.keys)]


def opens(dcu, here, keys):
    return dcu("read", *options(here, keys), NAME).code == 0


# --- keys


def test_transferred_keys_are_in_the_new_file_and_open_the_meter(dcu, any_suite, tmp_path):
    new = tmp_path / "new.toml"
    done = dcu("security", "transfer", "--into", new, *options(any_suite))
    assert (done.code, done.out) == (0, f"the meter has its new keys, and answered by them: {new}\n")
    assert new.stat().st_mode & 0o777 == 0o600
    before, after = keysfile.load(any_suite.keys), keysfile.load(new)
    assert before.guek != after.guek
    assert before.gak != after.gak
    assert (before.master, before.password, before.signing) == (after.master, after.password, after.signing)
    assert opens(dcu, any_suite, new)
    assert not opens(dcu, any_suite, any_suite.keys)


def test_one_key_is_changed_where_one_is_named(dcu, street, tmp_path):
    here, new = made(street, 0), tmp_path / "new.toml"
    assert dcu("security", "transfer", "--key", "gak", "--into", new, *options(here)).code == 0
    assert keysfile.load(here.keys).guek == keysfile.load(new).guek
    assert opens(dcu, here, new)
    again = tmp_path / "again.toml"
    done = dcu("security", "transfer", "--key", "master", "--into", again, *options(here, new))
    assert done.code == 0
    assert "none of these keys is in an answer" in done.err
    assert dcu("security", "transfer", "--into", tmp_path / "last.toml", *options(here, again)).code == 0


@pytest.mark.parametrize("arrives", [True, False], ids=["the answer is lost", "the request is lost"])
def test_what_became_of_keys_that_nobody_answered_for_is_found_out(dcu, street, tmp_path, monkeypatch, arrives):
    """The new keys are on the disk before they are sent: whichever the meter has, a file has them."""
    here, new = made(street, 0), tmp_path / "new.toml"

    def lost(self, keys):
        if arrives:
            yield from original(self, keys)
        raise LinkTimeout("no answer")
        yield b""

    original = SecuritySetup.transfer
    monkeypatch.setattr(SecuritySetup, "transfer", lost)
    done = dcu("security", "transfer", "--into", new, *options(here))
    if arrives:
        assert (done.code, opens(dcu, here, new)) == (0, True)
    else:
        assert done.code == 9
        assert "the meter has its old keys (" in done.err
        assert f"{here.keys} opens it; delete {new}" in done.err
        assert opens(dcu, here, here.keys)


def test_agreed_keys_open_the_meter(dcu, curved, tmp_path):
    new = tmp_path / "new.toml"
    assert dcu("security", "agree", "--into", new, *options(curved)).code == 0
    assert keysfile.load(new).guek != keysfile.load(curved.keys).guek
    assert opens(dcu, curved, new)
    assert not opens(dcu, curved, curved.keys)


@pytest.mark.parametrize("arrives", [True, False], ids=["the answer is lost", "the request is lost"])
def test_an_agreement_that_nobody_answered_is_told_as_what_it_is(dcu, street, tmp_path, monkeypatch, arrives):
    here, new = made(street, 1), tmp_path / "new.toml"

    def lost(self, wanted):
        if arrives:
            yield from original(self, wanted)
        raise LinkTimeout("no answer")
        yield b""

    original = SecuritySetup.agree
    monkeypatch.setattr(SecuritySetup, "agree", lost)
    done = dcu("security", "agree", "--key", "guek", "--into", new, *options(here))
    assert (done.code, new.exists(), opens(dcu, here, here.keys)) == (9, False, not arrives)
    assert ("whether the meter has new keys is unknown" if arrives else "the meter has its old keys") in done.err


def test_an_agreement_that_could_not_begin_says_why(dcu, tmp_path, street):
    here, new = made(street, 1), tmp_path / "new.toml"
    away = ["127.0.0.1:9" if each == here.at() else each for each in options(here)]
    done = dcu("security", "agree", "--into", new, *away)
    assert (done.code, new.exists()) == (5, False)


def test_where_no_keys_were_agreed_there_is_no_file(dcu, street, tmp_path):
    new = tmp_path / "new.toml"
    done = dcu("security", "agree", "--into", new, *options(made(street, 0)))
    assert (done.code, new.exists()) == (3, False)
    assert "key agreement needs signing keys" in done.err


@pytest.mark.parametrize("command", ["transfer", "agree"])
def test_a_file_that_is_there_is_not_written_over(dcu, street, command):
    here = made(street, 1)
    before = here.keys.read_text()
    done = dcu("security", command, "--into", here.keys, *options(here))
    assert (done.code, here.keys.read_text()) == (3, before)
    assert "exists: name another file" in done.err
    assert opens(dcu, here, here.keys)


# --- certificates


def authorised(tmp_path, number):
    path = tmp_path / "authority.der"
    path.write_bytes(certificates.der(authority(SUITES[number])))
    return path


def test_a_meters_new_certificate_is_requested_imported_and_exported(dcu, curved, tmp_path):
    csr, own, out = (tmp_path / name for name in ("meter.csr", "meter.der", "out.der"))
    assert dcu("security", "request", "--use", "signing", csr, *options(curved)).code == 0
    again = dcu("security", "request", "--use", "signing", csr, *options(curved))
    assert (again.code, "exists: name another file" in again.err) == (3, True)  # and the meter keeps that pair
    title, suite, public = certificates.parse_request(csr.read_bytes())
    assert (title, suite.number) == (curved.meter.given.system_title, curved.number)
    own.write_bytes(issued(title, suite, public, Purpose.SIGNING))
    trusted = ("--issuer", authorised(tmp_path, curved.number))
    done = dcu("security", "import", *trusted, own, *options(curved))
    assert done.code == 0
    assert (
        done.err == f"the meter goes by that pair now: {curved.keys} needs it as meter_signing, in hexadecimal digits\n"
    )
    new = tmp_path / "new.toml"
    lines = [line for line in curved.keys.read_text().splitlines() if not line.startswith("meter_signing ")]
    new.write_text("\n".join([*lines, f'meter_signing = "{own.read_bytes().hex()}"', ""]))
    new.chmod(0o600)
    assert not opens(dcu, curved, curved.keys)  # it signs with its new key
    assert dcu("security", "export", "--use", "signing", *trusted, out, *options(curved, new)).code == 0
    assert out.read_bytes() == own.read_bytes()
    shown = dcu("security", "show", *options(curved, new), "--json").json
    assert [(each["of"], each["use"]) for each in shown["certificates"]] == [("server", "signing")]
    assert shown["suite"] == curved.number
    assert "signing" in dcu("security", "show", *options(curved, new)).out
    assert dcu("security", "remove", "--use", "signing", "--of", "server", *options(curved, new)).code == 0
    assert dcu("security", "export", "--use", "signing", tmp_path / "no.der", *options(curved, new)).code == 6


class Later(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2050, 1, 1, tzinfo=tz)


@pytest.mark.parametrize("what", ["another issuer", "out of its time", "another suite"])
def test_a_certificate_that_is_not_to_be_trusted_is_not_imported(dcu, street, tmp_path, monkeypatch, what):
    here, path = made(street, 1), tmp_path / "certificate.der"
    suite = SUITES[2 if what == "another suite" else 1]
    path.write_bytes(issued(b"DCU\0\0\0\0\1", suite, suite.public(suite.new_private()), Purpose.SIGNING))
    issuer = authorised(tmp_path, 2 if what == "another issuer" else suite.number)
    if what == "out of its time":
        monkeypatch.setattr(security, "datetime", Later)
    done = dcu("security", "import", "--issuer", issuer, path, *options(here))
    assert done.code == 7
    assert here.meter.certificates == {}


def test_canary_a_certificate_whose_issuer_is_not_looked_at_is_imported_and_that_is_said(dcu, street, tmp_path):
    here, path = made(street, 1), tmp_path / "certificate.der"
    suite = SUITES[1]
    path.write_bytes(issued(b"DCU\0\0\0\0\1", suite, suite.public(suite.new_private()), Purpose.SIGNING))
    done = dcu("security", "import", path, *options(here))
    assert (done.code, done.err) == (0, "who issued it was not looked at (--issuer)\n")
    assert len(here.meter.certificates) == 1


def test_an_exported_certificate_of_another_issuer_is_not_written(dcu, street, tmp_path):
    here, out = made(street, 1), tmp_path / "out.der"
    title, suite = keysfile.load(here.keys).client_title, SUITES[1]
    path = tmp_path / "certificate.der"
    private = keysfile.load(here.keys).signing.private
    path.write_bytes(issued(title, suite, suite.public(private), Purpose.SIGNING))
    assert dcu("security", "import", path, *options(here)).code == 0
    other = authorised(tmp_path, 2)
    done = dcu("security", "export", "--use", "signing", "--of", "client", "--issuer", other, out, *options(here))
    assert (done.code, out.exists()) == (7, False)
    assert dcu("security", "export", "--use", "signing", "--of", "client", out, *options(here)).code == 0


# --- policy, and mistakes


def test_a_policy_grows_and_the_meter_asks_for_it(dcu, street, tmp_path):
    here = made(street, 1)
    assert dcu("security", "activate", "--signed", *options(here)).code == 0
    assert not opens(dcu, here, here.keys)
    family = tmp_path / "signed.toml"
    family.write_text('name = "signed"\n[security]\nauthentication = "ecdsa"\nsigned = true\n')
    where = ("--tcp", here.at(), "--family", family, "--keys", here.keys)
    assert dcu("read", *where, NAME).code == 0
    shown = dcu("security", "show", *where).out
    assert "answers authenticated and encrypted, signed; client " in shown
    assert f"{CLIENT_TITLE.hex()}, meter " in shown
    assert shown.endswith("no certificates\n")
    less = dcu("security", "activate", "--request", "none", "--signed", *where)
    assert less.code == 7
    assert "strengthened, never weakened" in less.err


@pytest.mark.parametrize("arguments", [("show",), ("activate",), ("transfer", "--into", "x.toml")])
def test_without_ciphering_nothing_is_asked(dcu, street, arguments):
    here = street(authentication=Authentication.LOW)
    done = dcu("security", *arguments, *here.options(auth="low"))
    assert done.code == 3
    assert "in an association that ciphers" in done.err


def test_a_meter_of_the_collector_keeps_the_keys_that_the_collector_has(run, house):
    done = run("security", "show", "--meter", ONE)
    assert done.code == 3
    assert "change its keys over a link of your own, and import them then" in done.err
