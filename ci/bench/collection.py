"""1,000 meters × 24 h over loopback TCP, secured: the demo, as it is, at full size.

The street and the collector are two processes on the same cores, so a session's figure holds the meter's work too.
Every reading is compared with the truth; a run that misses one is no measurement.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.resident import installed

METERS = 1000


def measure(meters: int = METERS) -> dict[str, Any]:
    """The demo's own report. Raises RuntimeError where a reading was missing or wrong."""
    installed()
    command = Path(__file__).parents[2] / ".venv" / "bin" / "neighbourhood"
    done = subprocess.run(  # noqa: S603 - our own program
        [str(command), "demo", "--sockets", "--json", "--meters", str(meters)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    if done.returncode:
        raise RuntimeError(f"the demo failed: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=1)
