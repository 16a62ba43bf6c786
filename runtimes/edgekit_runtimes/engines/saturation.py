"""Whether ONNX Runtime's int8 sums are exact on this CPU.

x86-64 CPUs with AVX2 or AVX-512 but without VNNI multiply uint8 by int8 with ``vpmaddubsw``, which adds two products
in 16 bits: 2 * 255 * 127 does not fit, and the sum saturates. ONNX Runtime takes exact, slower instructions where the
session option ``session.x64quantprecision`` is set, but on CPUs with VNNI, too, where the fast ones were exact
(MobileNetV2 in int8: 1.7 ms become 4.1 ms).

So it is asked for a product that tells. What the CPU says of itself is no substitute: inside an emulator
``/proc/cpuinfo`` shows the flags of the host, numpy knows nothing of AVX-VNNI (on CPUs without AVX-512), and the
choice of instructions is the library's.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

X64_QUANT_PRECISION = "session.x64quantprecision"
"""Session option for exact int8 sums on x86-64."""

PROBE = (
    b"\x08\x05\x3aT\x0a\x18\x0a\x01a\x0a\x01b\x12\x01y\x22\x0dMatMulInteger\x12\x01g\x2a\x0f\x08\x04\x08\x01\x10\x03"
    b"\x42\x01b\x4a\x04\x7f\x7f\x7f\x7fZ\x11\x0a\x01a\x12\x0c\x0a\x0a\x08\x02\x12\x06\x0a\x00\x0a\x02\x08\x04b\x11\x0a"
    b"\x01y\x12\x0c\x0a\x0a\x08\x06\x12\x06\x0a\x00\x0a\x02\x08\x01\x42\x04\x0a\x00\x10\x0a"
)
"""An ONNX file, written out because ``onnx`` is not there on a device: ``y = MatMulInteger(a, b)``, ``a`` uint8 of any
number of rows and 4 columns, ``b`` int8 of shape ``[4, 1]`` and full of 127."""

_EXACT = 4 * 255 * 127
_FATAL_ONLY = 4


def int8_saturates(library: Any) -> bool:
    """Tell whether int8 sums saturate here while `X64_QUANT_PRECISION` is not set. A millisecond, once a process.

    Args:
        library: The imported ``onnxruntime``.

    Returns:
        True also where the library cannot run the probe, as a build with few operators: the exact instructions may be
        slower than need be, never wrong.
    """
    try:
        return _probed(library)
    except Exception:  # its errors share no base class below Exception
        return True


@functools.cache
def _probed(library: Any) -> bool:
    options = library.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    session = library.InferenceSession(PROBE, options, providers=["CPUExecutionProvider"])
    # One row and several are computed by different instructions.
    sums = [session.run(["y"], {"a": np.full((rows, 4), 255, np.uint8)})[0] for rows in (1, 8)]
    return any(bool((total != _EXACT).any()) for total in sums)
