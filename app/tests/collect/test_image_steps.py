"""One transfer of an image, step by step, with a meter's image transfer beside it (image_meter)."""

import asyncio
from itertools import pairwise

import pytest

from dcu.collect.jobs.image import LOOK_EVERY, PATIENCE, ROUNDS, SCRIPT, Phase
from dcu.cosem import schedules
from dcu.cosem.apdu import ActionResult
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.image import ImageStatus, ToActivate
from dcu.errors import AccessDenied, JobError, LinkTimeout
from neighbourhood.image import ImageTransfer, Status
from tests.collect.image_meter import AT, BLOCK, RAW, Done, Meter, Timed, an_order, denied
from tests.collect.images import NAME

pytestmark = pytest.mark.looptime


async def failing(transfer, match):
    with pytest.raises(JobError, match=match):
        await transfer.run()


# --- beginning


async def test_an_image_goes_over_in_order_and_is_told_of_block_by_block(tmp_path):
    meter = Meter()
    transfer = Done(tmp_path, meter, an_order())
    assert (await transfer.run()).phase is Phase.VERIFIED
    assert meter.calls == ["initiate", *range(11), "verify"]
    assert bytes(meter.works.image) == RAW
    assert transfer.told[:11] == [(number / 11, f"{number} of 11 blocks") for number in range(1, 12)]
    assert transfer.told[11:] == [(1.0, "verifying")]
    assert meter.enabled_again == 0  # an attribute that not every meter lets be written


async def test_each_phase_is_durable_before_its_first_request(tmp_path):
    transfer = Done(tmp_path, Meter(), an_order(activate=True))
    await transfer.run()
    firsts = {}
    for order, calls in transfer.kept:
        firsts.setdefault((order.phase, order.begun, order.asked), calls[-1:])
    assert firsts == {
        (Phase.BEGINNING, True, 0): [],
        (Phase.SENDING, True, 0): ["initiate"],
        (Phase.VERIFYING, True, 0): [10],
        (Phase.ACTIVATING, True, 0): ["verify"],
        (Phase.ACTIVATING, True, 1): ["verify"],
        (Phase.ACTIVE, True, 1): ["activate"],
    }
    assert transfer.order.blocks == 11


async def test_a_meter_whose_image_transfer_is_switched_off_has_it_switched_on(tmp_path):
    meter = Meter(ImageTransfer(BLOCK, enabled=False))
    assert (await Done(tmp_path, meter, an_order()).run()).phase is Phase.VERIFIED
    assert meter.enabled_again == 1


def initiated(identifier=NAME, size=len(RAW), **changes):
    works = ImageTransfer(BLOCK)
    works.initiate(identifier, size)
    for name, value in changes.items():
        setattr(works, name, value)
    return works


@pytest.mark.parametrize(
    ("works", "order", "again"),
    [
        pytest.param(
            lambda: initiated(), {"begun": True, "block_size": BLOCK}, False, id="ours, whose answer was lost"
        ),
        pytest.param(lambda: initiated(b"other"), {"block_size": BLOCK}, True, id="of somebody, as large as ours"),
        pytest.param(lambda: initiated(), {"begun": True, "block_size": 800}, True, id="other blocks"),
        pytest.param(lambda: initiated(size=800), {"begun": True, "block_size": BLOCK}, True, id="a smaller image"),
        pytest.param(
            lambda: initiated(held=bytearray(10) + b"\1"), {"begun": True, "block_size": BLOCK}, True, id="has some"
        ),
        pytest.param(
            lambda: initiated(_status=Status.NOT_VERIFIED),
            {"begun": True, "block_size": BLOCK},
            True,
            id="was not verified",
        ),
        pytest.param(lambda: ImageTransfer(BLOCK), {"begun": True, "block_size": BLOCK}, True, id="knows of none"),
    ],
)
async def test_a_transfer_is_taken_for_ours_only_where_it_can_be_no_others(tmp_path, works, order, again):
    meter = Meter(works())
    assert (await Done(tmp_path, meter, an_order(**order)).run()).phase is Phase.VERIFIED
    assert (meter.calls.count("initiate"), meter.works.identifier) == (int(again), NAME)


