"""A bundle in a repository of the Hugging Face hub, or in a folder that looks like one: its files and a model card."""

from __future__ import annotations

import glob
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_folder
from edgekit.bundle import CHECKSUMS, MANIFEST, Bundle, bundle_sha256, file_sha256, read_checksums
from edgekit.errors import BundleRefused, EdgeKitError, EnvironmentFault, UsageError
from edgekit_runtimes.inputs.uri import redacted
from edgekit_runtimes.lifecycle.card import CARD, MARK, model_card
from edgekit_runtimes.lifecycle.place import Pushed, plain_name

_EXPECTED = "hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:./FOLDER"
_WRITTEN = "a bundle, as edgekit push writes it"
_OFFLINE = "check the connection; where the bundle was pulled before, set HF_HUB_OFFLINE=1"


@dataclass(frozen=True)
class HubAddress:
    """A repository of the hub.

    Attributes:
        name: ``OWNER/NAME``.
        revision: Branch, tag or commit; ``None`` for the main branch.
    """

    name: str
    revision: str | None

    def __str__(self) -> str:
        return f"hf:{self.name}@{self.revision}" if self.revision else f"hf:{self.name}"


def push(bundle: Bundle, target: str) -> Pushed:
    """Put a bundle into a repository, which is made where there is none, or into a folder.

    Files of an older bundle that this one lacks are removed, the repository's other files stay; so does a model card
    that somebody else wrote.

    Args:
        bundle: The bundle, checked.
        target: ``hf:OWNER/NAME``, ``hf:OWNER/NAME@BRANCH`` or ``hf:./FOLDER``.

    Raises:
        UsageError: The address is wrong, or the folder is something else.
        EnvironmentFault: The hub cannot be reached or refuses, or the disk is full.
    """
    address = hub_address(target)
    return _push_folder(bundle, address, target) if isinstance(address, Path) else _push_hub(bundle, address)


def pull(source: str, folder: Path) -> None:
    """Fetch a bundle from a repository or a folder. What is not of the bundle stays behind.

    Args:
        source: ``hf:OWNER/NAME``, ``hf:OWNER/NAME@REVISION`` or ``hf:./FOLDER``.
        folder: An empty folder for the files.

    Raises:
        UsageError: The address is wrong.
        BundleRefused: There is no such repository or revision, or it holds no bundle.
        EnvironmentFault: The hub cannot be reached or refuses, or the disk is full.
    """
    address = hub_address(source)
    if isinstance(address, Path):
        _copy(address, folder, [CHECKSUMS], source)
        _copy(address, folder, _listed(folder, source), source)
        return
    with _talking(address):
        from huggingface_hub import snapshot_download

        listing = _file(address, CHECKSUMS)
        if listing is None:
            raise BundleRefused(f"{address} has no {CHECKSUMS}", expected=_WRITTEN)
        shutil.copyfile(listing, folder / CHECKSUMS)
        # Of a repository that is not ours nothing more is fetched; and all of one commit, whatever is pushed meanwhile.
        names = _listed(folder, source)
        patterns = [glob.escape(name) for name in names]
        commit = listing.parent.name
        there = snapshot_download(address.name, revision=commit, allow_patterns=patterns, library_name="edgekit")
    _copy(Path(there), folder, names, source, links=True)


def _copy(there: Path, folder: Path, names: list[str], source: str, *, links: bool = False) -> None:
    """Copy files; only the cache of the hub's client holds links, into itself."""
    for name in names:
        if not (there / name).is_file() or ((there / name).is_symlink() and not links):
            raise BundleRefused(f"{source} has no file {name}", expected=_WRITTEN, remedy="push the bundle again")
        shutil.copyfile(there / name, folder / name)


def hub_address(text: str) -> HubAddress | Path:
    """Read what follows ``hf:``: a path begins with ``/``, ``./``, ``../`` or ``~``. Raises UsageError."""
    rest = text.removeprefix("hf:")
    if rest.startswith(("/", "./", "../", "~")):
        return Path(rest).expanduser()
    name, at, revision = rest.partition("@")
    if len(name.split("/")) != 2 or not all(name.split("/")) or (at and not revision):
        raise UsageError(text, expected=_EXPECTED)
    return HubAddress(name, revision or None)


def _push_folder(bundle: Bundle, folder: Path, target: str) -> Pushed:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file()):
        raise UsageError(f"{folder} is not a bundle", expected="a new name, or a bundle to replace")
    names = [*read_checksums(bundle.path), CHECKSUMS]
    old = folder / CARD
    own = old.read_text(encoding="utf-8") if old.is_file() else MARK
    with atomic_folder(folder) as temporary:
        _copy_others(folder, temporary, {*names, CARD})
        for name in names:
            shutil.copyfile(bundle.path / name, temporary / name)
        card = model_card(bundle, target) if MARK in own else own
        (temporary / CARD).write_text(card, encoding="utf-8")
    size = sum((folder / name).stat().st_size for name in names)
    return Pushed(target, size, len(names))


