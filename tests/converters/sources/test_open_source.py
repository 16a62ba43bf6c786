from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit_converters.sources import SourceOptions, open_source


def test_a_missing_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.keras does not exist"):
        open_source(tmp_path / "none.keras")


def test_an_unknown_suffix_lists_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "net.txt").touch()
    with pytest.raises(UsageError, match=r"net\.txt: unknown kind of model; expected \.keras, \.h5"):
        open_source(tmp_path / "net.txt")


def test_weights_alone_need_their_model(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").touch()
    with pytest.raises(UsageError) as caught:
        open_source(str(tmp_path / "net.safetensors"))
    assert "--weights net.safetensors beside package.module:factory" in str(caught.value.remedy)


def test_weights_for_a_whole_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.keras").touch()
    with pytest.raises(UsageError, match=r"--weights w\.pth for net\.keras"):
        open_source(tmp_path / "net.keras", SourceOptions(weights=tmp_path / "w.pth"))


def test_another_object_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a builtins\.dict; expected a keras\.Model"):
        open_source({})


def test_no_framework_is_imported_that_the_source_does_not_need() -> None:
    program = (
        "import sys\n"
        "from edgekit.errors import UsageError\n"
        "from edgekit_converters.sources import open_source\n"
        "for source in (object(), 'none.keras', 'none.onnx'):\n"
        "    try: open_source(source)\n"
        "    except UsageError: pass\n"
        "print([name for name in ('tensorflow', 'torch', 'keras', 'onnx') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
