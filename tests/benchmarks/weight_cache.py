"""What XNNPACK's weight cache would bring the LiteRT engine, and what it does when something is wrong.

    EDGEKIT_DATA=... python tests/benchmarks/weight_cache.py [FILE.tflite ...] [--repeats 9] [--processes 4]

The cache keeps XNNPACK's packed weights in a file that processes share. LiteRT reaches it through its `CompiledModel`
only, which tells neither quantization parameters nor dynamic dimensions: an engine on it needs the interpreter too.
Measured, in processes of their own, interleaved, as medians, with one thread:

- milliseconds to load the model, and from the first import of LiteRT to the first answer;
- megabytes (proportional set size) of each of several processes that hold the model at once;
- the answer with a damaged cache file and with that of another model, the end of a process whose disk is full while
  it writes the cache, and an output of int64.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS = ("interpreter", "compiled model", "compiled model and cache")
SMALL_FILE = 100_000
DAMAGED = 4096

CHILD = """
import json, resource, signal, sys, time
import numpy as np
way, path, cache, limit = sys.argv[1:5]
if int(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
start = time.perf_counter()
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(path, num_threads=1)
entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
random = np.random.default_rng(0)
values = random.integers(0, 100, entry["shape"]).astype(entry["dtype"])
if way == "interpreter":
    loading = time.perf_counter()
    interpreter.allocate_tensors()
    loaded = time.perf_counter()
    interpreter.set_tensor(entry["index"], values)
    interpreter.invoke()
    answer = interpreter.get_tensor(result["index"])
else:
    del interpreter
    from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Options
    loading = time.perf_counter()
    options = Options(cpu_options=CpuOptions(num_threads=1, xnnpack_weight_cache_path=cache))
    model = CompiledModel.from_file(path, options=options)
    loaded = time.perf_counter()
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(values)
    model.run_by_index(0, inputs, outputs)
    answer = outputs[0].read(int(np.prod(result["shape"])), result["dtype"])
first = time.perf_counter()
print(json.dumps([1e3 * (loaded - loading), 1e3 * (first - start), answer.ravel().tolist()]), flush=True)
sys.stdin.readline()
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args()
    if "EDGEKIT_DATA" not in os.environ:
        sys.exit("EDGEKIT_DATA is not set")
    models = Path(os.environ["EDGEKIT_DATA"]) / "models" / "ref"
    files = options.files or [models / "mobilenet_v2_1.0_224_quant.tflite", models / "vww_96_float.tflite"]
    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            measure(file, Path(folder) / f"{number}.cache", options.repeats, options.processes)
        faults(models, Path(folder))


def measure(file: Path, cache: Path, repeats: int, processes: int) -> None:
    """Print the times and the memory of one model."""
    print(f"{file.name}, {file.stat().st_size / 1e6:.1f} MB")
    print(f"  writing the cache: load {figures(PEERS[2], file, cache)[0]:.1f} ms")
    taken: dict[str, list[list[float]]] = {peer: [] for peer in PEERS}
    for _ in range(repeats):
        for peer, rows in taken.items():
            rows.append(figures(peer, file, cache))
    for peer, rows in taken.items():
        load, first = (statistics.median(column) for column in zip(*rows, strict=True))
        memory = statistics.mean(sizes(peer, file, cache, processes))
        print(f"  {peer:<26}load {load:6.1f} ms  first answer {first:6.1f} ms  {memory:6.1f} MB each of {processes}")


def faults(models: Path, folder: Path) -> None:
    """Print what happens with a foreign cache, a full disk and an integer type that Python cannot read."""
    one, other = models / "vww_96_float.tflite", models / "kws_ref_model_float32.tflite"
    cache = folder / "good.cache"
    expected = run(PEERS[2], one, cache)[1]
    damaged = folder / "damaged.cache"
    content = bytearray(cache.read_bytes())
    content[len(content) // 2 : len(content) // 2 + DAMAGED] = os.urandom(DAMAGED)
    damaged.write_bytes(content)
    answers = {
        "a damaged cache file": (run(PEERS[2], one, damaged)[1], expected),
        "the cache file of another model": (run(PEERS[2], other, cache)[1], run(PEERS[0], other, cache)[1]),
    }
    for what, (found, wanted) in answers.items():
        print(f"{what}: {'the same answer' if found == wanted else 'another answer, without an error'}")
    for what, file, limit in (
        ("a full disk", one, SMALL_FILE),
        ("an output of int64", models / "deeplabv3_mnv2_dm05_pascal_quant.tflite", 0),
    ):
        with start(PEERS[2], file, folder / f"{what}.cache", limit) as child:
            _, said = child.communicate()
            end = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit code {child.returncode}"
            lines = [line for line in said.splitlines() if line.strip() and not line.startswith("INFO")]
            print(f"{what}: {end}: {lines[-1] if lines else 'says nothing'}")


def figures(peer: str, file: Path, cache: Path) -> list[float]:
    """Milliseconds to load, and to the first answer."""
    return run(peer, file, cache)[0]


def run(peer: str, file: Path, cache: Path) -> tuple[list[float], list[float]]:
    """Times and answer of one process."""
    with start(peer, file, cache) as child:
        out, said = child.communicate()
    if child.returncode:
        sys.exit(f"{peer} on {file}: exit code {child.returncode}\n{said}")
    load, first, answer = json.loads(out)
    return [load, first], answer


def sizes(peer: str, file: Path, cache: Path, processes: int) -> list[float]:
    """Proportional set size in megabytes of each of several processes that hold the model at once."""
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(start(peer, file, cache)) for _ in range(processes)]
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        rollups = [Path(f"/proc/{child.pid}/smaps_rollup").read_text(encoding="ascii") for child in children]
        for child in children:
            child.communicate()
    return [
        int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1]) / 1e3 for text in rollups
    ]


def start(peer: str, file: Path, cache: Path, limit: int = 0) -> subprocess.Popen[str]:
    """Start a process that loads and runs a model, and waits for its standard input to end."""
    path = str(cache) if peer == PEERS[2] else ""
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", CHILD, peer, str(file), path, str(limit)]
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


if __name__ == "__main__":
    main()
