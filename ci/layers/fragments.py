"""kas: the schema of every file, every combination of fragments, and that each leads to something that exists.

kas itself reads and merges the files, in this process. What kas cannot know is checked
here: a pin for each repository, a machine, a distribution and targets that our layers have, and that no two fragments
share a header of local.conf (the second would silently replace the first).
"""

import contextlib
import logging
import os
import re
from argparse import Namespace
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from device.paths import BSP, LAYER, ROOT

from layers import text

TOP = ROOT / "kas.yml"
FRAGMENTS = ROOT / "layers" / "kas"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def boards() -> list[Path]:
    return sorted(FRAGMENTS.glob("board-*.yml"))


def options() -> list[Path]:
    return sorted(path for path in FRAGMENTS.glob("*.yml") if path not in boards())


def faults() -> Iterator[str]:
    """What is wrong, a line each."""
    names = {recipe.name for recipe in text.recipes()}
    subsets = list(chain.from_iterable(combinations(options(), size) for size in range(len(options()) + 1)))
    for board in boards():
        for chosen in subsets:
            files = [TOP, board, *chosen]
            label = ":".join(path.name for path in files)
            try:
                yield from (f"{label}: {fault}" for fault in _inconsistent(_merged(files), names))
            except Exception as error:
                yield f"{label}: {error}"
                return
    yield from _shared_headers()


def _merged(files: list[Path]) -> dict[str, Any]:
    """What kas makes of the files, the lock file applied."""
    from kas.context import create_global_context
    from kas.includehandler import IncludeHandler
    from kas.repos import Repo

    logging.getLogger("kas").setLevel(logging.ERROR)
    Repo.get_root_path = staticmethod(lambda *_, **__: str(ROOT))  # it would ask git for each file of each combination
    with contextlib.chdir(ROOT):
        os.environ.setdefault("KAS_WORK_DIR", str(ROOT))
        create_global_context(Namespace(no_color=True))
        config, missing = IncludeHandler([str(path) for path in files]).get_config()
    if missing:
        raise ValueError(f"includes from repositories that are not there: {', '.join(missing)}")
    return dict(config)


def _inconsistent(config: dict[str, Any], names: set[str]) -> Iterator[str]:
    machine, distro = config.get("machine"), config.get("distro")
    if not (BSP / "conf" / "machine" / f"{machine}.conf").exists():
        yield f"machine {machine} has no configuration"
    if not (LAYER / "conf" / "distro" / f"{distro}.conf").exists():
        yield f"distribution {distro} has no configuration"
    for target in config.get("target", []):
        if target not in names:
            yield f"target {target} is no recipe of ours"
    pins = config.get("overrides", {}).get("repos", {})
    for name, repo in config["repos"].items():
        if "url" not in repo:
            continue
        if not repo.get("branch"):
            yield f"{name} has no branch"
        if "commit" in repo:
            yield f"{name}: its commit stands in kas.lock.yml"
        if not _COMMIT.fullmatch(str(pins.get(name, {}).get("commit", ""))):
            yield f"{name}: kas.lock.yml has no full commit for it"


def _shared_headers() -> Iterator[str]:
    import yaml

    seen: dict[str, Path] = {}
    for path in (TOP, *boards(), *options()):
        for header in yaml.safe_load(path.read_text()).get("local_conf_header") or {}:
            if header in seen:
                yield f"{path.name} and {seen[header].name} both have the header {header}: only one would take effect"
            seen[header] = path
