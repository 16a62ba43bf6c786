"""Named preprocessing that many published models share."""

from __future__ import annotations

from edgekit.errors import UsageError
from edgekit.sound import encoding as sound
from edgekit.spec import Preprocess, Spec, TextEncoding

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_LETTERBOX = Preprocess("letterbox", antialias=False, scale=1 / 255)

PRESETS: dict[str, tuple[str, Spec]] = {
    "imagenet": (
        "torchvision classifiers: short side 256 bilinear, centre crop, ImageNet mean and std",
        Spec(
            "image-classification",
            preprocess=Preprocess(
                "short-side", (256, 256), crop=True, scale=1 / 255, mean=_IMAGENET_MEAN, std=_IMAGENET_STD
            ),
        ),
    ),
    "efficientnet-lite": (
        "EfficientNet-Lite: short side 256 bicubic, centre crop, (x - 127) / 128",
        Spec(
            "image-classification",
            preprocess=Preprocess("short-side", (256, 256), "bicubic", crop=True, mean=(127.0,), std=(128.0,)),
        ),
    ),
    "unit": ("stretched to the input, 0..1", Spec("image-classification", preprocess=Preprocess(scale=1 / 255))),
    "minus-one-one": (
        "stretched to the input, -1..1 (Keras MobileNet, Inception, Xception)",
        Spec("image-classification", preprocess=Preprocess(scale=1 / 127.5, mean=(1.0,))),
    ),
    "raw": (
        "stretched to the input, pixels 0..255 (models that scale inside: EfficientNet, ConvNeXt of Keras)",
        Spec("image-classification", preprocess=Preprocess()),
    ),
    "yolov5": (
        "YOLO v5 and v7 detectors: letterbox, 0..1",
        Spec("object-detection", preprocess=_LETTERBOX, options={"head": "yolov5"}),
    ),
    "yolov8": (
        "YOLO v8, v9 and v11 detectors: letterbox, 0..1",
        Spec("object-detection", preprocess=_LETTERBOX, options={"head": "yolov8", "iou": 0.7}),
    ),
    "yolov10": (
        "YOLO v10 detectors: letterbox, 0..1",
        Spec("object-detection", preprocess=_LETTERBOX, options={"head": "yolov10"}),
    ),
    "fastestdet": (
        "FastestDet: stretched to the input, BGR, 0..1",
        Spec("object-detection", preprocess=Preprocess(color="bgr", scale=1 / 255), options={"head": "fastestdet"}),
    ),
    "segmentation": (
        "torchvision's DeepLab, FCN and LR-ASPP, SegFormer: stretched, ImageNet mean and std, a class for each pixel",
        Spec(
            "semantic-segmentation",
            preprocess=Preprocess(scale=1 / 255, mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
        ),
    ),
    "yolo-seg": (
        "YOLOv8-seg and later: letterboxed, 0..1, boxes with masks",
        Spec("instance-segmentation", preprocess=_LETTERBOX, options={"form": "yolo-seg"}),
    ),
    "yolo-pose": (
        "YOLOv8-pose and later: letterboxed, 0..1, people with 17 points",
        Spec("keypoints", preprocess=_LETTERBOX, options={"form": "yolo-pose", "threshold": 0.25}),
    ),
    "movenet": (
        "MoveNet: letterboxed in black, pixels 0..255, one person with 17 points",
        Spec(
            "keypoints",
            preprocess=Preprocess("letterbox", antialias=False, pad_value=0),
            options={"form": "points", "order": "yx"},
        ),
    ),
    "tokens": ("sentences through a tokenizer.json (--tokenizer)", Spec("text-classification")),
    "text-generation": ("prompts through a tokenizer.json (--tokenizer) to a decoder", Spec("text-generation")),
    "mlperf-tiny-kws": (
        "words in a second of sound at 16 kHz: the 49 x 10 MFCC of tf.signal and MLPerf Tiny",
        Spec("keyword-spotting", sound=sound.MLPERF_TINY_KWS),
    ),
    "librosa-mfcc": (
        "words in a second of sound at 16 kHz: librosa's 32 x 12 MFCC",
        Spec("keyword-spotting", sound=sound.LIBROSA_MFCC),
    ),
    "ast": ("audio spectrogram transformers: Kaldi's 1024 x 128", Spec("audio-classification", sound=sound.AST)),
    "wav2vec2": (
        "speech to text from samples at 16 kHz, 10 s at a time (Wav2Vec2, HuBERT)",
        Spec("speech-to-text", sound=sound.WAV2VEC2),
    ),
    "question-answering": (
        "BERT-family span heads: windows of 384 tokens (--tokenizer)",
        Spec("question-answering", text=TextEncoding("tokenizer.json", 384)),
    ),
    "token-classification": (
        "BERT-family taggers: windows of 128 tokens (--tokenizer, --labels O, B-PER, …)",
        Spec("token-classification", text=TextEncoding("tokenizer.json")),
    ),
    "tensors": ("arrays as they are (.npz, .npy)", Spec("tensors")),
}


def preset(name: str) -> Spec:
    """Return a preset as a spec without inputs and outputs. Raises UsageError for an unknown name."""
    if name not in PRESETS:
        raise UsageError(f"preset {name!r}", expected=", ".join(PRESETS))
    return PRESETS[name][1]
