"""Where a bundle is pushed to or pulled from, and how one that comes in takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekit.atomic import atomic_folder
from edgekit.bundle import MANIFEST, Bundle
from edgekit.errors import BundleRefused, UsageError

FORMS = "oci://REGISTRY/NAME:TAG, hf:OWNER/NAME, hf:./FOLDER, mlflow:RUN or models:/NAME/VERSION"
_MLFLOW = ("mlflow:", "models:/", "runs:/")


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        address: Where exactly this bundle can be pulled from again.
        sent: Bytes of the files that were sent.
        files: Files that were sent.
        kept: Files that were there already.
    """

    address: str
    sent: int
    files: int
    kept: int = 0


def kind_of(address: str) -> str:
    """Return ``oci``, ``hf`` or ``mlflow``. Raises UsageError for any other address."""
    if address.startswith("oci://"):
        return "oci"
    if address.startswith("hf:"):
        return "hf"
    if address.startswith(_MLFLOW):
        return "mlflow"
    raise UsageError(f"address {address!r}", expected=FORMS)


def plain_name(name: object, address: str) -> str:
    """Return a file name that came from elsewhere. Raises BundleRefused when it could leave its folder."""
    plain = isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name
    if not isinstance(name, str) or not plain or "\\" in name or not name.isprintable():
        raise BundleRefused(f"{address} names the file {name!r}", expected="plain file names, as a bundle has them")
    return name


@contextmanager
def arriving(output: Path, address: str) -> Iterator[Path]:
    """Yield an empty folder to fill; when it holds a whole bundle, that bundle stands at ``output``.

    Args:
        output: Where the bundle goes; a bundle that is there is replaced in one step, or stays as it is.
        address: Where it comes from, for messages.

    Raises:
        BundleRefused: What came is no bundle, or damaged.
        UsageError: There is something else at ``output``.
        EnvironmentFault: The disk is full or not writable.
    """
    if output.is_symlink() or output.is_file() or (output.is_dir() and not _replaceable(output)):
        raise UsageError(
            f"{output} is not a bundle", expected="a new name, or a bundle to replace", remedy="choose another -o"
        )
    with atomic_folder(output) as folder:
        try:
            yield folder
            Bundle(folder)
        except BundleRefused as error:
            # The folder is gone when this is read.
            raise BundleRefused(
                error.received.replace(str(folder), address), expected=error.expected, remedy=_remedy(error, folder)
            ) from error


def _remedy(error: BundleRefused, folder: Path) -> str | None:
    return "push the bundle again, from where edgekit convert wrote it" if str(folder) in str(error) else error.remedy


def _replaceable(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or not any(folder.iterdir())
