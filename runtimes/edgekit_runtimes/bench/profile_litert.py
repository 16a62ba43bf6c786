"""LiteRT's profiler, which its Python interface leaves out and its C library has.

``libLiteRt.so`` of the package ``ai_edge_litert`` runs the model as a *compiled model* with profiling on and gives a
summary as text. XNNPACK's kernels are the ones that the interpreter uses. The C interface has changed between
versions: this runs in a process of its own, and what another version does not have is an error that says so.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import EnvironmentFault, MissingExtra
from edgekit_runtimes.bench.job import Target
from edgekit_runtimes.bench.measure import feeds_for
from edgekit_runtimes.bench.operators import Node, Profile
from edgekit_runtimes.engines.common import thread_count
from edgekit_runtimes.engines.litert import LiteRTEngine

WARMUP = 5
_CPU = 1
_WRITE = 1
_LAYOUT_BYTES = 68  # a word with the rank, eight sizes, eight strides
_ELEMENT_TYPE_BYTES = 4
_ROW = re.compile(
    r"^\s*(?P<kind>\S.*?)\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+(?P<percent>[\d.]+)%\s+[\d.]+%\s+[\d.]+\s+(?P<times>\d+)\s+(?P<name>\S.*)$"
)
_TOTAL = re.compile(r"^Timings \(microseconds\): count=\d+ (?:first=\d+ )?curr=(\d+)", re.MULTILINE)


def profile_tflite(target: Target, threads: int | None, runs: int) -> Profile:
    """Profile a ``.tflite`` file on the CPU.

    Raises:
        EnvironmentFault: The installed LiteRT has no profiler that can be reached.
    """
    feeds = feeds_for(target, threads)
    with LiteRTEngine(target.path, threads=threads) as engine:
        stored = [(info.quantize(feeds[info.name]), None in info.shape) for info in engine.inputs]
        version = engine.version
    model = _CompiledModel(_Library(), target.path, thread_count(threads))
    model.prepare(stored)
    for _ in range(WARMUP):
        model.run()
    model.start()
    start = perf_counter()
    for _ in range(runs):
        model.run()
    seconds = perf_counter() - start
    return read_summary(model.summary(), f"LiteRT {version}'s profiler", runs, seconds * 1000 / runs)


def read_summary(text: str, source: str, runs: int, run_ms: float) -> Profile:
    """Read the summary that LiteRT's profiler prints.

    Its milliseconds have three decimals, its percentages too: times are made from those and the total.

    Args:
        text: The summary.
        source: What to call the profiler.
        runs: Number of profiled runs.
        run_ms: Mean time of a run while profiling, measured outside.

    Raises:
        EnvironmentFault: It is of another form.
    """
    first, _, _ = text.partition(" Top by Computation Time ")
    total = _TOTAL.search(text)
    rows = [match for line in first.splitlines() if (match := _ROW.match(line))]
    if total is None or not rows:
        raise _not_available("its summary has another form")
    whole = int(total[1]) / runs / 1000
    nodes = [node for row in rows for node in _nodes(row, whole, runs)]
    return Profile(source, runs, run_ms, tuple(nodes))


def _nodes(row: re.Match[str], whole: float, runs: int) -> list[Node]:
    """One node, or several: those of one type and number in different parts of the graph share a row."""
    count = max(1, round(int(row["times"]) / runs))
    milliseconds = float(row["percent"]) / 100 * whole / count
    return [Node(_node_name(row["name"]), row["kind"].removeprefix("Delegate/"), milliseconds)] * count


def _node_name(text: str) -> str:
    """Turn ``[Delegate]:7`` into ``delegate node 7``."""
    kind, separator, number = text.rpartition(":")
    return f"{kind.strip('[]').lower()} node {number}" if separator and number.isdecimal() else text


def _not_available(why: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"LiteRT's operator profiler cannot be used here: {why}",
        expected="ai-edge-litert 2.3",
        remedy="install that version, or leave --operators out",
    )


class _Library:
    """Calls of the C library; a status other than 0 is an error."""

    def __init__(self) -> None:
        try:
            import ai_edge_litert
        except ModuleNotFoundError as error:
            raise MissingExtra(
                "profiling .tflite needs ai_edge_litert, which is not installed",
                remedy="pip install 'edgekit-ai[litert]'",
            ) from error
        path = Path(str(ai_edge_litert.__file__)).parent / "libLiteRt.so"
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise _not_available(f"{path.name} cannot be loaded") from error

    def call(self, function: str, *arguments: Any) -> None:
        try:
            status = getattr(self._library, f"LiteRt{function}")(*arguments)
        except AttributeError as error:
            raise _not_available(f"it has no LiteRt{function}") from error
        if status:
            raise _not_available(f"LiteRt{function} gave status {status}")

    def handle(self, function: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function whose last argument takes the handle that it makes."""
        made = ctypes.c_void_p()
        self.call(function, *arguments, ctypes.byref(made))
        return made


