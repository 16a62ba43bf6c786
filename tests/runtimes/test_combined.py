"""Several bundles on the same inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.errors import DataRefused, UsageError
from edgekit_runtimes.combined import Combined, load_together
from edgekit_runtimes.inputs.items import items_for
from edgekit_runtimes.pipeline import answered
from edgekit_runtimes.predictor import load

Maker = Callable[..., Bundle]


@pytest.fixture(scope="module")
def bundles(person_maker: Maker, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A float and an int8 network under two names."""
    folder = tmp_path_factory.mktemp("combined")
    float_first = person_maker(folder / "exact", name="exact", latency_ms=[1.0, 2.0])
    int8_first = person_maker(folder / "fast", name="fast", latency_ms=[2.0, 1.0])
    return [float_first.path, int8_first.path]


def test_each_bundle_answers_as_it_does_alone(bundles: list[Path], photos: list[Path]) -> None:
    with load_together(bundles) as together:
        found = together.predict_batch(photos)
    for name, path in zip(("exact", "fast"), bundles, strict=True):
        with load(path) as alone:
            assert [r.results[name] for r in found if isinstance(r, Combined)] == alone.predict_batch(photos)


def test_many_inputs_go_through_the_pipeline_in_order(bundles: list[Path], photos: list[Path]) -> None:
    words = [str(photo) for photo in photos] * 3
    with load_together(bundles) as together:
        spec = together.bundle.spec
        outcomes = list(answered(together, items_for(spec, [*words, "nothing.jpg"]), batch=2))
        single = [together.predict(word) for word in words]
    assert [outcome.result for outcome in outcomes[:-1]] == single
    assert isinstance(outcomes[-1].error, DataRefused)


def test_a_photo_is_read_once(bundles: list[Path], photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit import images
    from edgekit.tasks import picture

    read: list[Path] = []
    real = images.read_image

    def counted(path: Path, **options: Any) -> Any:
        read.append(path)
        return real(path, **options)

    monkeypatch.setattr(picture, "read_image", counted)
    with load_together(bundles) as together:
        together.predict(photos[0])
    assert read == [photos[0]]


def test_names_must_differ_and_inputs_agree(bundles: list[Path], detector_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="two bundles named exact"):
        load_together([bundles[0], bundles[0]])
    with pytest.raises(UsageError, match=r"different inputs \(exact: picture, model: arrays\)"):
        load_together([bundles[0], detector_bundle.path])


def test_results_are_drawn_one_over_the_other() -> None:
    class Painted:
        def __init__(self, value: int) -> None:
            self.value = value

        def to_dict(self) -> dict[str, Any]:
            return {"value": self.value}

        def draw(self, canvas: Any) -> Any:
            return canvas * 2 + self.value

    canvas = np.zeros((2, 2, 3), np.uint8)
    both = Combined({"a": Painted(1), "b": Painted(4)})
    assert both.draw(canvas)[0, 0, 0] == 6
    assert both.to_dict() == {"a": {"value": 1}, "b": {"value": 4}}


def test_the_command_runs_both(
    bundles: list[Path], photos: list[Path], edgekit_command: Callable[..., CompletedProcess[str]]
) -> None:
    words = ["run", str(bundles[0]), "--with", str(bundles[1]), str(photos[0]), "--format", "jsonl"]
    done = edgekit_command(*words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    assert set(result) == {"exact", "fast"}
    assert result["exact"]["labels"][0]["name"] in ("nobody", "person")
    assert done.stderr.count(" on litert ") == 2