@pytest.mark.parametrize(
    "works",
    [
        pytest.param(lambda: initiated(b"other"), id="one that is alike is there"),
        pytest.param(lambda: initiated(b"other", held=b"\1" * 11), id="one with blocks is there"),
        pytest.param(lambda: ImageTransfer(BLOCK), id="none is there"),
    ],
)
async def test_a_beginning_that_was_lost_itself_is_sent_again(tmp_path, works):
    meter = Meter(works(), lost=["request"])
    transfer = Done(tmp_path, meter, an_order())
    with pytest.raises(LinkTimeout):
        await transfer.run()
    transfer = Done(tmp_path, meter, transfer.order)
    assert (await transfer.run()).phase is Phase.VERIFIED
    assert (meter.calls.count("initiate"), meter.works.identifier) == (2, NAME)


async def test_a_beginning_whose_answer_was_lost_is_not_sent_again(tmp_path):
    meter = Meter(lost=["answer"])
    transfer = Done(tmp_path, meter, an_order())
    with pytest.raises(LinkTimeout):
        await transfer.run()
    assert (await Done(tmp_path, meter, transfer.order).run()).phase is Phase.VERIFIED
    assert meter.calls.count("initiate") == 1


# --- sending


def sending(**changes):
    return an_order(phase=Phase.SENDING, begun=True, block_size=BLOCK, **changes)


@pytest.mark.parametrize("status", [Status.NOT_INITIATED, Status.NOT_VERIFIED, Status.NOT_ACTIVATED])
async def test_a_meter_that_has_lost_the_transfer_is_given_it_from_the_beginning(tmp_path, status):
    meter = Meter(initiated(_status=status))
    assert (await Done(tmp_path, meter, sending(blocks=7)).run()).phase is Phase.VERIFIED
    assert meter.calls == ["initiate", *range(11), "verify"]


async def test_a_meter_that_does_not_keep_a_transfer_is_asked_twice(tmp_path):
    meter = Meter()
    meter.status = lambda: ImageStatus.NOT_INITIATED
    await failing(Done(tmp_path, meter, an_order()), "does not keep the transfer that was begun: it is not-initiated")
    assert meter.calls == ["initiate"] * 2


@pytest.mark.parametrize("status", [Status.VERIFYING, Status.VERIFIED])
async def test_a_meter_that_verifies_already_is_sent_nothing(tmp_path, status):
    works = initiated(image=bytearray(RAW), held=bytearray(b"\1" * 11), _status=status)
    meter = Meter(works)
    assert (await Done(tmp_path, meter, sending()).run()).phase is Phase.VERIFIED
    assert meter.calls == []


async def test_only_what_the_meter_lacks_is_sent(tmp_path):
    works = initiated()
    for number in (0, 1, 5, 10):
        works.take(number, RAW[number * BLOCK :][:BLOCK])
    meter = Meter(works)
    transfer = Done(tmp_path, meter, sending())
    await transfer.run()
    assert meter.calls == [2, 3, 4, 6, 7, 8, 9, "verify"]
    assert (transfer.told[0], bytes(works.image)) == ((5 / 11, "5 of 11 blocks"), RAW)


