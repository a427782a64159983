"""An update as a whole: whatever the new software does and whenever power goes, one of the two versions runs."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.errors import DecodeError, UpdateError
from dcu.platform.bootenv import Environment, Slot, UpdateState
from dcu.platform.update import Phase, Updates, confirmation, image_version, phase_of, rollback, running_slot
from dcu.platform.version import Version

from .device import Device, PowerCut, refused, steps_of

OLD, NEW = Version.parse("1.0"), Version.parse("1.1")
BEHAVIOURS = ("healthy", "panics", "unhealthy")


def story(device, behaviour, *, confirm=Updates.confirm, **install):
    """Install version 1.1 and let the device come to rest; return whether the switch was saved."""
    with contextlib.suppress(PowerCut):
        device.install(NEW, behaviour, **install)
    switched = device.variables["slot"] == "b"
    device.come_to_rest(confirm)
    return switched


def judge(device, behaviour, switched):
    """What must hold however it came to rest."""
    version, environment = device.banks[device.running].version, device.read()
    wanted = NEW if switched and behaviour == "healthy" else OLD
    assert version == wanted, f"{version} runs, {wanted} should"
    assert environment.slot is device.running
    assert not environment.upgrade_available
    assert device.index.read() == version, "the rollback index is that of what was confirmed"
    if switched and version == OLD:
        assert environment.rollback_reason, "why it gave way is recorded"
    assert not refused(device), "the next update can be installed"


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_an_update_that_nothing_disturbs(behaviour):
    device = Device()
    judge(device, behaviour, story(device, behaviour))
    reasons = {"healthy": "", "panics": "bootlimit", "unhealthy": "health:store"}
    assert device.read().rollback_reason == reasons[behaviour]


@pytest.mark.parametrize("keeps_cache", [False, True])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_power_may_go_before_any_step(behaviour, keeps_cache):
    steps = steps_of(lambda device: story(device, behaviour))
    assert steps > 10
    for cut in range(steps):
        device = Device(cut=cut, keeps_cache=keeps_cache)
        judge(device, behaviour, story(device, behaviour))


@settings(deadline=None)  # a host at work
@given(st.data())
def test_power_may_go_again_and_again(data):
    device = Device()
    for number in range(1, 4):
        version = Version.parse(f"1.{number}")
        before = device.banks[device.running].version
        behaviour = data.draw(st.sampled_from(BEHAVIOURS))
        cuts = data.draw(st.lists(st.integers(0, 12), max_size=2))
        device.keeps_cache = data.draw(st.booleans())
        device.cut = device.steps + cuts.pop() if cuts else None
        with contextlib.suppress(PowerCut):
            device.install(version, behaviour)
        if cuts:
            device.cut = device.steps + cuts.pop()
        device.come_to_rest()
        after = device.banks[device.running].version
        assert after in (before, version)
        assert after == before or behaviour == "healthy"
        assert device.index.read() == after
        assert not refused(device)
        device.cut = None


def caught(**broken):
    """Whether the exhaustive test above finds what is broken."""
    for behaviour in BEHAVIOURS:
        for cut in range(steps_of(lambda device, how=behaviour: story(device, how))):
            device = Device(cut=cut)
            try:
                judge(device, behaviour, story(device, behaviour, **broken))
            except AssertionError:
                return True
    return False


def test_canary_an_updater_that_switches_before_the_image_is_flushed_is_caught():
    assert caught(flush=False)


def test_canary_an_updater_that_switches_in_two_saves_is_caught():
    assert caught(at_once=False)


def test_canary_a_confirm_that_is_never_saved_is_caught():
    assert caught(confirm=lambda updates: True)


def test_canary_an_index_raised_before_the_confirm_is_caught():
    """Power goes between the two, then the trial fails: the old software runs below the index."""

    def too_early(updates):
        updates._index.raise_to(updates.version)
        return Updates.confirm(updates)

    device = Device()
    device.install(NEW, "healthy")
    device.cut = device.steps + 3  # the trial's boot, and both copies of the index
    with contextlib.suppress(PowerCut):
        device.boot()
        device.live(too_early)
    device.banks[Slot.B].behaviour = "unhealthy"
    device.come_to_rest(too_early)
    with pytest.raises(AssertionError, match="rollback index"):
        judge(device, "unhealthy", True)


# --- the phases, and what each permits


def environment(**values):
    return Environment(Slot.A, **values)


@pytest.mark.parametrize(
    ("seen", "running", "phase"),
    [
        (environment(), Slot.A, Phase.CONFIRMED),
        (environment(upgrade_available=True), Slot.B, Phase.INSTALLED),
        (environment(upgrade_available=True, bootcount=1), Slot.A, Phase.TRIAL),
        (environment(rollback_reason="health:store"), Slot.B, Phase.ROLLING_BACK),
        (environment(rollback_reason="bootlimit", update_state=UpdateState.FAILED), Slot.A, Phase.ROLLED_BACK),
        (environment(update_state=UpdateState.FAILED), Slot.A, Phase.FAILED),
        (environment(update_state=UpdateState.IN_PROGRESS, rollback_reason="x"), Slot.A, Phase.INSTALLING),
        (environment(update_state=UpdateState.TESTING), Slot.A, Phase.CONFIRMED),
    ],
)
def test_a_phase_is_what_the_environment_means_to_the_running_bank(seen, running, phase):
    assert phase_of(seen, running) is phase


@pytest.mark.parametrize(
    ("variables", "refusal"),
    [
        ({"slot": "a", "upgrade_available": "1", "bootcount": "2"}, "bank a is on trial (boot 2 of 3)"),
        ({"slot": "b", "upgrade_available": "1"}, "reboot"),
        ({"slot": "b"}, "gives way to bank b"),
    ],
)
def test_no_update_while_the_other_bank_is_needed(variables, refusal):
    device = Device()
    device.variables.update(variables)
    with pytest.raises(UpdateError, match=r"no update now") as refused_now:
        device.updates().target()
    assert refusal in str(refused_now.value)
    assert refused_now.value.cause == "state"


def test_an_older_version_is_refused_and_the_same_is_not():
    updates = Device().updates()
    updates.admit(Version.parse("1.0"))
    with pytest.raises(UpdateError, match=r"0\.9 is older than 1\.0.*under a higher version") as refusal:
        updates.admit(Version.parse("0.9"))
    assert refusal.value.cause == "version"


@pytest.mark.parametrize("copies", [[None, None], [b"noise", b"noise"], [b"\xff", None]])
def test_a_lost_index_is_the_running_version_and_is_written_anew(copies, monkeypatch):
    device = Device()
    device.copies = copies
    monkeypatch.setattr("tests.platform.device._Twice.read", lambda self: self._device.copies[0])
    assert device.updates().target() == (Slot.B, OLD)
    device.updates().confirm()
    assert device.index.read() == OLD


def test_the_index_never_falls():
    device = Device()
    device.copies = [b"2.0", b"2.0"]
    device.updates().confirm()
    assert device.index.read() == Version.parse("2.0")


def test_nothing_is_rolled_back_without_a_trial():
    with pytest.raises(UpdateError, match="not on trial"):
        Device().updates().roll_back("health:store")


def test_a_good_boot_clears_the_failures_and_marks_a_cut_installation_without_a_needless_save():
    device = Device()
    device.updates().confirm()
    assert device.steps == 0
    device.variables.update(boot_failures="2", ustate="7")
    device.updates().confirm()
    assert device.steps == 1
    assert device.read() == Environment(Slot.A, update_state=UpdateState.FAILED)


def test_a_confirm_for_a_server_leaves_it_to_be_reported():
    assert confirmation(report=True)["ustate"] == "2"
    assert confirmation(report=False)["ustate"] == "0"


@given(st.text(max_size=80))
def test_a_rollback_reason_is_one_harmless_word(why):
    word = rollback(Slot.B, why)["rollback_reason"]
    assert word
    assert len(word) <= 48
    assert set(word) <= set("abcdefghijklmnopqrstuvwxyz0123456789:._-")


# --- where the device says what runs


@pytest.mark.parametrize(
    ("cmdline", "slot"),
    [("console=ttyAMA0 dcu.slot=b ro\n", Slot.B), ("dcu.slot=a", Slot.A)],
)
def test_the_running_bank_stands_on_the_kernels_command_line(cmdline, slot):
    assert running_slot(cmdline) is slot


@pytest.mark.parametrize("cmdline", ["", "quiet", "dcu.slot=c", "dcu.slot=a dcu.slot=b", "xdcu.slot=a"])
def test_anything_else_is_no_bank(cmdline):
    with pytest.raises(DecodeError):
        running_slot(cmdline)


def test_the_version_stands_in_os_release():
    text = 'NAME="Grid DCU"\n# IMAGE_VERSION=9\nIMAGE_VERSION="1.2.3"\n'
    assert image_version(text) == Version.parse("1.2.3")
    assert image_version("IMAGE_VERSION=1.2.3\n") == Version.parse("1.2.3")


@given(st.text(max_size=60))
def test_any_os_release_and_any_command_line_is_understood_or_refused(text):
    for parse in (image_version, running_slot):
        with contextlib.suppress(DecodeError):
            parse(text)


@pytest.mark.parametrize("writing", [False, True])
def test_an_installation_that_is_not_at_work_was_cut_off(writing):
    device = Device()
    device.variables["ustate"] = str(UpdateState.IN_PROGRESS.value)
    updates = Updates(device, device.index, Slot.A, OLD, writing=lambda: writing)
    status = updates.status()
    assert status.phase is (Phase.INSTALLING if writing else Phase.FAILED)
    assert ("cut off" in status.why) is not writing
    updates.confirm()
    assert device.read().update_state is (UpdateState.IN_PROGRESS if writing else UpdateState.FAILED)
    assert ("cut off" in updates.status().why) is not writing