class _CompiledModel:
    """A model with its buffers and profiler. Never released: the process that profiles ends soon."""

    def __init__(self, library: _Library, path: Path, threads: int) -> None:
        self._library = library
        self._kept: list[object] = []
        self._environment = library.handle("CreateEnvironment", 0, None)
        self._model = library.handle("CreateModelFromFile", self._environment, str(path).encode())
        options = library.handle("CreateOptions")
        library.call("SetOptionsHardwareAccelerators", options, _CPU)
        for name, setting in (
            ("runtime_options_string", "enable_profiling = true"),
            ("xnnpack", f"num_threads = {threads}"),
        ):
            library.call("AddOpaqueOptions", options, self._opaque(name, setting))
        self._compiled = library.handle("CreateCompiledModel", self._environment, self._model, options)
        self._profiler = library.handle("CompiledModelGetProfiler", self._compiled)
        if not self._profiler:
            raise _not_available("it took no notice of the option enable_profiling")
        self._signature = library.handle("GetModelSignature", self._model, ctypes.c_size_t(0))
        self._inputs = self._outputs = (ctypes.c_void_p * 0)()

    def prepare(self, inputs: list[tuple[Array, bool]]) -> None:
        """Make the buffers and fill the inputs: arrays as stored, each with whether its shape is dynamic."""
        dynamic = any(resizes for _, resizes in inputs)
        for index, (array, resizes) in enumerate(inputs):
            if resizes:
                sizes = (ctypes.c_int * array.ndim)(*array.shape)
                self._library.call(
                    "CompiledModelResizeInputTensor", self._compiled, ctypes.c_size_t(0), ctypes.c_size_t(index), sizes,
                    ctypes.c_size_t(array.ndim),
                )  # fmt: skip
        self._inputs, self._outputs = self._buffers("Input", dynamic), self._buffers("Output", dynamic)
        if len(self._inputs) != len(inputs):
            raise _not_available("its first signature has other inputs")
        for buffer, (array, _) in zip(self._inputs, inputs, strict=True):
            self._fill(ctypes.c_void_p(buffer), np.ascontiguousarray(array))

    def run(self) -> None:
        self._library.call(
            "RunCompiledModel", self._compiled, ctypes.c_size_t(0),
            ctypes.c_size_t(len(self._inputs)), self._inputs, ctypes.c_size_t(len(self._outputs)), self._outputs,
        )  # fmt: skip

    def start(self) -> None:
        self._library.call("ResetProfiler", self._profiler)
        self._library.call("StartProfiler", self._profiler)

    def summary(self) -> str:
        self._library.call("StopProfiler", self._profiler)
        text = ctypes.c_char_p()
        self._library.call("GetProfileSummary", self._profiler, self._compiled, ctypes.byref(text))
        return (text.value or b"").decode("utf-8", "replace")

    def _opaque(self, name: str, setting: str) -> ctypes.c_void_p:
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        keep, text = kind(lambda _: None), ctypes.create_string_buffer(f"{setting}\n".encode())
        self._kept += [keep, text]
        return self._library.handle("CreateOpaqueOptions", name.encode(), ctypes.cast(text, ctypes.c_void_p), keep)

    def _layouts(self, side: str, count: int) -> list[bytes]:
        """Shapes as they are after resizing, in the library's form."""
        room = ctypes.create_string_buffer(_LAYOUT_BYTES * count)
        if side == "Output":
            self._library.call(
                "GetCompiledModelOutputTensorLayouts", self._compiled, ctypes.c_size_t(0), ctypes.c_size_t(count), room,
                ctypes.c_bool(True),
            )  # fmt: skip
        else:
            for index in range(count):
                self._library.call(
                    "GetCompiledModelInputTensorLayout", self._compiled, ctypes.c_size_t(0), ctypes.c_size_t(index),
                    ctypes.byref(room, index * _LAYOUT_BYTES),
                )  # fmt: skip
        return [room.raw[at : at + _LAYOUT_BYTES] for at in range(0, len(room), _LAYOUT_BYTES)]

    def _buffers(self, side: str, dynamic: bool) -> ctypes.Array[ctypes.c_void_p]:
        count = ctypes.c_size_t()
        self._library.call(f"GetNumSignature{side}s", self._signature, ctypes.byref(count))
        made = (ctypes.c_void_p * count.value)()
        layouts = self._layouts(side, count.value) if dynamic else []
        for number in range(count.value):
            index = ctypes.c_size_t(number)
            tensor = self._library.handle(f"GetSignature{side}TensorByIndex", self._signature, index)
            kind = ctypes.create_string_buffer(_ELEMENT_TYPE_BYTES + _LAYOUT_BYTES)
            self._library.call("GetRankedTensorType", tensor, kind)
            if layouts:
                ctypes.memmove(ctypes.byref(kind, _ELEMENT_TYPE_BYTES), layouts[number], _LAYOUT_BYTES)
            needs = self._library.handle(
                f"GetCompiledModel{side}BufferRequirements", self._compiled, ctypes.c_size_t(0), index
            )
            made[number] = self._library.handle(
                "CreateManagedTensorBufferFromRequirements", self._environment, kind, needs
            ).value
        return made

    def _fill(self, buffer: ctypes.c_void_p, array: Array) -> None:
        size = ctypes.c_size_t()
        self._library.call("GetTensorBufferPackedSize", buffer, ctypes.byref(size))
        if size.value != array.nbytes:
            raise _not_available(f"an input buffer has {size.value} bytes, the input {array.nbytes}")
        address = ctypes.c_void_p()
        self._library.call("LockTensorBuffer", buffer, ctypes.byref(address), _WRITE)
        ctypes.memmove(address, array.ctypes.data, array.nbytes)
        self._library.call("UnlockTensorBuffer", buffer)
