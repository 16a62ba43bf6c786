"""Execution providers of ONNX Runtime: names, options, and no silent fallback.

The library here is built for the CPU alone, so sessions on other providers are real CPU sessions that say they run
elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.cli import main
from edgekit.engine import engine_class, open_engine
from edgekit.errors import EnvironmentFault, ModelRefused, UsageError
from edgekit_runtimes.doctor import models
from edgekit_runtimes.engines import providers as module
from edgekit_runtimes.engines.onnxruntime import OnnxRuntimeEngine
from edgekit_runtimes.engines.providers import CPU, PROVIDERS, Provider, qnn_library
from tests.runtimes.engines.elsewhere import Elsewhere


@pytest.mark.parametrize(
    ("text", "name", "label"),
    [
        ("cpu", CPU, "onnxruntime"),
        (CPU, CPU, "onnxruntime"),
        ("xnnpack", "XnnpackExecutionProvider", "onnxruntime:xnnpack"),
        ("cuda:1", "CUDAExecutionProvider", "onnxruntime:cuda:1"),
        ("openvino:GPU.0", "OpenVINOExecutionProvider", "onnxruntime:openvino:GPU.0"),
        ("TensorrtExecutionProvider", "TensorrtExecutionProvider", "onnxruntime:tensorrt"),
    ],
)
def test_names(text: str, name: str, label: str) -> None:
    assert (Provider.named(text).name, Provider.named(text).label) == (name, label)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu:0", "'cpu' alone"),
        ("xnnpack:1", "'xnnpack' alone"),
        ("cuda:x", "the number of a device"),
        ("openvino:TPU", "CPU, GPU or NPU"),
        ("qnn:dsp", "htp, gpu or cpu"),
        ("coreml:GPU", "ALL, CPUOnly"),
    ],
)
def test_a_device_that_the_provider_cannot_have_is_refused(text: str, expected: str) -> None:
    short, _, device = text.partition(":")
    with pytest.raises(UsageError, match=f"device '{device}' for execution provider '{short}'; expected {expected}"):
        Provider.named(text)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("cpu", {}),
        ("xnnpack", {"intra_op_num_threads": "3"}),
        ("openvino", {"device_type": "CPU", "precision": "ACCURACY", "num_of_threads": "3"}),
        ("openvino:NPU", {"device_type": "NPU", "precision": "ACCURACY", "num_of_threads": "3"}),
        ("cuda", {"device_id": "0", "use_tf32": "0"}),
        ("cuda:1", {"device_id": "1", "use_tf32": "0"}),
        ("coreml", {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"}),
        ("coreml:CPUOnly", {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUOnly"}),
        ("dml:2", {"device_id": "2"}),
    ],
)
def test_options(elsewhere: type[Elsewhere], tiny: Path, text: str, options: dict[str, str]) -> None:
    with OnnxRuntimeEngine(tiny, provider=text, threads=3) as engine:
        assert engine.name == Provider.named(text).label
        assert engine.provider == Provider.named(text).name
        outputs = engine.run({"x": models.picture()})
    np.testing.assert_allclose(outputs["y"], models.answer(), rtol=1e-6)
    (session,) = elsewhere.sessions
    assert session.providers == [(Provider.named(text).name, options)]
    assert session.enable_fallback == 0


def test_qnn_names_its_backend_for_the_system(elsewhere: type[Elsewhere], tiny: Path) -> None:
    OnnxRuntimeEngine(tiny, provider="qnn")
    assert elsewhere.sessions[0].providers[0][1] == {"backend_path": "libQnnHtp.so"}
    assert qnn_library("gpu", "linux") == "libQnnGpu.so"
    assert qnn_library("htp", "win32") == "QnnHtp.dll"


def test_one_pool_of_threads_beside_xnnpack(elsewhere: type[Elsewhere], tiny: Path) -> None:
    OnnxRuntimeEngine(tiny, provider="xnnpack", threads=3)
    OnnxRuntimeEngine(tiny, provider="cpu", threads=3)
    xnnpack, cpu = (session.options for session in elsewhere.sessions)
    assert (xnnpack.intra_op_num_threads, cpu.intra_op_num_threads) == (1, 3)
    assert xnnpack.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_directml_without_the_memory_pattern_that_it_refuses(elsewhere: type[Elsewhere], tiny: Path) -> None:
    OnnxRuntimeEngine(tiny, provider="dml")
    assert not elsewhere.sessions[0].options.enable_mem_pattern


def test_what_others_run_is_said(elsewhere: type[Elsewhere], tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere.counts = {PROVIDERS["xnnpack"]: 40, CPU: 12}
    with OnnxRuntimeEngine(tiny, provider="xnnpack") as engine:
        assert engine.nodes == elsewhere.counts
    assert capsys.readouterr().err == (
        "onnxruntime:xnnpack runs 40 of 52 nodes of tiny.onnx, CPUExecutionProvider the others\n"
    )


def test_a_provider_that_runs_nothing_is_refused(elsewhere: type[Elsewhere], tiny: Path) -> None:
    elsewhere.counts = {CPU: 52}
    with pytest.raises(EnvironmentFault, match=r"XnnpackExecutionProvider runs none of the 52 nodes of tiny\.onnx"):
        OnnxRuntimeEngine(tiny, provider="xnnpack")


def test_a_provider_that_does_not_load_is_a_fault_of_the_machine(elsewhere: type[Elsewhere], tiny: Path) -> None:
    elsewhere.fails = {PROVIDERS["cuda"]: "libcudnn.so.9 was not found"}
    with pytest.raises(EnvironmentFault, match=r"CUDAExecutionProvider cannot run tiny\.onnx here: libcudnn\.so\.9"):
        OnnxRuntimeEngine(tiny, provider="cuda")


def test_a_broken_file_is_a_fault_of_the_file_on_every_provider(elsewhere: type[Elsewhere], tiny: Path) -> None:
    elsewhere.fails = {PROVIDERS["cuda"]: "libcudnn.so.9 was not found"}
    tiny.write_bytes(models.ONNX[:-20])
    with pytest.raises(ModelRefused, match=r"ONNX Runtime cannot load .*tiny\.onnx"):
        OnnxRuntimeEngine(tiny, provider="cuda")


def test_the_graph_says_where_its_nodes_run(tiny: Path) -> None:
    """Of the real library: the refusals above stand on this."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(str(tiny), options, providers=[CPU])
    assert module.placement(session) == {CPU: 2}
    assert module.placement(SimpleNamespace()) is None


