"""Exit with 0 if the interpreter that runs this has pip, and edgekit installed from this very folder; else with 1."""

import sys
from importlib.util import find_spec
from pathlib import Path

root = Path(__file__).resolve().parent.parent
found = find_spec("edgekit")
ours = found is not None and found.origin is not None and Path(found.origin).resolve().is_relative_to(root)
sys.exit(not (ours and find_spec("pip")))
