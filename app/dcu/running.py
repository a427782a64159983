"""The dcu-collector service: a collector as a process, hardened, watched, stopped by SIGTERM and SIGINT."""

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from dcu.collect import process, settings
from dcu.collector import Collector
from dcu.platform import service

log = logging.getLogger("dcu.collector")


async def run(config_path: Path) -> None:
    """Run the collector until SIGTERM or SIGINT. Raises ConfigError, KeysError, StoreError: it cannot start."""
    config = settings.load(config_path)
    logging.basicConfig(
        stream=sys.stderr, level=config.log.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for line in process.harden():
        log.warning("%s", line)
    process.raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        collector = await Collector.open(stack, config)
        gc.freeze()  # what is there now stays: do not walk it again and again
        tasks = [asyncio.create_task(duty) for duty in collector.duties()]
        if every := service.watchdog_seconds():
            tasks.append(asyncio.create_task(collector.vitals.feed(every)))
        service.notify("READY=1")
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        service.notify("STOPPING=1")
        if collector.services.store.frozen:
            log.warning("stopped while the mains are away: nothing more is written")
            os._exit(0)  # to end in good order would close files, and that writes
        log.info("stopping")
        for task in (waiting, *tasks):
            task.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome  # upkeep failed: better to be started anew than to run without
    log.info("stopped")
