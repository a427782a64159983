"""The health check: each way to be ill is named, and an answer that makes no sense is an illness too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import LinkError, StoreError
from dcu.platform import health

STATUS = {
    "uptime": 100,
    "version": "0.1.0",
    "meters": {"ok": 3, "unreachable": 1},
    "jobs": {"queued": 0, "running": 0, "done": 9, "failed": 1},
    "subsystems": [{"name": "event loop", "alive": True, "quiet": 0.1, "within": 15.0}],
}
WHOLE = {"ok": True, "findings": [{"file": "critical.db", "text": "in use", "serious": False}], "readings": 4}


@pytest.fixture
def watchdogs(tmp_path):
    (tmp_path / "watchdog0").mkdir()
    (tmp_path / "watchdog0" / "state").write_text("active\n")
    return tmp_path


def asked(status=STATUS, report=WHOLE):
    def ask(method):
        answer = {"status": status, "store.check": report}[method]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def test_a_device_that_does_its_work_is_healthy(watchdogs):
    found = health.examine(asked(), watchdogs=watchdogs)
    assert found.ok
    assert found.why == ""
    assert [check.name for check in found.checks] == ["persist", "collector", "store", "links", "watchdog"]


@pytest.mark.parametrize(
    ("status", "report", "why", "reason"),
    [
        pytest.param(LinkError("no collector listens"), WHOLE, "health:collector", "no collector listens", id="dead"),
        pytest.param({**STATUS, "uptime": 3}, WHOLE, "health:collector", "runs for 3 s only", id="restarting"),
        pytest.param(
            {**STATUS, "subsystems": [{"name": "scheduler", "alive": False, "quiet": 700}]},
            WHOLE,
            "health:collector",
            "no progress: scheduler (quiet for 700 s)",
            id="a stuck subsystem",
        ),
        pytest.param(
            STATUS,
            {"ok": False, "findings": [{"file": "readings-1.db", "text": "malformed", "serious": True}]},
            "health:store",
            "readings-1.db: malformed",
            id="damaged store",
        ),
        pytest.param(STATUS, StoreError("disk"), "health:store", "disk", id="store cannot be checked"),
        pytest.param(
            {**STATUS, "meters": {"unreachable": 4}}, WHOLE, "health:links", "none of 4 meters answers", id="no link"
        ),
        pytest.param({"uptime": "x"}, WHOLE, "health:collector", "nonsense", id="nonsense"),
        pytest.param(None, WHOLE, "health:collector", "nonsense", id="nothing"),
    ],
)
def test_each_illness_is_named(watchdogs, status, report, why, reason):
    found = health.examine(asked(status, report), watchdogs=watchdogs)
    assert not found.ok
    assert found.why == why
    assert any(reason in text for text in found.reasons)


def test_a_street_that_nobody_tried_yet_is_no_illness(watchdogs):
    idle = {**STATUS, "meters": {"new": 4}, "jobs": {"queued": 0, "running": 0, "done": 0, "failed": 0}}
    assert health.examine(asked(idle), watchdogs=watchdogs).ok
    nothing_due = {**idle, "jobs": {"queued": 0, "running": 0, "done": 4, "failed": 0}}  # all readings were there
    assert health.examine(asked(nothing_due), watchdogs=watchdogs).ok
    under_way = {**idle, "jobs": {"queued": 3, "running": 1, "done": 0, "failed": 0}}
    assert not health.examine(asked(under_way), watchdogs=watchdogs).ok
    assert health.examine(asked({**STATUS, "meters": {}}), watchdogs=watchdogs).ok


@pytest.mark.parametrize(("state", "reason"), [("inactive", "watchdog0: not armed"), (None, "no hardware watchdog")])
def test_a_watchdog_that_nobody_feeds_is_an_illness(tmp_path, state, reason):
    if state:
        (tmp_path / "watchdog0").mkdir()
        (tmp_path / "watchdog0" / "state").write_text(state)
    found = health.examine(asked(), watchdogs=tmp_path if state else tmp_path / "none")
    assert found.why == "health:watchdog"
    assert reason in found.reasons[0]


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*STATUS, *WHOLE, "name"]), inner),
    max_leaves=12,
)


@given(anything, anything)
def test_whatever_the_collector_answers_the_check_ends_with_a_verdict(status, report):
    found = health.examine(asked(status, report), watchdogs=health.Path("/nowhere"))
    assert not found.ok
    assert all(len(reason) < 300 and "\n" not in reason for reason in found.reasons)
