"""What starting edgekit costs on a board: modules that are imported and files that are opened.

The script runs there; Python's own audit hook counts what is opened, so that nothing has to be installed.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekit_runtimes.emulated.root import BoardRoot

FRAMEWORKS = frozenset({"tensorflow", "torch", "keras", "jax", "onnx", "transformers", "tf_keras", "litert_torch"})
_TRACE = """
import atexit, json, os, sys
opened = []
def heard(event, values):
    # Files; neither descriptors nor what is looked for in vain.
    if event == "open" and isinstance(values[0], (str, bytes)) and os.path.isfile(values[0]):
        opened.append(os.fsdecode(values[0]))
def report():
    found = {"modules": sorted(sys.modules), "files": opened[:], "own": sorted(sys.stdlib_module_names)}
    with open(os.path.join(os.environ["TRACED"], str(os.getpid())), "w") as stream:
        json.dump(found, stream)
end = os._exit
def ended(code):
    report()
    end(code)
os._exit = ended  # how the command ends
atexit.register(report)
sys.addaudithook(heard)
"""


@dataclass(frozen=True)
class Startup:
    """What one command did on a board.

    Attributes:
        processes: Processes that it took.
        modules: Names in ``sys.modules`` of its processes at their ends; those of Python's own start are among them.
        packages: Top-level packages of them that are not Python's own.
        files: Files that it opened, each as often as it was.
        output: What it printed.
        errors: What it printed to standard error.
        code: Its exit code.
    """

    processes: int
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    files: tuple[str, ...]
    output: str
    errors: str
    code: int

    @property
    def frameworks(self) -> frozenset[str]:
        """Training frameworks among the packages."""
        return FRAMEWORKS & {name.partition(".")[0] for name in self.modules}


def traced(board: BoardRoot, *words: str, timeout: float = 600) -> Startup:
    """Run an edgekit command on a board and watch it and the processes that it starts."""
    with tempfile.TemporaryDirectory() as name:
        code, traces = Path(name, "code"), Path(name, "traces")
        code.mkdir()
        traces.mkdir()
        # Python runs this first in every process.
        (code / "sitecustomize.py").write_text(_TRACE, encoding="utf-8")
        environment = board.environment()
        environment = {**environment, "PYTHONPATH": f"{code}:{environment['PYTHONPATH']}", "TRACED": str(traces)}
        done = subprocess.run(
            [str(board.python), "-m", "edgekit.cli", *words], check=False, capture_output=True, text=True,
            timeout=timeout, env=environment,
        )  # fmt: skip
        found = [json.loads(path.read_text(encoding="utf-8")) for path in traces.iterdir()]
    modules = {module for trace in found for module in trace["modules"]} - {"__main__", "sitecustomize"}
    own = {module for trace in found for module in trace["own"]}
    packages = {module.partition(".")[0] for module in modules} - own
    files = [file for trace in found for file in trace["files"]]
    return Startup(
        len(found),
        tuple(sorted(modules)),
        tuple(sorted(packages)),
        tuple(files),
        done.stdout,
        done.stderr,
        done.returncode,
    )
