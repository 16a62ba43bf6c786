"""Broken set-ups of NVIDIA's libraries: error texts that people got from ONNX Runtime, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.engines import nvidia, nvidia_faults
from edgekit_runtimes.engines.nvidia_faults import fault, wrong_build
from edgekit_runtimes.engines.onnxruntime import OnnxRuntimeEngine
from edgekit_runtimes.engines.providers import CPU, PROVIDERS, Provider
from tests.runtimes.engines.elsewhere import Elsewhere

GET = (
    "onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library"
)
LOAD = f"/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1193 {GET}"
CUDA_CALL = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:121 std::conditional_t<THRW, void, "
    "onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, ERRTYPE, const char*, "
    "const char*, int) [with ERRTYPE = cudaError; bool THRW = true; std::conditional_t<THRW, void, "
    "onnxruntime::common::Status> = void] "
)
SET_DEVICE = (
    " ; GPU=0 ; hostname=board ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; "
    "line=245 ; expr=cudaSetDevice(info_.device_id);"
)
NO_FILE = ": cannot open shared object file: No such file or directory"
TEXTS = {
    "nvinfer": f"{LOAD} libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.8{NO_FILE}",
    "nvinfer10": f"{LOAD} libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.10{NO_FILE}",
    "cublas": f"{LOAD} libonnxruntime_providers_cuda.so with error: libcublasLt.so.12{NO_FILE}",
    "cudnn": f"{LOAD} libonnxruntime_providers_cuda.so with error: libcudnn.so.9{NO_FILE}",
    "cudart": f"{LOAD} libonnxruntime_providers_cuda.so with error: libcurand.so.10{NO_FILE}",
    "old driver": (
        f"{CUDA_CALL}CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version{SET_DEVICE}"
    ),
    "no device": f"{CUDA_CALL}CUDA failure 100: no CUDA-capable device is detected{SET_DEVICE}",
    "ordinal": f"{CUDA_CALL}CUDA failure 101: invalid device ordinal{SET_DEVICE}",
    "kernel": (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'Add_15' Status "
        "Message: CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the device"
    ),
    "memory": "../rtSafe/safeRuntime.cpp (25) - Cuda Error in allocate: 2 (out of memory)",
    "arena": (
        "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:368 void* onnxruntime::BFCArena::AllocateRawInternal("
        "size_t, bool, onnxruntime::Stream*, bool, onnxruntime::WaitNotificationFn) Failed to allocate memory for "
        "requested buffer of size 15728896"
    ),
    "plugins": (
        "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:456 void onnxruntime::python::"
        "RegisterTensorRTPluginsAsCustomOps(onnxruntime::python::PySessionOptions&, const ProviderOptions&) Please "
        "install TensorRT libraries as mentioned in the GPU requirements page, make sure they're in the PATH or "
        "LD_LIBRARY_PATH, and that your GPU is supported."
    ),
    "cuda path": (
        "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:857 onnxruntime::python::"
        "CreateExecutionProviderInstance CUDA_PATH is set but CUDA wasnt able to be loaded. Please install the correct "
        "version of CUDA andcuDNN as mentioned in the GPU requirements page, make sure they're in the PATH, and that "
        "your GPU is supported."
    ),
}


@pytest.mark.parametrize(
    ("text", "expected", "elsewhere", "on_jetson"),
    [
        ("nvinfer", r"TensorRT 8 \(libnvinfer\.so\.8\)", "install TensorRT 8 ", "made for another JetPack"),
        ("nvinfer10", r"TensorRT 10 \(libnvinfer\.so\.10\)", "LD_LIBRARY_PATH", "nvidia-jetpack"),
        ("cublas", r"cuBLAS of CUDA 12 \(libcublasLt\.so\.12\)", r"onnxruntime-gpu\[cuda,cudnn\]", "nvidia-jetpack"),
        ("cudnn", r"cuDNN 9 \(libcudnn\.so\.9\)", r"onnxruntime-gpu\[cuda,cudnn\]", "nvidia-jetpack"),
        ("cudart", r"CUDA 10 \(libcurand\.so\.10\)", r"onnxruntime-gpu\[cuda,cudnn\]", "nvidia-jetpack"),
        ("old driver", "a driver at least as new", "update the NVIDIA driver", "comes with its JetPack"),
        ("no device", "a CUDA device that this user may open", "nvidia-smi", "usermod -aG video,render"),
        ("ordinal", "the number of a device that is there", "nvidia-smi lists", "the device 0 alone"),
        ("kernel", "for the compute capability of this GPU", "a newer onnxruntime-gpu", "NVIDIA's package index"),
        ("memory", "enough free memory on the GPU", "end other programs", "shares its memory with the system"),
        ("arena", "enough free memory on the GPU", "end other programs", "add swap"),
        ("plugins", "TensorRT of the version", "LD_LIBRARY_PATH", "nvidia-jetpack"),
        ("cuda path", "CUDA and cuDNN of the versions", "unset CUDA_PATH", "nvidia-jetpack"),
    ],
)
def test_each_broken_set_up_has_its_own_words(text: str, expected: str, elsewhere: str, on_jetson: str) -> None:
    for jetson, remedy in ((False, elsewhere), (True, on_jetson)):
        found = fault("tensorrt", "it cannot run here", TEXTS[text], jetson=jetson)
        assert isinstance(found, EnvironmentFault)
        with pytest.raises(
            EnvironmentFault, match=rf"it cannot run here: .*; expected .*{expected}[\s\S]*remedy: .*{remedy}"
        ):
            raise found


def test_what_nobody_knows_is_said_as_it_is() -> None:
    found = fault("cuda", "it cannot run here", "something\n  new", jetson=False)
    assert found.received == "it cannot run here: something new"
    assert found.remedy == "edgekit doctor tries every provider"


@pytest.mark.parametrize(
    ("installed", "jetson", "wrong", "remedy"),
    [
        (["numpy", "onnxruntime"], False, None, "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"),
        ([], False, None, "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"),
        (
            ["onnxruntime", "onnxruntime_gpu"],
            False,
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        ),
        (["onnxruntime"], True, None, "pip uninstall -y onnxruntime && pip install --index-url INDEX onnxruntime-gpu"),
        (
            ["onnxruntime-gpu", "onnxruntime"],
            True,
            "onnxruntime and onnxruntime-gpu are both installed",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install --index-url INDEX onnxruntime-gpu, where",
        ),
    ],
)
def test_the_wrong_wheel(installed: list[str], jetson: bool, wrong: str | None, remedy: str) -> None:
    found, mend = wrong_build(installed, jetson=jetson)
    assert (found or "").startswith(wrong or "")
    assert (found is None) == (wrong is None)
    assert mend.startswith(remedy)


def test_two_builds_are_named_when_the_provider_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia_faults, "wrong_build", lambda: ("onnxruntime and onnxruntime-gpu are both", "mend"))
    with pytest.raises(
        EnvironmentFault, match=r"has no CUDAExecutionProvider: onnxruntime and onnxruntime-gpu are both"
    ):
        Provider.named("cuda").check([CPU])


def test_an_error_of_the_library_reaches_the_user_in_words(elsewhere: type[Elsewhere], tiny: Path) -> None:
    elsewhere.fails = {PROVIDERS["cuda"]: TEXTS["cudnn"]}
    with pytest.raises(EnvironmentFault, match=r"expected cuDNN 9 \(libcudnn\.so\.9\)") as caught:
        OnnxRuntimeEngine(tiny, provider="cuda")
    assert caught.value.exit_code == 5


def test_a_silent_fallback_names_the_library_that_the_linker_misses(
    elsewhere: type[Elsewhere], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime opens the model on the CPU then, and says why on standard error only."""
    asked = []

    def missing(folder: Path, provider: str) -> tuple[str, ...]:
        asked.append((folder.name, provider))
        return (f"libcublasLt.so.12{NO_FILE}",)

    monkeypatch.setattr(nvidia, "missing_libraries", missing)
    elsewhere.absent = frozenset({PROVIDERS["cuda"]})
    wanted = (
        r"runs on CPUExecutionProvider instead of CUDAExecutionProvider: libcublasLt\.so\.12: .*expected cuBLAS of CUDA"
    )
    with pytest.raises(EnvironmentFault, match=wanted):
        OnnxRuntimeEngine(tiny, provider="cuda")
    assert asked == [("capi", "cuda")]
