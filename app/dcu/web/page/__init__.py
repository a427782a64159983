"""The page as one file: built from `app/web` (TypeScript) by `make page`, shipped as package data.

It shows a recording that stands inside it, or else what `/api/live` sends. The format of both: docs/page.md.
"""

import base64
import gzip
import re
from functools import cache
from importlib.resources import files

_PLACE = re.compile(r'(<script id="recording" type="application/octet-stream">)[A-Za-z0-9+/=\s]*(</script>)')


@cache
def html() -> str:
    """The page without a recording: it listens to the server that it came from."""
    return files(__name__).joinpath("index.html").read_text("utf-8")


def embed(page: str, ndjson: str | bytes) -> str:
    """`page` with a recording (events, one JSON object a line) inside: one file that plays from disk.

    A recording that was there is replaced. The same recording gives the same file. Raises ValueError where `page` has
    no place for one.
    """
    data = ndjson.encode() if isinstance(ndjson, str) else ndjson
    packed = base64.b64encode(gzip.compress(data, mtime=0)).decode("ascii")
    whole, places = _PLACE.subn(lambda match: match[1] + packed + match[2], page, count=1)
    if not places:
        raise ValueError("this html is not our page: it has no place for a recording")
    return whole
