"""A Raspberry Pi under emulation. Its files are kept between runs in the user's cache."""

from __future__ import annotations

import os

import pytest

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.emulated.boards import BOARDS
from edgekit_runtimes.emulated.root import BoardRoot, require_programs
from tests.runtimes.conftest import detector_bundle, models, person_bundle, person_golden, person_maker, photos

__all__ = ["detector_bundle", "models", "person_bundle", "person_golden", "person_maker", "photos"]


@pytest.fixture(scope="session", params=sorted(BOARDS))
def board(request: pytest.FixtureRequest) -> BoardRoot:
    """Each board."""
    try:
        require_programs()
    except EnvironmentFault as fault:
        if os.environ.get("CI"):
            raise
        pytest.skip(fault.received)
    return BoardRoot(BOARDS[request.param], print)