async def test_blocks_that_leave_no_trace_are_given_up_after_rounds_that_brought_nothing(tmp_path):
    meter, held = Meter(initiated()), [5]

    def forgetful():
        """It comes further by a block every other time, to begin with."""
        held[0] += 1
        have = min(held[0] // 2, 8)
        return [True] * have + [False] * (11 - have)

    meter.held = forgetful
    await failing(Done(tmp_path, meter, sending()), "is given its blocks, and still lacks 3 of them")
    # it asks before each round and after the last: eleven until it has 8, then as many as bring nothing
    assert held[0] == 16 + ROUNDS


async def test_a_meter_that_is_busy_is_asked_what_it_has_after_a_while(tmp_path):
    """And is not given the blocks behind the one that it did not take: some take them in order only."""
    meter, loop, times = Meter(initiated()), asyncio.get_running_loop(), []
    take = meter.transfer

    def busy(number, block):
        times.append(loop.time())
        if number == 3 and 3 not in meter.calls:
            meter.calls.append(3)
            raise denied(ActionResult.TEMPORARY_FAILURE)
        take(number, block)

    meter.transfer = busy
    await Done(tmp_path, meter, sending()).run()
    assert meter.calls == [0, 1, 2, 3, *range(3, 11), "verify"]
    assert times[4] - times[3] == pytest.approx(LOOK_EVERY[1])
    assert times[3] == times[0]


async def test_a_block_that_is_refused_ends_it(tmp_path):
    meter = Meter(initiated())

    def refused(number, block):
        raise denied(ActionResult.READ_WRITE_DENIED)

    meter.transfer = refused
    with pytest.raises(AccessDenied) as told:
        await Done(tmp_path, meter, sending()).run()
    assert told.value.result == ActionResult.READ_WRITE_DENIED


async def test_what_lacks_blocks_and_has_no_image_at_hand_says_so(tmp_path):
    await failing(Done(tmp_path, Meter(initiated()), sending(), image=False), "lacks block 0.*not at hand: send it")


@pytest.mark.parametrize("size", [400, 8_000])
async def test_a_transfer_of_another_length_is_somebody_elses(tmp_path, size):
    meter = Meter(initiated(size=size))
    await failing(Done(tmp_path, meter, sending()), rf"a transfer of {size // 400} blocks, ours has 11: somebody else")
    assert meter.calls == []


# --- what the meter makes of it


def whole(status=Status.INITIATED, **changes):
    """It has all blocks."""
    return Meter(initiated(image=bytearray(RAW), held=bytearray(b"\1" * 11), _status=status, **changes))


def at(phase, **changes):
    return an_order(phase=phase, begun=True, block_size=BLOCK, **changes)


async def test_a_verification_that_failed_is_told(tmp_path):
    meter = whole()
    meter.works.image[0] ^= 1
    await failing(Done(tmp_path, meter, at(Phase.VERIFYING)), "verification failed: the image is damaged, or not for")


async def test_a_meter_that_says_only_in_its_answer_that_it_has_verified_is_believed(tmp_path):
    """Its status stays as it was; a second request would be refused."""
    meter = whole()
    meter.verify = lambda: meter.calls.append("verify") or True
    assert (await Done(tmp_path, meter, at(Phase.VERIFYING)).run()).phase is Phase.VERIFIED
    assert meter.calls == ["verify"]


async def test_a_meter_that_neither_verifies_nor_says_why_is_asked_twice(tmp_path):
    meter = whole()
    meter.verify = lambda: meter.calls.append("verify") and None
    await failing(Done(tmp_path, meter, at(Phase.VERIFYING)), "does not verify the image: its transfer is initiated")
    assert meter.calls == ["verify"] * 2


@pytest.mark.parametrize("status", [Status.NOT_INITIATED, Status.ACTIVATED])
async def test_a_transfer_that_went_away_while_it_was_verified_is_told(tmp_path, status):
    meter = whole(status)
    await failing(Done(tmp_path, meter, at(Phase.VERIFYING)), "does not verify the image.*somebody else uses it")
    assert meter.calls == []


OURS = ToActivate(len(RAW), NAME, b"signed")


@pytest.mark.parametrize(
    ("told", "signature", "good"),
    [
        pytest.param((OURS,), b"", True, id="ours"),
        pytest.param((OURS,), b"signed", True, id="with its signature"),
        pytest.param((ToActivate(9, b"another", b""), OURS), b"signed", True, id="among others"),
        pytest.param((ToActivate(9, b"another", b"signed"), OURS), b"signed", True, id="and another with a signature"),
        pytest.param((), b"", False, id="nothing"),
        pytest.param((ToActivate(len(RAW), b"another", b"signed"),), b"", False, id="another name"),
        pytest.param((ToActivate(len(RAW) - 1, NAME, b"signed"),), b"", False, id="another size"),
        pytest.param((OURS,), b"other", False, id="another signature"),
        pytest.param(
            (ToActivate(len(RAW), NAME, b""), ToActivate(9, b"x", b"s")), b"s", False, id="another's signature"
        ),
    ],
)
@pytest.mark.parametrize("phase", [Phase.VERIFYING, Phase.ACTIVATING])
async def test_nothing_is_activated_but_what_was_sent(tmp_path, told, signature, good, phase):
    meter = whole(Status.VERIFIED)
    meter.told = told
    transfer = Done(tmp_path, meter, at(phase, activate=True, signature=signature))
    if good:
        assert (await transfer.run()).phase is Phase.ACTIVE
    else:
        shown = "nothing" if not told else rf"{told[0].identification.decode()}, {told[0].size} B"
        await failing(transfer, rf"would activate {shown}.*not activated")
    assert meter.calls.count("activate") == int(good)


@pytest.mark.parametrize("later", [{}, {"at": AT}], ids=["when somebody asks", "at a time"])
async def test_what_would_be_activated_later_is_looked_at_now(tmp_path, later):
    meter = whole(Status.VERIFIED)
    meter.told = (ToActivate(9, b"another", b""),)
    transfer = Timed(tmp_path, meter, at(Phase.VERIFYING, **later))
    await failing(transfer, "would activate another, 9 B.*not activated")
    assert transfer.written == []


@pytest.mark.parametrize(("phase", "status"), [(Phase.VERIFYING, 2), (Phase.ACTIVATING, 5)])
async def test_a_meter_that_takes_its_time_is_looked_at_ever_less_and_not_for_ever(tmp_path, phase, status):
    meter, loop = whole(), asyncio.get_running_loop()
    meter.status = lambda: (meter.looks.append(loop.time()), ImageStatus(status))[1]
    began = loop.time()
    await failing(Done(tmp_path, meter, at(phase, asked=1)), f"has been {phase} for 3600 s: look at it, and send the")
    gaps = [after - before for before, after in pairwise(meter.looks)]
    assert gaps == pytest.approx([*LOOK_EVERY, *[LOOK_EVERY[-1]] * (len(gaps) - len(LOOK_EVERY))])
    assert PATIENCE <= loop.time() - began < PATIENCE + LOOK_EVERY[-1]


async def test_an_activation_that_failed_is_told(tmp_path):
    await failing(
        Done(tmp_path, whole(Status.NOT_ACTIVATED), at(Phase.ACTIVATING, asked=1)), "activation failed: it go"
    )


@pytest.mark.parametrize("status", [Status.NOT_INITIATED, Status.INITIATED, Status.VERIFYING, Status.NOT_VERIFIED])
async def test_a_meter_of_which_nobody_knows_whether_it_has_activated_is_told(tmp_path, status):
    meter = whole()
    meter.status = lambda: ImageStatus(status)
    await failing(Done(tmp_path, meter, at(Phase.ACTIVATING, asked=1)), r"is unknown.*\(1-0:0.2.0\*255\)")
    assert meter.calls == []


async def test_a_meter_that_says_only_in_its_answer_that_it_is_active_is_believed(tmp_path):
    meter = whole(Status.VERIFIED)
    meter.activate = lambda: meter.calls.append("activate") or True
    assert (await Done(tmp_path, meter, at(Phase.ACTIVATING)).run()).phase is Phase.ACTIVE
    assert meter.calls == ["activate"]


@pytest.mark.parametrize(
    ("ciphered", "asked", "more"), [(True, 0, 2), (True, 1, 1), (True, 2, 0), (False, 0, 1), (False, 1, 0)]
)
async def test_an_activation_is_asked_for_as_often_as_is_safe_also_over_attempts(tmp_path, ciphered, asked, more):
    meter = whole(Status.VERIFIED)
    meter.activate = lambda: meter.calls.append("activate")
    transfer = Done(tmp_path, meter, at(Phase.ACTIVATING, asked=asked), ciphered=ciphered)
    await failing(transfer, "was asked to activate the image, and did not")
    assert meter.calls == ["activate"] * more
    assert transfer.order.asked == asked + more


# --- at a time


async def test_a_schedule_whose_answer_was_lost_is_written_again(tmp_path):
    transfer = Timed(tmp_path, whole(Status.VERIFIED), at(Phase.VERIFYING, at=AT), [LinkTimeout("no answer")])
    assert (await transfer.run()).phase is Phase.SCHEDULED
    assert transfer.written == ["write"] * 2
    assert "activate" not in transfer.meter.calls


async def test_a_schedule_that_cannot_be_written_now_is_written_later(tmp_path):
    fates = [LinkTimeout("no answer")] * 2
    transfer = Timed(tmp_path, whole(Status.VERIFIED), at(Phase.VERIFYING, at=AT), fates)
    with pytest.raises(LinkTimeout):
        await transfer.run()
    assert transfer.order.phase is Phase.VERIFYING
    assert (await transfer.run()).phase is Phase.SCHEDULED


async def test_a_meter_that_holds_another_time_than_it_took_is_told(tmp_path):
    holds = schedules.once(SCRIPT, AT + 3_600, TimeZoneRule())
    transfer = Timed(tmp_path, whole(Status.VERIFIED), at(Phase.VERIFYING, at=AT), holds=holds)
    await failing(transfer, r"took the activation's schedule \(0-0:15.0.2\*255\), and holds another")
