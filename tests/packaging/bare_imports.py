"""Runs inside a bare environment: import every module of the given packages, with the frameworks blocked.

Prints JSON: what was imported, what failed and why, and what is installed there.
"""

import importlib
import importlib.metadata
import json
import pkgutil
import sys
from importlib.abc import MetaPathFinder


class _Blocked(MetaPathFinder):
    """Refuses the frameworks, wherever they might come from."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.partition(".")[0] in FRAMEWORKS:
            raise ModuleNotFoundError(f"{fullname} is blocked here", name=fullname)


FRAMEWORKS = sys.argv[1].split(",")
sys.meta_path.insert(0, _Blocked())


def fault(module: str) -> str | None:
    """Import a module; return why it cannot be, or ``None``."""
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


modules = [
    module
    for package in sys.argv[2:]
    for module in (
        package,
        *(item.name for item in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")),
    )
]
faults = {module: fault(module) for module in modules}
try:
    importlib.import_module(FRAMEWORKS[0])
except ModuleNotFoundError as error:
    blocked = str(error)
else:
    blocked = ""
installed = {item.name: item.version for item in importlib.metadata.distributions()}
print(
    json.dumps(
        {
            "imported": [m for m, why in faults.items() if not why],
            "failed": {m: why for m, why in faults.items() if why},
            "blocked": blocked,
            "installed": installed,
        }
    )
)
