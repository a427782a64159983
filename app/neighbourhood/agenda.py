"""What a meter does by itself as time goes by: brought up to date when somebody asks it, event by event, in order.

So a meter that nobody asks costs nothing, and what it did meanwhile happened at its own moment: `Meter.now` is that
moment while an event is carried out. Schedules and the calendar go by what the clock shows. What a clock leaps over
when it is set forward is done then; what it shows again when it is set back is not done twice, unless it was set back
by more than an hour.
"""

from neighbourhood import firmware, scripts, supervision, tariffs
from neighbourhood.meter import Meter

SET_BACK = 3_600  # seconds
NEVER = 1 << 40
DRIFT = 5  # seconds by which a clock may go wrong meanwhile
MOST = 200_000  # events that are made up for


def settle(meter: Meter) -> None:
    """Do everything that was due until now."""
    if meter.idle:
        return
    works, now, shown = meter.works, meter.now(), meter.shown()
    if shown < works.shown - SET_BACK:
        works.shown = shown
    for _ in range(MOST):
        by_clock, by_time = _next_shown(meter, works.shown), _next_true(meter, works.settled)
        clock_at = None
        if by_clock is not None and by_clock <= shown:  # passed, or leapt over
            clock_at = min(now, max(works.settled, by_clock - _error(meter, by_clock)))
        at = min((each for each in (clock_at, by_time) if each is not None and each <= now), default=None)
        if at is None:
            break
        with meter.at(at):
            if clock_at == at and by_clock is not None:
                works.shown = by_clock
                _act(meter, by_clock)
            works.settled = at
            firmware.look(meter)
            supervision.look(meter)
    works.settled, works.shown = now, max(works.shown, shown)
    by_clock, by_time = _next_shown(meter, works.shown), _next_true(meter, now)
    by_clock = NEVER if by_clock is None else now + by_clock - shown - DRIFT
    works.idle_until = min(by_clock, NEVER if by_time is None else by_time)


def _error(meter: Meter, shown: int) -> int:
    return meter.clock_error(shown - meter.clock_error(shown))


def _next_true(meter: Meter, after: int) -> int | None:
    moments = supervision.upcoming(meter, after), meter.works.image.upcoming(after)
    return min((at for at in moments if at is not None), default=None)


def _next_shown(meter: Meter, after: int) -> int | None:
    moments = [tariffs.upcoming(meter, after)]
    moments += [scripts.due(meter, each, after) for each in meter.works.schedules.values() if each.times]
    return min((at for at in moments if at is not None), default=None)


def _act(meter: Meter, shown: int) -> None:
    """Everything that is due when the clock shows this."""
    due = [
        each for each in meter.works.schedules.values() if each.times and scripts.due(meter, each, shown - 1) == shown
    ]
    tariffs.act(meter, shown)
    for schedule in due:
        scripts.run(meter, schedule.table, schedule.selector)
