"""The hawkBit client's configuration: checked, quoted, for its owner only, tokens on no command line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import ConfigError
from dcu.platform import hawkbit
from dcu.platform.bootenv import Slot
from dcu.platform.hawkbit import Server
from dcu.platform.version import Version

SERVER = Server(url="https://updates.example", target_token="t0ken")


def test_a_server_is_loaded_with_its_defaults(tmp_path):
    (tmp_path / "hawkbit.toml").write_text('url = "https://updates.example"\ntarget_token = "t0ken"\n')
    assert hawkbit.load(tmp_path / "hawkbit.toml") == SERVER


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('url = "http://updates.example"', "key url: https"),
        ('url = "https://x"\npoll = 1', "key poll: 10..86400"),
        ('url = "https://x"\nid = "a\\nb"', "key id: printable"),
        ('url = "https://x"\nurls = 1', "urls"),
        ("", "url"),
    ],
)
def test_a_mistake_names_its_key(tmp_path, text, complaint):
    (tmp_path / "hawkbit.toml").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        hawkbit.load(tmp_path / "hawkbit.toml")


def test_the_section_is_what_swupdate_reads():
    assert hawkbit.section(SERVER, "DCU-1") == (
        'suricatta:\n{\n\turl = "https://updates.example";\n\ttenant = "DEFAULT";\n\tid = "DCU-1";\n'
        '\ttargettoken = "t0ken";\n\tpolldelay = 300;\n\tretry = 5;\n\tretrywait = 60;\n};\n'
    )


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20))
def test_no_value_ends_its_quotes(value):
    line = next(
        row for row in hawkbit.section(Server(url="https://x", tenant=value), "1").split("\n") if "tenant" in row
    )
    inner = line.removeprefix('\ttenant = "').removesuffix('";')
    assert re.sub(r"\\(.)", r"\1", inner) == value
    assert '"' not in re.sub(r"\\.", "", inner)


def test_the_merged_file_is_for_its_owner_and_no_token_on_the_command_line(tmp_path):
    base, merged = tmp_path / "swupdate.cfg", tmp_path / "hawkbit.cfg"
    base.write_text("globals: {};\n")
    for _ in range(2):
        hawkbit.merge(SERVER, "DCU-1", base=base, merged=merged)
    assert merged.stat().st_mode & 0o777 == 0o600
    assert merged.read_text().startswith("globals: {};\n\nsuricatta:")
    command = hawkbit.command(Slot.B, Version.parse("1.2"), merged=merged)
    assert "t0ken" not in " ".join(command)
    assert command[:8] == ("swupdate", "-v", "-f", str(merged), "-e", "stable,b", "-N", "1.2")
