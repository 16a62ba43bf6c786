"""Preprocessing and size of a Hugging Face model for photos, from its image processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.errors import UsageError
from edgekit.spec import Interpolation, Preprocess, Spec
from edgekit_converters.sources import _hf_folder as layout
from edgekit_converters.sources._files import damaged
from edgekit_converters.sources._hf_offer import Offer, OpenModel
from edgekit_converters.sources._tensors import match_hints
from edgekit_converters.sources.base import SourceOptions

_FILTERS: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "area"}
"""Pillow's numbers."""
# Settings that change no pixel of an RGB photo, or that are read below.
_KNOWN = frozenset(
    (
        *("image_processor_type", "feature_extractor_type", "processor_class", "image_mean", "image_std", "size"),
        *("resample", "crop_size", "crop_pct", "do_resize", "do_center_crop", "do_rescale", "rescale_factor"),
        *("do_normalize", "do_flip_channel_order", "do_convert_rgb", "data_format", "input_data_format"),
        *("default_to_square", "return_tensors", "device", "disable_grouping", "backend"),
    )
)
CONVNEXT_STRETCHED = 384
"""From this size on ConvNeXT's processor stretches; below it resizes by ``crop_pct`` and crops."""


class Unknown(ValueError):
    """The processor does something that `Preprocess` cannot say."""


def offer_for_pictures(opened: OpenModel, task: str) -> Offer:
    """Read preprocessing and size of a model that takes photos.

    Args:
        opened: The model.
        task: Its task.

    Raises:
        UsageError: Nothing says the size of its photos.
        ModelRefused: Its image processor is missing or damaged.
    """
    from edgekit_converters.sources._torch_graph import Inputs

    layout.read_json(opened.folder / "preprocessor_config.json")
    try:
        processor = opened.transformers.AutoImageProcessor.from_pretrained(
            opened.folder, trust_remote_code=False, local_files_only=True
        )
        raw = processor.to_dict()
    except Exception as error:
        raise damaged(
            opened.folder / "preprocessor_config.json", error, expected="an image processor of transformers"
        ) from error
    spec, size = Spec(task), None
    notes: tuple[str, ...] = ()
    try:
        how, size = preprocess_of(raw)
        spec = spec.replace(preprocess=how)
    except Unknown as strange:
        spec = Spec()
        notes = (f"preprocessor_config.json asks for {strange}: say task and preprocessing in --spec",)
    shape = _picture_shape(opened.model, size, opened.options)
    return Offer(spec, Inputs(("pixel_values",), ("pixel_values",), (shape,), ("float32",)), {}, notes)


def _picture_shape(model: Any, size: tuple[int, int] | None, options: SourceOptions) -> tuple[int | None, ...]:
    hint = match_hints(["pixel_values"], options.inputs).get("pixel_values")
    if hint is not None:
        return hint.shape
    if size is None:
        side = getattr(model.config, "image_size", None)
        if side is None:
            raise UsageError(
                f"{type(model).__name__} does not say the size of its photos",
                expected="height and width",
                remedy="pass --input-shape 1,3,224,224",
            )
        size = (side, side) if isinstance(side, int) else (int(side[0]), int(side[1]))
    return (1, getattr(model.config, "num_channels", 3), *size)


def preprocess_of(raw: Mapping[str, Any]) -> tuple[Preprocess, tuple[int, int] | None]:
    """Read the settings of an image processor.

    Args:
        raw: ``to_dict()`` of the processor: its class's defaults are filled in.

    Returns:
        The preprocessing, and the height and width that it gives (``None`` where they follow the photo's).

    Raises:
        Unknown: Naming what cannot be said.
    """
    strange = [key for key, value in raw.items() if key not in _KNOWN and value not in (None, False)]
    if strange:
        raise Unknown(", ".join(f"{key} = {raw[key]!r}" for key in strange))
    resize, size, crop = _geometry(raw)
    final = _pair(raw["crop_size"]) if crop and raw.get("do_center_crop") else size
    if crop and not raw.get("do_center_crop"):  # ConvNeXT crops what crop_pct left
        edge = int(raw["size"]["shortest_edge"])
        final = (edge, edge)
    how = Preprocess(
        resize=resize,  # type: ignore[arg-type]  # one of Resize
        size=size,
        interpolation=_filter(raw) if resize != "none" else "bilinear",
        crop=crop,
        crop_floor=crop,
        color="bgr" if raw.get("do_flip_channel_order") else "rgb",
        scale=float(raw.get("rescale_factor") or 1 / 255) if raw.get("do_rescale") else 1.0,
        mean=_numbers(raw["image_mean"]) if raw.get("do_normalize") else (0.0,),
        std=_numbers(raw["image_std"]) if raw.get("do_normalize") else (1.0,),
    )
    return how, None if resize == "short-side" and not crop else final


def _geometry(raw: Mapping[str, Any]) -> tuple[str, tuple[int, int] | None, bool]:
    """How to resize, to what size, and whether to crop."""
    crop = bool(raw.get("do_center_crop"))
    if not raw.get("do_resize"):
        return "none", None, crop
    size = raw.get("size")
    if not isinstance(size, Mapping):
        raise Unknown(f"size = {size!r}")
    if set(size) == {"height", "width"}:
        return "stretch", _pair(size), crop
    if set(size) != {"shortest_edge"}:
        raise Unknown(f"size = {dict(size)!r}")
    edge = int(size["shortest_edge"])
    share = raw.get("crop_pct")
    if share is None:
        return "short-side", (edge, edge), crop
    if edge >= CONVNEXT_STRETCHED:
        return "stretch", (edge, edge), False
    larger = int(edge / float(share))
    return "short-side", (larger, larger), True


def _filter(raw: Mapping[str, Any]) -> Interpolation:
    number = raw.get("resample")
    if number is None or int(number) not in _FILTERS:
        raise Unknown(f"resample = {number!r}")
    return _FILTERS[int(number)]


def _pair(size: Any) -> tuple[int, int]:
    if not isinstance(size, Mapping) or set(size) != {"height", "width"}:
        raise Unknown(f"size = {size!r}")
    return int(size["height"]), int(size["width"])


def _numbers(values: Any) -> tuple[float, ...]:
    return (float(values),) if isinstance(values, (int, float)) else tuple(float(value) for value in values)
