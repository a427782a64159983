"""The mailbox of an endpoint: bounded, woken, failed once, shut."""

import asyncio

import pytest

from dcu.errors import LinkClosed, LinkTimeout
from dcu.mailbox import Mailbox


async def waiting(mailbox):
    task = asyncio.create_task(mailbox.receive())
    await asyncio.sleep(0)
    return task


async def test_what_comes_wakes_who_waits_and_the_rest_stays_in_order():
    mailbox = Mailbox()
    task = await waiting(mailbox)
    assert mailbox.awaited
    for data in (b"1", b"2", b"3"):
        mailbox.arrive(data)
    assert not mailbox.awaited
    assert [await task, await mailbox.receive(), await mailbox.receive()] == [b"1", b"2", b"3"]


async def test_a_full_mailbox_drops_and_counts():
    mailbox = Mailbox(2)
    for data in (b"1", b"2", b"3"):
        mailbox.arrive(data)
    assert (mailbox.dropped, await mailbox.receive(), await mailbox.receive()) == (1, b"1", b"2")


async def test_an_error_is_told_once():
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.fail(LinkTimeout("the network went down"))
    with pytest.raises(LinkTimeout, match="went down"):
        await task
    task = await waiting(mailbox)
    assert not task.done()
    mailbox.arrive(b"1")
    assert await task == b"1"


async def test_an_error_that_a_datagram_has_overtaken_is_not_told_later():
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.fail(LinkTimeout("the network went down"))
    mailbox.arrive(b"1")
    assert await task == b"1"
    task = await waiting(mailbox)
    assert not task.done()
    task.cancel()


async def test_what_is_there_can_be_taken_after_the_end():
    mailbox = Mailbox()
    mailbox.arrive(b"1")
    mailbox.shut()
    mailbox.arrive(b"2")
    assert await mailbox.receive() == b"1"
    with pytest.raises(LinkClosed):
        await mailbox.receive()


async def test_the_end_wakes_who_waits():
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.shut()
    with pytest.raises(LinkClosed):
        await task


async def test_who_has_given_up_does_not_take_the_next_datagram_away():
    mailbox = Mailbox()
    task = await waiting(mailbox)
    task.cancel()
    later = await waiting(mailbox)
    mailbox.arrive(b"1")
    assert await later == b"1"
    assert task.cancelled()
