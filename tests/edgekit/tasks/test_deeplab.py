"""DeepLabV3 as others converted it, on a photo whose right answer they give."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit.engine import open_engine
from edgekit.images import read_image
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import task_for
from edgekit.tasks.label_maps import read_label_map
from edgekit.tasks.picture import PictureSize
from edgekit.tasks.semantic_segmentation import SegmentationMap, SemanticSegmentation


def test_the_bird_is_found_where_coral_says_it_is(realpack: Path) -> None:
    """The class map of an integer model; a photo twice as large has the same answer at its size."""
    models = realpack / "models" / "ref"
    right = read_label_map(models / "bird_segmentation_mask.bmp")
    photo = read_image(models / "bird_segmentation.bmp")
    with open_engine(models / "deeplabv3_mnv2_dm05_pascal_quant.tflite", threads=1) as engine:
        (image,), (output,) = engine.inputs, engine.outputs
        spec = Spec(
            "semantic-segmentation",
            (TensorSpec("photo", (1, 513, 513, 3), layout="NHWC"),),
            (TensorSpec("classes", (1, 513, 513), output.dtype),),
            Preprocess(interpolation="area", scale=1 / 128, mean=(1.0,)),
        )
        task = task_for(spec)
        assert isinstance(task, SemanticSegmentation)
        enlarged = np.repeat(np.repeat(photo, 2, axis=0), 2, axis=1)
        answers: list[SegmentationMap] = []
        for picture in (photo, enlarged):
            feeds = {image.name: task.encode(picture)["photo"]}
            classes = {"classes": engine.run(feeds)[output.name]}
            answers += task.decode(classes, [PictureSize(*picture.shape[:2])])
    found, bird = answers[0].classes == 3, right == 3
    assert (found & bird).sum() / (found | bird).sum() > 0.75
    assert np.mean(answers[0].classes == right) > 0.95
    assert np.array_equal(answers[1].classes[::2, ::2], answers[0].classes)
    assert answers[1].classes.shape == (1026, 1026)
