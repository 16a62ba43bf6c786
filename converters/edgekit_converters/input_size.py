"""The same network for smaller photos, where it allows that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgekit.errors import EdgeKitError, ModelRefused, UsageError
from edgekit.spec import Layout, Spec, TensorSpec
from edgekit_converters.request import Request
from edgekit_converters.sources import InputHint, Source, open_source

TASK = "image-classification"
Size = tuple[int, int]
"""Height and width in pixels."""
_SMALLEST_STEP, _LARGEST_STEP, _STEPS, _SMALLEST_SIDE = 4, 32, 8, 8


def sides(size: Size) -> str:
    """A size in words: ``160x120``."""
    return f"{size[0]}x{size[1]}"


def parse_sides(word: str) -> Size:
    """Height and width of ``160`` or ``160x120``. Raises UsageError."""
    height, separator, width = word.partition("x")
    words = (height, width if separator else height)
    if not all(side.isdecimal() and int(side) > 0 for side in words):
        raise UsageError(f"--resolution {word}", expected="a side in pixels, e.g. 160, or HEIGHTxWIDTH")
    return int(words[0]), int(words[1])


def sides_below(own: Size) -> tuple[Size, ...]:
    """Return smaller sizes of about the same shape down to half, largest first.

    Their sides are multiples of a power of two (16 pixels below 224): where every layer halves a side without a
    remainder, the network's grid lies on the photo as it did in training. (MobileNetV2 for 224 pixels is further from
    its answers at 180 pixels than at 176.)
    """
    step = _SMALLEST_STEP
    while step < _LARGEST_STEP and 2 * step * _STEPS <= min(own):
        step *= 2
    found = []
    for height in range((own[0] - 1) // step * step, own[0] // 2 - 1, -step):
        width = round(own[1] * height / own[0] / step) * step
        if min(height, width) >= _SMALLEST_SIDE and width < own[1]:
            found.append((height, width))
    return tuple(found)


def photo_size(tensors: Sequence[TensorSpec]) -> Size | None:
    """Height and width of the only photo among inputs; ``None`` where there is none, several, or no fixed size."""
    pictures = [tensor for tensor in tensors if tensor.layout is not None]
    if len(tensors) != 1 or len(pictures) != 1:
        return None
    sizes = pictures[0].shape[1:3] if pictures[0].layout == "NHWC" else pictures[0].shape[2:4]
    return None if sizes[0] is None or sizes[1] is None else (sizes[0], sizes[1])


def own_size(spec: Spec) -> Size | None:
    """Return the input size of a classifier of photos, or ``None`` for a model whose input size is not to be varied.

    Boxes and masks have another meaning, and another shape, at another size.
    """
    return photo_size(spec.inputs) if spec.task == TASK else None


def fitted(said: Spec | None, source: Source, meant: Size | None = None) -> Spec | None:
    """Return what the user said, for photos of the size that a source takes.

    Args:
        said: Meant for photos of the size of the input that it names.
        source: The open model.
        meant: What it is meant for where it names no input; ``None`` for the source's own size.
    """
    own = photo_size(source.inputs)
    if said is None or own is None:
        return said
    meant = _named_size(said) or meant
    return said if meant in (None, own) else scaled(said, meant, own)


def _named_size(said: Spec) -> Size | None:
    """Photo size of the only input that a spec names, whose layout it need not say."""
    if len(said.inputs) != 1 or len(said.inputs[0].shape) != 4:
        return None
    tensor = said.inputs[0]
    return photo_size([tensor if tensor.layout else replace(tensor, layout=_likely_layout(tensor))])


def scaled(said: Spec, own: Size, size: Size) -> Spec:
    """Return what the user said with the photos shrunk in the same measure before they are cut.

    A shorter side shrinks by the larger of two measures, so that it never gets shorter than what is cut out.
    """
    how = said.preprocess
    inputs = tuple(with_size(tensor, size) for tensor in said.inputs)
    if how is None or how.size is None:
        return said.replace(inputs=inputs)
    measures = [new / old for new, old in zip(size, own, strict=True)]
    if how.resize == "short-side":
        measures = [max(measures)] * 2
    height, width = (max(1, round(side * measure)) for side, measure in zip(how.size, measures, strict=True))
    return said.replace(inputs=inputs, preprocess=replace(how, size=(height, width)))


def open_at(request: Request, original: Source, size: Size) -> Source:
    """Open the original's network with another input size; the weights are the same.

    Args:
        request: Of the original.
        original: The open original, for photos of its own size.
        size: The new one.

    Raises:
        ModelRefused: The network is tied to its input size, or this kind of source says nothing of how it was built.
    """
    try:
        if original.framework == "keras":
            found = _keras_at(original, request, size)
        elif original.framework == "pytorch" and isinstance(request.model, str) and ":" in request.model:
            tensor = with_size(original.inputs[0], size)
            hints = (InputHint(tensor.shape, tensor.name, tensor.dtype),)
            found = open_source(request.model, replace(request.source, inputs=hints))
        else:
            raise ModelRefused("its file fixes the input size", expected="a Keras model or a PyTorch factory")
    except EdgeKitError as error:
        raise _fixed(size, error.received) from error
    if [tensor.shape for tensor in found.outputs] != [tensor.shape for tensor in original.outputs]:
        found.close()
        raise _fixed(size, "its outputs change their shape with it")
    return found


def _fixed(size: Size, reason: str) -> ModelRefused:
    return ModelRefused(f"not made: the model takes no {sides(size)} photos: {reason}")


def with_size(tensor: TensorSpec, size: Size) -> TensorSpec:
    """Return a photo's tensor with another height and width; any other as it is."""
    if tensor.layout is None and len(tensor.shape) != 4:
        return tensor
    if (tensor.layout or _likely_layout(tensor)) == "NHWC":
        return replace(tensor, shape=(tensor.shape[0], *size, tensor.shape[3]))
    return replace(tensor, shape=(*tensor.shape[:2], *size))


def _likely_layout(tensor: TensorSpec) -> Layout:
    return "NHWC" if tensor.shape[-1] in (1, 3) else "NCHW"


def _keras_at(original: Source, request: Request, size: Size) -> Source:
    """Clone the layers onto an input of the new size; weights that depend on it do not fit then."""
    from edgekit_converters.sources._quiet import import_keras
    from edgekit_converters.sources.keras import KerasSource

    keras = import_keras()
    assert isinstance(original, KerasSource)  # noqa: S101  the framework says so
    model = original.model
    shape = with_size(original.inputs[0], size).shape
    try:
        taken = keras.Input(batch_shape=shape, dtype=original.inputs[0].dtype, name=original.inputs[0].name)
        clone = keras.models.clone_model(model, input_tensors=taken)
        clone.set_weights(model.get_weights())
    except Exception as error:  # Keras raises what it likes; whatever it is, the network is tied to its size
        raise ModelRefused(
            str(error).strip().splitlines()[0][:120] if str(error).strip() else "Keras refused"
        ) from error
    return KerasSource(clone, replace(request.source, inputs=()), path=original.path)
