"""The hawkBit client: its configuration, what it hears of the server, and what it tells the server by itself."""

import json
import re
import stat

import pytest
from device.webserver import Authority, WebServer
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import ConfigError
from dcu.platform import hawkbit, swuconfig
from dcu.platform.bootenv import Environment, Slot, UpdateState
from dcu.platform.hawkbit import Contact, Heard, Server
from dcu.platform.update import Phase, Status
from dcu.platform.version import Version

SERVER = Server(url="https://updates.example", target_token="t0ken")


def test_a_server_is_loaded_with_its_defaults(tmp_path):
    (tmp_path / "hawkbit.toml").write_text('url = "https://updates.example"\ntarget_token = "t0ken"\n')
    assert hawkbit.load(tmp_path / "hawkbit.toml") == SERVER


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('url = "http://updates.example"', "key url: https"),
        ('url = "https://u@updates.example"', "key url: https"),
        ('url = "https://x"\npoll = 1', "key poll: 10..86400"),
        ('url = "https://x"\nid = "a\\nb"', "key id: printable"),
        ('url = "https://x"\nurls = 1', "urls"),
        ('url = "https://x"\nca = "/nowhere"', "key ca: /nowhere: no such file"),
        ('url = "https://x"\ngateway_token = "y"', "key target_token: this device's token, or gateway_token, and not"),
        (f'url = "https://x/{"y" * 130}"', "key url: at most 127"),
        ("", "url"),
    ],
)
def test_a_mistake_names_its_key(tmp_path, text, complaint):
    (tmp_path / "hawkbit.toml").write_text(f'{text}\ntarget_token = "t"')
    with pytest.raises(ConfigError, match=complaint):
        hawkbit.load(tmp_path / "hawkbit.toml")


def test_a_token_is_needed(tmp_path):
    (tmp_path / "hawkbit.toml").write_text('url = "https://x"')
    with pytest.raises(ConfigError, match="key target_token"):
        hawkbit.load(tmp_path / "hawkbit.toml")


def test_the_sections_are_what_swupdate_reads(tmp_path):
    suricatta, delta, identify = hawkbit.sections(SERVER, "DCU-1", {"bank": "a"}, tmp_path / "ca.pem")
    channel = f'\tnocheckcert = false;\n\tretry = 5;\n\tretrywait = "10";\n\tcafile = "{tmp_path}/ca.pem";\n'
    assert suricatta == (
        'suricatta:\n{\n\turl = "https://updates.example";\n\ttenant = "DEFAULT";\n\tid = "DCU-1";\n'
        f'\ttargettoken = "t0ken";\n\tpolldelay = 300;\n\tconnection-timeout = 30;\n{channel}}};\n'
    )
    assert delta == f"delta:\n{{\n{channel}}};\n"
    assert identify == 'identify:\n(\n\t{ name = "bank"; value = "a"; }\n);\n'


def test_canary_every_section_says_that_certificates_are_checked():
    """SWUpdate checks none where it is not told to (corelib/server_utils.c of 2026.05)."""
    for text in hawkbit.sections(SERVER, "1", {}, None)[:2]:
        assert "nocheckcert = false;" in text


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20))
def test_no_value_ends_its_quotes(value):
    text = swuconfig.section("x", {"tenant": value})
    inner = text.removeprefix('x:\n{\n\ttenant = "').removesuffix('";\n};\n')
    assert re.sub(r"\\(.)", r"\1", inner) == value
    assert '"' not in re.sub(r"\\.", "", inner)


def test_a_value_that_swupdate_would_cut_is_refused():
    with pytest.raises(ConfigError, match="key cafile: 128 characters"):
        swuconfig.section("x", {"cafile": "c" * 128})


def test_the_merged_file_is_for_its_owner_and_no_token_on_the_command_line(tmp_path):
    base, merged = tmp_path / "swupdate.cfg", tmp_path / "run" / "hawkbit.cfg"
    base.write_text("globals: {};\n")
    for _ in range(2):
        swuconfig.write(hawkbit.sections(SERVER, "DCU-1", {}, None), merged, base=base)
    assert merged.stat().st_mode & 0o777 == 0o600
    assert merged.read_text().startswith("globals: {};\n\nsuricatta:")
    command = hawkbit.command(Slot.B, Version.parse("1.2"), merged)
    assert "t0ken" not in " ".join(command)
    assert command[:8] == ("swupdate", "-l", "4", "-f", str(merged), "-e", "stable,b", "-N")


# What SWUpdate 2026.05 says (suricatta/server_hawkbit.c, corelib/channel_curl.c)
POLLED = "[TRACE] : SWUPDATE running :  [server_get_deployment_info] : No pending action on server."
DENIED = (
    "[ERROR] : SWUPDATE failed [0] ERROR channel_curl.c : channel_log_reply : 983 : "
    "Channel operation returned HTTP error code 401."
)
AWAY = (
    "[ERROR] : SWUPDATE failed [0] ERROR channel_curl.c : channel_get : 1581 : "
    "Channel get operation failed (7): 'Could not connect to server'"
)
FOREIGN = AWAY.replace(
    "(7): 'Could not connect to server'", "(60): 'SSL peer certificate or SSH remote key was not OK'"
)


def followed(tmp_path, *lines):
    program = tmp_path / "swupdate"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\nexit 3\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    told = []
    assert hawkbit.follow(SERVER, (str(program),), told.append, tmp_path / "server.json") == 3
    return hawkbit.kept(tmp_path / "server.json"), told


