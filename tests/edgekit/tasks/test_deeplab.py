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
    """The class map of an integer model; enlarging photo and truth alike must keep the answer."""
    models = realpack / "models" / "ref"
    right = read_label_map(models / "bird_segmentation_mask.bmp")
    photo = read_image(models / "bird_segmentation.bmp")
    with open_engine(models / "deeplabv3_mnv2_dm05_pascal_quant.tflite", threads=1) as engine:
        (image,), (output,) = engine.inputs, engine.outputs
        spec = Spec(
            "semantic-segmentation",
            (TensorSpec("photo", (1, 513, 513, 3), layout="NHWC"),),
            (TensorSpec("classes", (1, 513, 513), output.dtype),),
            Preprocess(scale=1 / 128, mean=(1.0,)),
        )
        task = task_for(spec)
        assert isinstance(task, SemanticSegmentation)
        enlarged = np.repeat(np.repeat(photo, 2, axis=0), 2, axis=1)
        answers: list[SegmentationMap] = []
        for picture in (photo, enlarged):
            feeds = {image.name: task.encode(picture)["photo"]}
            classes = {"classes": engine.run(feeds)[output.name]}
            answers += task.decode(classes, [PictureSize(*picture.shape[:2])])
    scorer = task.scorer()
    truth = task.truth(spec, models / "bird_segmentation_mask.bmp", "bird")
    scorer.add(answers[0], SegmentationMap(np.zeros_like(right)), truth)
    scores = scorer.metrics()
    assert scores is not None
    assert np.mean(answers[0].classes == right) > 0.95
    assert scores[0].value > 2 * scores[1].value, "an answer without a bird is worth less"
    assert np.mean(answers[1].classes[::2, ::2] == right) > 0.95
