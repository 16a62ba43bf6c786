"""PyTorch models: factories with weights, exported programs, live modules and, if trusted, pickled modules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgekit.engine import Array, Feeds
from edgekit.errors import EdgeKitError, ModelRefused, UsageError
from edgekit.spec import TensorSpec
from edgekit_converters.references import load_reference
from edgekit_converters.sources._files import existing, first_line, size_of
from edgekit_converters.sources._original_size import at_own_size, read_size
from edgekit_converters.sources._quiet import import_torch
from edgekit_converters.sources._tensors import match_hints, ordered_feeds, refine_shape, to_answer
from edgekit_converters.sources.base import Source, SourceOptions

if TYPE_CHECKING:
    from edgekit_converters.sources._torch_graph import Exportable, Inputs

FACTORY = "package.module:factory or path/file.py:factory, a callable that returns a torch.nn.Module"

# Names of factories that say nothing about the model: its file's name is the better one.
PLAIN_NAMES = ("build", "build_model", "create", "create_model", "factory", "get_model", "make", "make_model", "model")


class PyTorchSource(Source):
    """An open PyTorch model.

    Attributes:
        exportable: Module for ``torch.export``: takes one tensor for each of ``inputs`` by position, returns a tuple
            with one for each of ``outputs``.
        example_inputs: Tensors to trace with, a batch of 1.
        example_kwargs: Always empty: every input goes by position.
    """

    framework: ClassVar[str] = "pytorch"
    exportable: Any
    example_inputs: tuple[Any, ...]
    example_kwargs: dict[str, Any]

    def __init__(
        self,
        exportable: Exportable,
        inputs: Inputs,
        *,
        name: str,
        path: Path | None = None,
        notes: tuple[str, ...] = (),
        output_names: tuple[str, ...] | None = None,
    ) -> None:
        self.exportable = exportable
        self.name, self.path, self.notes = name, path, notes
        self._inputs = inputs
        self.example_inputs, self.example_kwargs = inputs.examples(1), {}
        self._training = [(module, module.training) for module in exportable.modules()]
        for module, _ in self._training:
            module.training = False
        self._describe(output_names)
        self.parameters = sum(parameter.numel() for parameter in exportable.parameters())
        state = exportable.state_dict().values()
        self.size_bytes = size_of(path) if path else sum(item.nbytes for item in state)

    def _describe(self, output_names: tuple[str, ...] | None) -> None:
        """Run the model on examples to learn its outputs, and whether its batch is open."""
        from edgekit_converters.sources import _torch_graph as graph

        answer = graph.call_example(self.exportable, self.example_inputs, self._inputs.names)
        leaves = list(graph.tensor_leaves(answer))
        if not leaves:
            raise ModelRefused(f"{self.name} returns no tensor ({type(answer).__name__})", expected="tensors")
        skipped = list(graph.left_out(answer))
        if skipped:
            self.notes += (f"left out of the outputs, no tensors: {', '.join(skipped)}",)
        names = output_names or graph.output_names([path for path, _ in leaves])
        shapes = [tuple(leaf.shape) for _, leaf in leaves]
        open_batch = self._batch_is_open(shapes)
        self.inputs = self._inputs.specs(open_batch=open_batch)
        self.outputs = tuple(
            TensorSpec(name, (None, *shape[1:]) if open_batch and shape[:1] == (1,) else shape, _dtype(leaf))
            for name, shape, (_, leaf) in zip(names, shapes, leaves, strict=True)
        )

    def _batch_is_open(self, shapes: list[tuple[int, ...]]) -> bool:
        """Whether a batch of 2 works and gives two of each output."""
        from edgekit_converters.sources import _torch_graph as graph

        if any(shape[0] not in (None, 1) for shape in self._inputs.shapes):
            return False
        try:
            pair = graph.call_example(self.exportable, self._inputs.examples(2), self._inputs.names)
        except ModelRefused:
            pair = None
        two = [tuple(leaf.shape) for _, leaf in graph.tensor_leaves(pair)]
        if two and all(got == (2, *shape[1:]) for shape, got in zip(shapes, two, strict=False) if shape[:1] == (1,)):
            return True
        self.notes += ("the batch is fixed at 1: the model does not take a batch of 2",)
        return False

    def examples(self, batch: int) -> tuple[Any, ...]:
        """Tensors to trace with; ``batch`` fills the open batch dimension."""
        return self._inputs.examples(batch)

    def dynamic_shapes(self) -> tuple[tuple[dict[int, Any], ...]] | None:
        """What ``torch.export`` needs to keep the batch open; ``None`` where it is fixed.

        Export with ``examples(2)``: a batch of 1 would be taken for a constant.
        """
        torch = import_torch()
        if any(tensor.shape[0] is not None for tensor in self.inputs):
            return None
        return (tuple({0: torch.export.Dim.DYNAMIC} for _ in self.inputs),)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Answer as the original does; see :meth:`Source.run`."""
        torch = import_torch()
        tensors = [torch.from_numpy(array) for array in ordered_feeds(self.inputs, feeds)]
        with torch.no_grad():
            answers = self.exportable(*tensors)
        return {
            tensor.name: to_answer((answer.float() if answer.is_floating_point() else answer).numpy())
            for tensor, answer in zip(self.outputs, answers, strict=True)
        }

    def close(self) -> None:
        """Put a live module back into the mode it was in."""
        for module, training in self._training:
            module.training = training