def _copy_others(folder: Path, target: Path, new: set[str]) -> None:
    """Copy what is neither of an older bundle nor of the new one: a licence, the ``.git`` of a clone."""
    if not folder.is_dir():
        return
    older = read_checksums(folder) if (folder / CHECKSUMS).is_file() else {}
    ours = {*older, CHECKSUMS, *new}
    for item in folder.iterdir():
        if item.name in ours:
            continue
        if item.is_dir() and not item.is_symlink():
            shutil.copytree(item, target / item.name, symlinks=True)
        else:
            shutil.copy2(item, target / item.name, follow_symlinks=False)


def _push_hub(bundle: Bundle, address: HubAddress) -> Pushed:
    sums = {**read_checksums(bundle.path), CHECKSUMS: bundle_sha256(bundle.path)}
    with _talking(address):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        api = HfApi(library_name="edgekit")
        api.create_repo(address.name, private=True, exist_ok=True)
        if address.revision:
            api.create_branch(address.name, branch=address.revision, exist_ok=True)
        old = _present(address)
        changed = [name for name, digest in sums.items() if old.sums.get(name) != digest]
        steps: list[Any] = [CommitOperationAdd(name, str(bundle.path / name)) for name in changed]
        card = model_card(bundle, str(address))
        if old.card is None or (MARK in old.card and old.card != card):
            steps.append(CommitOperationAdd(CARD, card.encode()))
        steps += [CommitOperationDelete(name) for name in sorted(set(old.sums) - set(sums))]
        if not steps:
            return Pushed(f"hf:{address.name}@{old.commit}", 0, 0, len(sums))
        message = f"Bundle {bundle.manifest.name} {sums[CHECKSUMS][:12]}"
        done = api.create_commit(address.name, steps, commit_message=message, revision=address.revision)
    sent = sum((bundle.path / name).stat().st_size for name in changed)
    return Pushed(f"hf:{address.name}@{done.oid}", sent, len(changed), len(sums) - len(changed))


@dataclass(frozen=True)
class _Present:
    """What a repository has.

    Attributes:
        sums: SHA-256 of the files of the bundle in it.
        card: Its README.md, or ``None``.
        commit: Where both are from; empty where there is no bundle.
    """

    sums: dict[str, str]
    card: str | None
    commit: str


def _present(address: HubAddress) -> _Present:
    sums: dict[str, str] = {}
    listing, card = _file(address, CHECKSUMS), _file(address, CARD)
    if listing is not None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(listing, Path(folder, CHECKSUMS))
            sums = {**read_checksums(Path(folder)), CHECKSUMS: file_sha256(listing)}
    text = card.read_text(encoding="utf-8", errors="replace") if card else None
    return _Present(sums, text, listing.parent.name if listing else "")


def _file(address: HubAddress, name: str) -> Path | None:
    """One file of a repository, from the client's cache; ``None`` where the repository has none."""
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(address.name, name, revision=address.revision, library_name="edgekit"))
    except errors.LocalEntryNotFoundError:
        raise
    except errors.EntryNotFoundError:
        return None


def _listed(folder: Path, address: str) -> list[str]:
    return [plain_name(name, address) for name in read_checksums(folder)]


@contextmanager
def _talking(address: HubAddress) -> Iterator[None]:
    """Turn what the hub's client fails with into this package's errors."""
    from huggingface_hub import errors, utils

    if not sys.stderr.isatty():
        utils.disable_progress_bars()
    try:
        yield
    except (OSError, ValueError, RuntimeError, errors.HfHubHTTPError) as error:
        raise _refusal(address, error, errors) from error
    except Exception as error:
        # What the HTTP library of the client raises; which one that is depends on the client's version.
        if not type(error).__module__.startswith(("httpx", "requests")):
            raise
        raise EnvironmentFault(
            f"{address}: the hub cannot be reached: {_first_line(error)}", remedy=_OFFLINE
        ) from error


def _refusal(address: HubAddress, error: Exception, errors: Any) -> EdgeKitError:
    """What the hub's client failed with, as one of this package's errors."""
    if isinstance(error, errors.HFValidationError):
        return UsageError(f"{address}: {_first_line(error)}", expected=_EXPECTED)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return BundleRefused(f"{address} is gated", remedy="ask for access on its page")
    if status in (401, 403) and not isinstance(error, errors.RepositoryNotFoundError):
        return EnvironmentFault(
            f"the hub does not let you at {address}", expected="a token that may", remedy="hf auth login"
        )
    if isinstance(error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
        what = "revision" if isinstance(error, errors.RevisionNotFoundError) else "repository"
        return BundleRefused(
            f"{address}: the hub knows no such {what}", remedy="check the name; hf auth login for a private one"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return EnvironmentFault(f"{address}: the hub cannot be reached", remedy=_OFFLINE)
    return EnvironmentFault(f"{address}: {_first_line(error)}", remedy=_OFFLINE)


def _first_line(error: Exception) -> str:
    return redacted((str(error).strip() or type(error).__name__).splitlines()[0])[:200]
