"""The systemd unit of a bundle: unprivileged, confined to what its input and outputs need, watched."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgekit.errors import UsageError

WATCHDOG_SECONDS = 60
_CAMERAS = ("camera:", "csi:")
_NETWORK = ("rtsp:", "rtsps:", "http:", "https:", "mqtt:", "mqtts:", "page")
_SHOWN_ON_A_SCREEN = ("window",)

_TEXT = """\
# Written by `edgekit service install`; `edgekit service uninstall {name}` removes it.
[Unit]
Description=edgekit: {name}
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target
# A camera that is away for hours makes the watchdog restart it once a minute, which is within the limit; a run that
# dies at once is not.
StartLimitIntervalSec=600
StartLimitBurst=30

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory=%S/{unit}
Environment=XDG_CACHE_HOME=%C/{unit} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
StateDirectory={unit}
CacheDirectory={unit}
{user}
Restart={restart}
RestartSec=5
SuccessExitStatus=6
# Answers feed the watchdog, nothing else does.
WatchdogSec={watchdog}
TimeoutStartSec=180
TimeoutStopSec=15
KillSignal=SIGTERM
MemoryMax={memory}
OOMPolicy=stop
Nice=-5

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
UMask=0027
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @mount
SystemCallErrorNumber=EPERM
{access}

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Job:
    """What a service does.

    Attributes:
        name: Of the service; the unit is ``edgekit-NAME.service``.
        bundle: The bundle's place, a link that an update moves.
        source: INPUT of ``edgekit run``.
        outputs: Its outputs; relative files lie in the service's state folder.
        options: Further words for ``edgekit run``.
        user: Who runs it; ``None``: a user that exists only while it runs.
        memory: Most memory, as systemd writes it: ``512M``, ``50%``.
        watchdog: Seconds without an answer after which it is started anew.
        python: The interpreter.
    """

    name: str
    bundle: Path
    source: str
    outputs: tuple[str, ...]
    options: tuple[str, ...] = ()
    user: str | None = None
    memory: str = "50%"
    watchdog: int = WATCHDOG_SECONDS
    python: Path = Path(sys.executable)

    @property
    def unit(self) -> str:
        """Name of the unit, without ``.service``."""
        return f"edgekit-{self.name}"

    @property
    def command(self) -> list[str]:
        """What systemd starts."""
        outputs = [word for output in self.outputs for word in ("-o", output)]
        waits = ["--wait"] if is_live(self.source) else []
        start = [str(self.python), "-m", "edgekit.cli", "run", str(self.bundle)]
        return [*start, *outputs, *waits, *self.options, "--", self.source]


def is_live(source: str) -> bool:
    """Whether an INPUT is a camera or a stream."""
    return source.startswith((*_CAMERAS, "rtsp:", "rtsps:", "http:", "https:", "mic"))


def unit_text(job: Job) -> str:
    """Return the unit file of a job.

    Raises:
        UsageError: An output that a service cannot have.
    """
    for output in job.outputs:
        if output.startswith(_SHOWN_ON_A_SCREEN) or output == "-":
            raise UsageError(
                f"-o {output} for a service, which has no screen",
                expected="a file, a folder, page or mqtt://…",
                remedy="use -o page:8080 to look at it from another machine",
            )
    return _TEXT.format(
        name=job.name,
        unit=job.unit,
        command=" ".join(quoted(word) for word in job.command),
        user="DynamicUser=yes" if job.user is None else f"User={job.user}",
        # Files come to an end, a camera does not.
        restart="always" if is_live(job.source) else "on-failure",
        watchdog=job.watchdog,
        memory=job.memory,
        access="\n".join(_access(job)),
    )


def _access(job: Job) -> list[str]:
    """Devices, network and folders that the job needs, and no others."""
    lines = []
    if job.source.startswith(_CAMERAS):
        lines += ["DevicePolicy=closed", "DeviceAllow=char-video4linux rw", "DeviceAllow=char-media rw"]
        lines += ["DeviceAllow=char-dma_heap rw", "SupplementaryGroups=video"]
    else:
        lines += ["PrivateDevices=yes"]
    if any(word.startswith(_NETWORK) for word in (job.source, *job.outputs)):
        lines += ["RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"]
    else:
        lines += ["PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"]
    lines += [f"ReadWritePaths={quoted(str(folder))}" for folder in _folders(job.outputs)]
    return lines


def _folders(outputs: Sequence[str]) -> list[PurePosixPath]:
    """Folders outside of the service's own that outputs are written to."""
    files = [output for output in outputs if output.startswith("/")]
    return sorted({PurePosixPath(file) if file.endswith("/") else PurePosixPath(file).parent for file in files})


def quoted(word: str) -> str:
    """Return a word for a unit file, as systemd.service(5) and systemd.syntax(7) ask for."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    plain = escaped and all(sign.isalnum() or sign in "-_./:=@,+%" for sign in escaped)
    return escaped if plain else f'"{escaped}"'
