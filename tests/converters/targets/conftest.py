"""Small source models that the target tests share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.binding import transpose_layout
from edgekit.engine import Array, Feeds, open_engine
from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source
from edgekit_converters.sources._quiet import import_keras, import_tensorflow, import_torch
from edgekit_converters.targets import Exported
from edgekit_converters.targets.binding import sample_feeds


@pytest.fixture(scope="session")
def keras_source() -> Source:
    """Picture and token ids to two outputs of one shape."""
    keras = import_keras()
    keras.utils.set_random_seed(3)
    picture = keras.Input((12, 12, 3), name="picture")
    ids = keras.Input((5,), dtype="int32", name="ids")
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(picture))
    features += keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(10, 8)(ids))
    answers = [keras.layers.Dense(4, name=name)(features) for name in ("zeta", "alpha")]
    return open_source(keras.Model([picture, ids], answers))


@pytest.fixture(scope="session")
def torch_source() -> Source:
    """The same in PyTorch: channels first, int64 ids, and a feature map beside the two outputs."""
    torch = import_torch()
    torch.manual_seed(3)

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3)
            self.embed = torch.nn.Embedding(10, 8)
            self.zeta, self.alpha = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)

        def forward(self, picture: Any, ids: Any) -> Mapping[str, Any]:
            maps = torch.relu(self.conv(picture))
            features = maps.mean((2, 3)) + self.embed(ids).mean(1)
            return {"zeta": self.zeta(features), "alpha": self.alpha(features), "maps": maps}

    hints = (InputHint((None, 3, 12, 12), "picture"), InputHint((None, 5), "ids", "int64"))
    return open_source(Net(), SourceOptions(inputs=hints))


@pytest.fixture(scope="session")
def saved_model_source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A SavedModel whose signature names sort otherwise than its function's arguments."""
    tensorflow = import_tensorflow()
    module = tensorflow.Module()
    module.kernel = tensorflow.Variable(np.random.default_rng(3).normal(size=(3, 3, 3, 4)).astype("float32"))

    @tensorflow.function(input_signature=[tensorflow.TensorSpec((None, 8, 8, 3), name="picture")])  # type: ignore[untyped-decorator,unused-ignore]
    def serve(picture: Any) -> Mapping[str, Any]:
        maps = tensorflow.nn.conv2d(picture, module.kernel, 1, "SAME")
        return {"score": tensorflow.reduce_mean(maps, [1, 2]), "peak": tensorflow.reduce_max(maps, [1, 2])}

    folder = tmp_path_factory.mktemp("saved") / "model"
    tensorflow.saved_model.save(module, str(folder), signatures=serve)
    return open_source(folder)


def errors(source: Source, path: Path, exported: Exported, batch: int) -> dict[str, float]:
    """Relative L2 of every output between the source and an artifact, on one batch."""
    feeds = sample_feeds(source, batch, seed=11)
    with open_engine(path) as engine:
        given = engine.run(_laid_out(source, exported, feeds))
    wanted = source.run(feeds)
    return {
        spec.name: float(np.linalg.norm(wanted[spec.name] - given[name]) / np.linalg.norm(wanted[spec.name]))
        for spec, name in zip(source.outputs, exported.outputs, strict=True)
    }


def _laid_out(source: Source, exported: Exported, feeds: Feeds) -> dict[str, Array]:
    return {
        name: transpose_layout(feeds[spec.name], spec.layout, layout)
        for spec, name, layout in zip(source.inputs, exported.inputs, exported.layouts, strict=True)
    }
