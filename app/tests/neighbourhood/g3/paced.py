"""The simulation at an event loop's pace, real or virtual: what a bridge does, in a few lines."""

import asyncio


class Paced:
    """Called, it brings the simulation to the loop's time, runs what it is given, and sees to what happens next."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.loop = None
        self.timer = None

    def __call__(self, call, *args):
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
            self.began = self.loop.time() - self.scheduler.now
        self.scheduler.run_until(self.loop.time() - self.began)
        call(*args)
        self._wake()

    def _wake(self):
        self.scheduler.run_until(self.loop.time() - self.began)
        self.stop()
        following = self.scheduler.next()
        if following is not None:
            self.timer = self.loop.call_at(self.began + following, self._wake)

    def stop(self):
        if self.timer:
            self.timer.cancel()
