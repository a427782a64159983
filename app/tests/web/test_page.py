"""The page as package data: one file that asks nobody, and takes a recording whole."""

import base64
import gzip
import hashlib
import re

import pytest

from dcu.web.page import embed, html


def recording(page: str) -> bytes:
    packed = re.search(r'<script id="recording"[^>]*>([^<]*)</script>', page)
    assert packed
    return gzip.decompress(base64.b64decode(packed[1]))


def test_the_page_loads_nothing_from_anywhere():
    page = html()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*["']""", page)
    assert "default-src 'none'" in page


def test_its_policy_names_the_script_and_the_style_that_are_there():
    page = html()
    for element in ("script", "style"):
        texts = re.findall(rf"<{element}(?: type=\"module\")?>(.*?)</{element}>", page, re.DOTALL)
        assert len(texts) == 1
        assert f"'sha256-{base64.b64encode(hashlib.sha256(texts[0].encode()).digest()).decode()}'" in page


@pytest.mark.parametrize("ndjson", ['{"e":"street"}\n', '{"title":"</script><b>é\\u0000"}\n' * 1000, b"\x00\xff"])
def test_a_recording_comes_out_as_it_went_in(ndjson):
    page = embed(html(), ndjson)
    assert recording(page) == (ndjson if isinstance(ndjson, bytes) else ndjson.encode())
    assert page.count("<script") == html().count("<script")


def test_the_same_recording_gives_the_same_file_and_a_new_one_replaces_it():
    first = embed(html(), "one\n")
    assert embed(html(), "one\n") == first
    assert recording(embed(first, "two\n")) == b"two\n"
    assert embed(embed(first, "two\n"), "one\n") == first


def test_another_html_is_refused():
    with pytest.raises(ValueError, match="not our page"):
        embed("<html></html>", "one\n")
