"""TensorRT of ONNX Runtime: what its engines are built from, with which options, and where they are kept.

The file says the precision: an int8 artifact becomes an int8 engine with the bundle's own scales (see `symmetric`), one
in half precision an fp16 engine, any other an fp32 engine. What the file leaves in float32 stays float32, so that the
answers are those of the artifact; TensorRT would also take half precision there, which is faster and not what was
proved at conversion.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.engines import nvidia
from edgekit_runtimes.engines.symmetric import FORM, for_tensorrt

NO_TF32 = "NVIDIA_TF32_OVERRIDE"
"""Environment variable of NVIDIA's libraries; with 0 none of them rounds float32 to 10 bits of fraction. TensorRT does
by default, and ONNX Runtime has no option against it."""
_PROOF = "proved.json"


@dataclass(frozen=True)
class Build:
    """What an engine is built from.

    Attributes:
        precision: ``fp32``, ``fp16`` or ``int8``.
        model: The model in TensorRT's form; ``None`` when it is the file as it is.
        folder: Where its engines are kept.
        device: Number of the device.
    """

    precision: str
    model: bytes | None
    folder: Path
    device: str

    @property
    def built(self) -> bool:
        """Whether there is an engine in the folder."""
        return any(self.folder.glob("*.engine"))

    @property
    def proof(self) -> Path:
        """The file that says that the engine in the folder gave the original's answers here."""
        return self.folder / _PROOF

    @property
    def options(self) -> dict[str, str]:
        """Options of the execution provider."""
        flags = {
            "fp16": {"trt_fp16_enable": "1", "trt_layer_norm_fp32_fallback": "1"},
            "int8": {"trt_int8_enable": "1"},  # without a table: the Q/DQ nodes say what is int8
        }
        return {
            "device_id": self.device,
            **flags.get(self.precision, {}),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(self.folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(self.folder.parent),
        }


def prepare(path: Path, version: str, device: str) -> Build:
    """Read a model and find the folder of its engines.

    Args:
        path: The ``.onnx`` file. Its external data has been checked.
        version: Of ONNX Runtime; engines of another version are not used.
        device: Number of the device.

    Raises:
        ModelRefused: The file is damaged, or has no int8 form that TensorRT takes.
        EnvironmentFault: The folder cannot be made.
    """
    os.environ.setdefault(NO_TF32, "0")
    rewritten = for_tensorrt(path)
    return Build(rewritten.precision, rewritten.model, engine_cache(path, version, device), device)


def engine_cache(path: Path, version: str, device: str) -> Path:
    """Return the folder for TensorRT's engines of one model on one device, made if need be.

    It lies in the user's cache folder. Its name comes from the content of the model and of its external data, from the
    GPU and from the versions: TensorRT names its engines by the graph alone, and would run an old engine for a model
    with new weights; and an engine runs only on the kind of GPU and the TensorRT that built it.

    Raises:
        EnvironmentFault: It cannot be made.
    """
    from edgekit.bundle import file_sha256
    from edgekit_runtimes.engines.external_data import external_files

    parts = [file_sha256(file) for file in (path, *external_files(path))]
    gpu = nvidia.gpu(int(device))
    parts += [version, nvidia.tensorrt_version() or "", device, gpu.name if gpu else "", gpu.capability if gpu else ""]
    key = hashlib.sha256("\n".join([*parts, str(FORM), os.environ.get(NO_TF32, "")]).encode()).hexdigest()[:20]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "edgekit" / "tensorrt" / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"the cache folder {folder} cannot be made: {error.strerror}", remedy="export XDG_CACHE_HOME=FOLDER"
        ) from error
    return folder