def _dtype(tensor: Any) -> str:
    return "float32" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")


def open_torch_module(
    module: Any,
    options: SourceOptions,
    *,
    name: str | None = None,
    path: Path | None = None,
    notes: tuple[str, ...] = (),
) -> PyTorchSource:
    """Take a live ``torch.nn.Module``; with ``options.weights``, load them into it first.

    Raises:
        UsageError: The input shapes are not known, or the module is not on the CPU.
        ModelRefused: The weights do not fit, or the module fails on the shapes.
    """
    import_torch()
    from edgekit_converters.sources import _torch_graph as graph

    elsewhere = {str(item.device) for item in module.state_dict().values()} - {"cpu"}
    if elsewhere:
        raise UsageError(
            f"{type(module).__name__} is on {', '.join(sorted(elsewhere))}",
            expected="weights on the CPU",
            remedy="call model.cpu() first",
        )
    if options.weights is not None:
        notes += _put_weights(module, options)
        path = path or options.weights
    inputs = graph.declared_inputs(module, options.inputs)
    exportable = graph.Exportable(module, inputs.call_names)
    return PyTorchSource(exportable, inputs, name=name or type(module).__name__, path=path, notes=notes)


def _put_weights(module: Any, options: SourceOptions) -> tuple[str, ...]:
    from edgekit_converters.sources import _torch_child as child
    from edgekit_converters.sources import _torch_weights as weights

    path = existing(Path(options.weights or ""))
    try:
        state, notes = weights.read_weights(path)
    except weights.CodeRefused:
        if not options.trust_pickle:
            raise
        state, notes = child.weights_in_child(path)
    return notes + weights.put_weights(module, state, path.name)


def open_factory(spec: str, options: SourceOptions) -> PyTorchSource:
    """Import ``package.module:factory`` or ``path/file.py:factory``, call it and load the weights.

    The current folder is searched for packages too, as ``python -m`` does.

    Raises:
        InputRefused: It cannot be imported.
        UsageError: It is no callable returning a module.
        ModelRefused: The factory fails, or the weights do not fit.
    """
    torch = import_torch()
    made = load_reference(spec)
    if not isinstance(made, torch.nn.Module):
        if not callable(made):
            raise UsageError(f"{spec} is a {type(made).__name__}", expected=FACTORY)
        try:
            made = made()
        except EdgeKitError:
            raise
        except Exception as error:
            raise ModelRefused(
                f"{spec}() failed: {type(error).__name__}: {first_line(error)}",
                expected="a callable without required arguments",
                remedy="write a small factory that fills the arguments in",
            ) from error
    if not isinstance(made, torch.nn.Module):
        raise UsageError(f"{spec}() returned a {type(made).__name__}", expected=FACTORY)
    # Notes go into the bundle, which is given away: a folder of this machine does not belong there.
    notes = () if options.weights else (f"no --weights given: the weights are those that {Path(spec).name} made",)
    place, _, attribute = spec.rpartition(":")
    last = attribute.rpartition(".")[2]
    name = Path(place.replace(".", "/") if not place.endswith(".py") else place).stem if last in PLAIN_NAMES else last
    return open_torch_module(made, options, name=name, notes=notes)


def open_torch_file(path: Path, options: SourceOptions) -> PyTorchSource:
    """Open a ``.pt2``, or a ``.pt``/``.pth`` that holds one or, if trusted, a pickled module.

    Raises:
        ModelRefused: The file is damaged, would run code, or holds weights without a model.
    """
    import_torch()
    from edgekit_converters.sources import _torch_child as child
    from edgekit_converters.sources import _torch_weights as weights

    if path.suffix == ".pt2" or weights.is_exported_program(path):
        return open_exported(path, options)
    try:
        weights.read_weights(path)
    except weights.CodeRefused:
        if not options.trust_pickle:
            raise
        return child.module_in_child(path, options)
    raise ModelRefused(
        f"{path.name} holds weights but no model",
        expected=FACTORY,
        remedy=f"name what builds the model: edgekit convert package.module:factory --weights {path.name}",
    )


def open_exported(path: Path, options: SourceOptions) -> PyTorchSource:
    """Open a ``.pt2`` exported program. Raises ModelRefused for anything in it that could run code."""
    import_torch()
    from edgekit_converters.sources import _torch_graph as graph
    from edgekit_converters.sources._torch_pt2 import load_exported, program_inputs, program_module

    program = load_exported(path)
    inputs, call = program_inputs(program)
    size = read_size(path)
    given = match_hints(inputs.names, at_own_size(options.inputs, inputs.shapes[0], size))
    for name, shape, dtype in zip(inputs.names, inputs.shapes, inputs.dtypes, strict=True):
        hint = given.get(name)
        if hint and (refine_shape(name, shape, hint) != shape or hint.dtype not in (None, dtype)):
            raise UsageError(
                f"{list(hint.shape)} {hint.dtype} for {name!r}", expected=f"{list(shape)} {dtype}, as exported"
            )
    exportable = graph.Exportable(program_module(program), (), call)
    source = PyTorchSource(exportable, inputs, name=path.stem, path=path)
    source.original_size = size
    return source
