import copy
import pickle  # noqa: TID251  exercised on our own objects only
from typing import Any

import pytest

from edgekit import errors
from edgekit.errors import EdgeKitError, ModelRefused

CODES = {
    "UsageError": 2,
    "InputRefused": 3,
    "ModelRefused": 3,
    "DataRefused": 3,
    "SpecRefused": 3,
    "BundleRefused": 3,
    "QualityError": 4,
    "EnvironmentFault": 5,
    "MissingExtra": 5,
    "PartialFailure": 6,
}


def test_every_error_has_its_documented_code() -> None:
    found: dict[str, int] = {}
    for name in errors.__all__:
        kind: Any = getattr(errors, name)
        if kind is not EdgeKitError:
            found[name] = kind.exit_code
    assert found == CODES


def test_message_says_received_expected_and_remedy() -> None:
    error = ModelRefused("a.onnx has 0 bytes", expected="a model", remedy="export it again")
    assert str(error) == "a.onnx has 0 bytes; expected a model\n  remedy: export it again"


@pytest.mark.parametrize("clone", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_keep_their_parts_across_processes(clone: Any) -> None:
    again = clone(ModelRefused("x", expected="y", remedy="z"))
    assert (type(again), again.received, again.expected, again.remedy) == (ModelRefused, "x", "y", "z")
