"""Who imports what, and when."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = (
    "numpy", "cv2", "rich", "tensorflow", "torch", "keras", "onnx", "onnxruntime", "ai_edge_litert", "tokenizers",
    "edgekit_converters", "edgekit_runtimes",
)  # fmt: skip


def modules_after(code: str) -> set[str]:
    """Names of the top-level modules that are loaded after some code ran in a fresh interpreter."""
    report = "import json, sys; print(); print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], check=True, capture_output=True, text=True, timeout=60
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy() -> None:
    code = "from edgekit.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    loaded = modules_after(code)
    assert "click" in loaded
    assert sorted(loaded & set(HEAVY)) == []


def test_importing_the_package_is_light() -> None:
    assert sorted(modules_after("import edgekit") & set(HEAVY)) == []


def test_the_converters_command_loads_no_framework_for_its_help() -> None:
    code = "from edgekit.cli import main\ntry: main(['convert', '--help'])\nexcept SystemExit: pass"
    heavy = {"tensorflow", "torch", "keras", "onnx", "litert_torch", "transformers", "jax"}
    assert sorted(modules_after(code) & heavy) == []


def test_the_dependency_rule_holds(root: Path) -> None:
    """The contracts of import-linter in pyproject.toml: sides never import each other, no framework on the device."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=root)
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout
