"""Temporary files that go with the process that made them, whatever ends it.

Ray kills its workers: what they would remove at their end stays, and on a cluster nobody looks for it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

_REMOVER = 'exec 3<&0; (cat <&3 >/dev/null 2>&1; rm -rf -- "$0") >/dev/null 2>&1 &'
"""Waits for the end of its standard input, which comes with the end of the process that holds the other side."""


class PassingFolder:
    """A temporary folder that is removed when this process ends, or holds the object no longer.

    Args:
        prefix: Beginning of its name.

    Attributes:
        path: The folder.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._remover = subprocess.Popen(
            ["/bin/sh", "-c", _REMOVER, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._remover.wait()

    def take_all(self) -> None:
        """Have every temporary file of this process and of its children made in there from now on."""
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.path)