@pytest.mark.parametrize(
    ("lines", "contact", "why"),
    [
        ([POLLED], Contact.HEARD, ""),
        ([POLLED, DENIED], Contact.REFUSED, "refuses the token: compare hawkbit.toml"),
        ([DENIED.replace("401", "404")], Contact.REFUSED, "does not know the tenant"),
        ([DENIED.replace("401", "503")], Contact.SILENT, "says 503"),
        ([AWAY], Contact.SILENT, "cannot be reached (Could not connect"),
        ([FOREIGN], Contact.REFUSED, "certificate is not trusted"),
        ([POLLED, AWAY.replace("(7)", "(23)")], Contact.HEARD, ""),
        ([AWAY, FOREIGN, DENIED, POLLED], Contact.HEARD, ""),
    ],
)
def test_how_the_server_is_met_is_kept(tmp_path, lines, contact, why):
    seen, told = followed(tmp_path, *lines)
    assert (seen.url, seen.contact) == (SERVER.url, contact)
    assert why in seen.why
    assert f"{SERVER.url}: {seen.why or 'answers'}" in told


def test_the_same_news_is_told_once_and_debug_is_not(tmp_path):
    _, told = followed(tmp_path, POLLED, POLLED, POLLED)
    assert told == [f"{SERVER.url}: answers"]


def test_what_was_heard_before_is_forgotten(tmp_path):
    followed(tmp_path, DENIED)
    seen, _ = followed(tmp_path, "[TRACE] : SWUPDATE running :  [main] : nothing of the server")
    assert seen is None


def test_nobody_followed_is_none(tmp_path):
    assert hawkbit.kept(tmp_path / "server.json") is None
    (tmp_path / "server.json").write_text('{"url": 1}')
    assert hawkbit.kept(tmp_path / "server.json") is None


def status(why="bootlimit", state=UpdateState.FAILED):
    version = Version.parse("1.0")
    environment = Environment(Slot.A, update_state=state, rollback_reason=why)
    return Status(Phase.ROLLED_BACK, Slot.A, version, version, environment, "")


def test_only_a_bank_that_gave_way_and_was_not_reported_is_news():
    assert hawkbit.outcome(status()) == "bank b gave way to a: bootlimit"
    assert not hawkbit.outcome(status(why=""))
    assert not hawkbit.outcome(status(state=UpdateState.OK))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def ddi(authority):
    """A server that waits to hear of action 7; .told is what it heard."""
    with WebServer(authority) as running:
        running.told = []

        def known(_, __, headers):
            if headers["Authorization"] != "TargetToken t0ken":
                return 401, b"", {}
            link = {"deploymentBase": {"href": running.url("/DEFAULT/controller/v1/DCU-1/deploymentBase/7?c=1")}}
            return 200, json.dumps({"_links": link}).encode(), {}

        def feedback(found, body, _):
            running.told.append((found[1], json.loads(body)))
            return 200, b"", {}

        running.site.routes += [
            ("GET", "/DEFAULT/controller/v1/DCU-1", known),
            ("POST", r"/DEFAULT/controller/v1/DCU-1/deploymentBase/(\d+)/feedback", feedback),
        ]
        yield running


def tell(ddi, authority, tmp_path, token="t0ken"):
    server = Server(url=ddi.url(""), target_token=token)
    told = []
    hawkbit.tell_why(server, "DCU-1", "bank b gave way", authority.pem, told.append, tmp_path / "server.json")
    return told


def test_the_server_hears_why_in_the_action_it_waits_for(ddi, authority, tmp_path):
    told = tell(ddi, authority, tmp_path)
    [(action, heard)] = ddi.told
    assert action == "7"
    assert heard["status"] == {
        "execution": "proceeding",
        "result": {"finished": "none"},
        "details": ["bank b gave way"],
    }
    assert told == [f"{ddi.url('')}: told: bank b gave way"]


def test_a_server_that_waits_for_nothing_is_told_nothing(ddi, authority, tmp_path):
    ddi.site.routes[0] = (*ddi.site.routes[0][:2], lambda *_: (200, b"{}", {}))
    assert tell(ddi, authority, tmp_path) == []
    assert not ddi.told


def test_it_is_told_as_soon_as_the_server_can_be_reached(ddi, authority, tmp_path, monkeypatch):
    monkeypatch.setattr(hawkbit, "AGAIN", 0.0)
    first, *rest = ddi.site.routes
    answers = iter([503, 503])

    def away(*given):
        return (code, b"", {}) if (code := next(answers, 0)) else first[2](*given)

    ddi.site.routes[:] = [(*first[:2], away), *rest]
    told = tell(ddi, authority, tmp_path)
    assert "it says 503" in told[0]
    assert len(told) == 2  # the same trouble is told once
    assert ddi.told


def test_a_wrong_token_is_kept_for_the_status(ddi, authority, tmp_path, monkeypatch):
    class Enough(Exception):
        pass

    def enough(_):
        raise Enough

    monkeypatch.setattr(hawkbit.time, "sleep", enough)
    with pytest.raises(Enough):
        tell(ddi, authority, tmp_path, token="wrong")
    seen = hawkbit.kept(tmp_path / "server.json")
    assert isinstance(seen, Heard)
    assert seen.contact is Contact.REFUSED
    assert "refuses the token" in seen.why


def test_what_is_no_hawkbit_server_is_left_to_swupdate(ddi, authority, tmp_path):
    ddi.site.routes[:] = [("GET", ".*", lambda *_: (200, b"<html>", {}))]
    assert "no JSON" in tell(ddi, authority, tmp_path)[0]
