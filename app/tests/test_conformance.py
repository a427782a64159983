"""docs/conformance.md says what the tests' marks say: no row of a test that is gone, none missing."""

import re
import subprocess
import sys
from pathlib import Path

from .conformance import EVERY_LINK, SECTIONS, Claim, written

APP = Path(__file__).parents[1]
PAGE = APP.parent / "docs" / "conformance.md"


def rows(page):
    """section → first cells of its table."""
    found = {}
    for section in SECTIONS:
        _, _, rest = page.partition(f"\n## {section}\n")
        found[section] = re.findall(r"^\| ([^|]+) \|", rest.partition("\n## ")[0], re.MULTILINE)
    return found


def test_the_page_has_the_rows_that_tests_claim(tmp_path):
    """Collected, not run: so every cell of this one says skipped."""
    path = tmp_path / "page.md"
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "--conformance", str(path), "tests"]
    subprocess.run(command, cwd=APP, check=True, capture_output=True, timeout=110)
    assert rows(path.read_text()) == rows(PAGE.read_text()), "make conformance writes the page anew"


def test_a_cell_says_links_defects_and_failures():
    page = written(
        [
            (Claim("Association", "A", "ours"), "passed"),
            (Claim("Association", "B", "ours", "HDLC"), "passed"),
            (Claim("Association", "B", "ours", "wrapper"), "passed"),
            (Claim("Association", "B", "jDLMS server", "wrapper"), "passed"),
            (Claim("Association", "C", "ours", "wrapper"), "failed"),
            *((Claim("Association", "D", "ours", link), "passed") for link in (*EVERY_LINK, "APDU")),
            (Claim("Association", "C", "jDLMS server", defect="it cannot"), "passed"),
        ]
    )
    assert "| A | APDU |  |" in page
    assert "| B | HDLC, wrapper | wrapper |" in page
    assert "| D | every link |" in page
    assert "| C | failed | ✗ it cannot |" in page
    assert page.endswith("only\n\n- A (Association)\n- C (Association)\n- D (Association)\n")


def test_the_page_holds_no_failure():
    assert not re.search(r"\| (failed|skipped)", PAGE.read_text())
