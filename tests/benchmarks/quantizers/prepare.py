"""Write a network's float artifacts, its encoded samples and the original's answers; run as a child process.

    python -m tests.benchmarks.quantizers.prepare NAME FOLDER [--limit 0] [--varied 512]

Everything goes the way of `edgekit convert`, so that all quantizers start from the files and the samples that
edgekit itself starts from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array, open_engine
from edgekit.spec import Spec
from edgekit.tasks import task_for
from edgekit_converters.api import build_request
from edgekit_converters.prepare import prepare as read_data
from edgekit_converters.progress import Silent, Stages
from edgekit_converters.request import Request
from edgekit_converters.sources import open_source
from edgekit_converters.specs import wished_layouts, written_spec
from edgekit_converters.store import SampleStore
from edgekit_converters.targets import Exported, ExportOptions, export
from tests.benchmarks.quantizers.networks import Network, named
from tests.benchmarks.quantizers.workspace import ABOUT

FORMATS = ("tflite", "onnx")
TO_LAYOUT = {"NHWC": (0, 2, 3, 1), "NCHW": (0, 3, 1, 2)}


def request_of(network: Network, folder: Path) -> Request:
    """The request that `edgekit convert` makes of the network's words."""
    from edgekit_converters.cli import convert

    words = [*network.arguments(folder), "--recipe", "int8", "-o", str(folder / "unused")]
    options: dict[str, Any] = dict(convert.make_context("convert", words).params)
    options.pop("as_json")
    return build_request(options.pop("source"), options.pop("output"), **options)


def write(network: Network, folder: Path, *, limit: int, varied: int) -> None:
    """Write the workspace.

    Args:
        network: The network.
        folder: An empty folder.
        limit: Calibration and evaluation samples at most; 0 takes all.
        varied: Number of samples, all different, made of the calibration samples.
    """
    data = folder / "data"
    data.mkdir()
    request = request_of(network, data)
    with tempfile.TemporaryDirectory() as scratch, open_source(request.model, request.source) as source:
        spec = written_spec(request.spec, source, request.labels, request.tokenizer, folder)
        prepared = read_data(request, source, task_for(spec, folder), Stages(Silent()), Path(scratch))
        assert prepared.calibration is not None
        wishes = wished_layouts(request.spec, source)
        exported = {form: export(source, form, folder / f"float.{form}", ExportOptions(wishes)) for form in FORMATS}
        calibration, evaluation = _feeds(prepared.calibration, limit), _feeds(prepared.evaluation, limit)
        counts = {"calibration": _store(folder, "calibration", calibration)}
        counts["evaluation"] = _store(folder, "evaluation", evaluation)
        if varied:
            counts["varied"] = _store(folder, "varied", _varied(list(_feeds(prepared.calibration, limit)), varied))
        _store_answers(folder, prepared.evaluation, limit)
        first = next(_feeds(prepared.calibration, 1))
        inputs = [{"name": name, "dtype": str(a.dtype), "shape": a.shape} for name, a in first.items()]
    about = {
        "name": network.name,
        "attention": network.attention,
        "inputs": inputs,
        "counts": counts,
        "formats": {form: _bound(folder / f"float.{form}", spec, made) for form, made in exported.items()},
    }
    (folder / ABOUT).write_text(json.dumps({**about, "digest": _digest(folder, about)}, indent=1), encoding="utf-8")


def _feeds(store: SampleStore, limit: int) -> Iterator[dict[str, Array]]:
    return (store[number].feeds for number in range(min(limit or len(store), len(store))))


def _store(folder: Path, part: str, samples: Iterable[dict[str, Array]]) -> int:
    """Append the samples' bytes to one file an input; return how many there were."""
    count = 0
    for sample in samples:
        for place, array in enumerate(sample.values()):
            with (folder / f"{part}.{place}.bin").open("ab") as stream:
                stream.write(np.ascontiguousarray(array).tobytes())
        count += 1
    return count


def _store_answers(folder: Path, store: SampleStore, limit: int) -> None:
    count = min(limit or len(store), len(store))
    answers = [np.concatenate([a.reshape(1, -1) for a in store[i].outputs.values()], axis=1) for i in range(count)]
    np.save(folder / "reference.npy", np.concatenate(answers).astype(np.float32))
    np.save(folder / "labels.npy", np.array([-1 if n is None else n for n in store.truths()[:count]], np.int64))


def _varied(samples: Sequence[dict[str, Array]], count: int) -> Iterator[dict[str, Array]]:
    """Photos again and again, each time cropped, mirrored and made noisy in another way."""
    import cv2

    generator = np.random.default_rng(0)
    for number in range(count):
        ((name, photo),) = samples[number % len(samples)].items()
        first = photo.shape[1] == 3
        picture = np.ascontiguousarray(photo[0].transpose(1, 2, 0) if first else photo[0])
        height, width = picture.shape[:2]
        side = int(generator.integers(height * 3 // 4, height + 1))
        top, left = generator.integers(0, height - side + 1), generator.integers(0, width - side + 1)
        picture = cv2.resize(picture[top : top + side, left : left + side], (width, height))
        if generator.random() < 0.5:
            picture = picture[:, ::-1]
        picture = (picture + generator.normal(0, 0.02, picture.shape)).astype(np.float32)
        yield {name: np.ascontiguousarray(picture.transpose(2, 0, 1) if first else picture)[None]}


def _bound(path: Path, spec: Spec, exported: Exported) -> list[dict[str, Any]]:
    """Tensor name, transpose and dtype of every input of an artifact."""
    with open_engine(path) as engine:
        dtypes = {info.name: info.dtype for info in engine.inputs}
    bound = []
    for tensor, name, layout in zip(spec.inputs, exported.inputs, exported.layouts, strict=True):
        axes = TO_LAYOUT[layout] if layout and tensor.layout and layout != tensor.layout else None
        bound.append({"tensor": name, "axes": axes, "dtype": dtypes[name]})
    return bound


def _digest(folder: Path, about: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([about["counts"], about["inputs"]]).encode())
    for path in sorted(folder.iterdir()):
        if path.suffix in (".tflite", ".bin", ".npy"):
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    digest.update(_onnx_contents(folder / "float.onnx"))
    return digest.hexdigest()


def _onnx_contents(path: Path) -> bytes:
    """Operators in order and weights, without names: the exporters number them otherwise from run to run."""
    import onnx

    graph = onnx.load(path).graph
    weights = sorted(hashlib.sha256(tensor.raw_data).hexdigest() for tensor in graph.initializer)
    return " ".join([node.op_type for node in graph.node] + weights).encode()


def main() -> None:
    """Prepare one network as `runner` asks for it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--varied", type=int, default=0)
    options = parser.parse_args()
    write(named(options.name), options.folder, limit=options.limit, varied=options.varied)


if __name__ == "__main__":
    main()