@pytest.mark.parametrize(
    ("short", "remedy"), [("cuda", "pip install onnxruntime-gpu"), ("xnnpack", "install a build of ONNX Runtime")]
)
def test_a_provider_that_the_library_lacks_names_what_there_is(tiny: Path, short: str, remedy: str) -> None:
    with pytest.raises(EnvironmentFault, match=rf"has no {PROVIDERS[short]}; expected onnxruntime:cpu") as caught:
        open_engine(tiny, f"onnxruntime:{short}")
    assert caught.value.exit_code == 5
    assert remedy in (caught.value.remedy or "")


def test_the_cpu_can_be_asked_for_by_name(tiny: Path) -> None:
    with open_engine(tiny, "onnxruntime:cpu", threads=1) as engine:
        assert engine.name == "onnxruntime"
        np.testing.assert_allclose(engine.run({"x": models.picture()})["y"], models.answer(), rtol=1e-6)
    assert "cpu" in OnnxRuntimeEngine.available_providers()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onnxruntime:warp", "engine 'onnxruntime' has no execution provider 'warp'; expected onnxruntime:cpu, "),
        ("litert:gpu", "engine 'litert' has no execution provider 'gpu'; expected --engine litert alone"),
    ],
)
def test_a_provider_that_nobody_knows_is_refused(name: str, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        engine_class(name)


@pytest.mark.parametrize("verb", ["run", "verify"])
def test_commands_take_providers(detector_bundle: Bundle, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    def typed(engine: str) -> tuple[int, str]:
        words = [verb, str(detector_bundle.path), "--engine", engine]
        if verb == "run":
            words.append(str(detector_bundle.path / "golden.npz"))
        with pytest.raises(SystemExit) as stop:
            main(words)
        return int(stop.value.code or 0), capsys.readouterr().err

    code, err = typed("onnxruntime:xnnpack")
    assert code == 5
    assert "has no XnnpackExecutionProvider; expected onnxruntime:cpu" in err
    if verb == "verify":
        assert typed("onnxruntime:cpu") == (0, "")
