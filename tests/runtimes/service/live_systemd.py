"""A systemd that runs: process 1 of name spaces of its own, over a copy-on-write view of this machine's files."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"
SYSTEMD = "/lib/systemd/systemd"
HOME = "/opt/edgekit"
"""Where edgekit lies for it: a service may look neither into /root nor into /tmp."""
_BOOT_SECONDS = 60

_BOOT = f"""set -e
mount -t tmpfs tmpfs "$1"; mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/root"; cd "$1/root"
mount -t proc proc proc; mount -t tmpfs tmpfs run; mount --rbind /dev dev; mount --rbind /sys sys
mkdir -p .{HOME}/code .{HOME}/site .{HOME}/files
mount --bind "$2" .{HOME}/code; mount --bind "$3" .{HOME}/site; mount --bind "$4" .{HOME}/files
rm -f etc/machine-id; echo 0123456789abcdef0123456789abcdef > etc/machine-id
cd etc/systemd/system; rm -f default.target
for unit in systemd-tmpfiles-setup systemd-tmpfiles-clean systemd-udevd systemd-udev-trigger systemd-networkd \\
  systemd-resolved systemd-timesyncd systemd-logind systemd-modules-load systemd-sysctl systemd-remount-fs; do
  ln -sf /dev/null "$unit.service"
done
printf '[Unit]\\nRequires=basic.target\\nAfter=basic.target\\n' > try.target
exec chroot "$1/root" /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  {SYSTEMD} --system --unit=try.target --log-target=null
"""


class NoLiveSystemd(Exception):
    """It does not start here; the reason is the text."""


class LiveSystemd:
    """Boots at once; `close` ends everything in it.

    Args:
        place: An empty folder to mount things in.
        root: The project, which is edgekit there.
        files: A folder that is ``/opt/edgekit/files`` there.

    Raises:
        NoLiveSystemd: No privilege for name spaces, no overlay file system, or it does not come up.
    """

    def __init__(self, place: Path, root: Path, files: Path) -> None:
        site = next(path for path in sys.path if path.endswith("site-packages"))
        words = ["unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", "--kill-child", "--propagation", "private"]
        self._errors = (files / "boot.log").open("wb")
        self._outside = subprocess.Popen(
            [*words, "bash", "-c", _BOOT, "boot", str(place), str(root), site, str(files)],
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
        )
        try:
            self._wait()
            self._install()
        except NoLiveSystemd as error:
            self.close()
            said = (files / "boot.log").read_text(errors="replace").strip()
            raise NoLiveSystemd(f"{error}: {said[-300:]}") from None
        except BaseException:
            self.close()
            raise

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there."""
        inside = ["nsenter", "-t", str(self._pid()), "-m", "-u", "-i", "-p", "-r", "-w"]
        path = f"PATH={HOME}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = ["/usr/bin/env", "-i", path, "HOME=/root", "LC_ALL=C.UTF-8"]
        return subprocess.run([*inside, *environment, *words], check=False, capture_output=True, text=True, timeout=300)

    def edgekit(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the edgekit command in there."""
        return self.run(f"{HOME}/bin/python", "-m", "edgekit.cli", *words)

    def close(self) -> None:
        """Kill process 1 in there, and with it all the others."""
        self._outside.kill()
        self._outside.wait()
        self._errors.close()

    def _pid(self) -> int:
        children = Path(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children")
        with suppress(OSError, IndexError):
            return int(children.read_text().split()[0])
        raise NoLiveSystemd("it ended")

    def _wait(self) -> None:
        end = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < end:
            if self._outside.poll() is not None:
                raise NoLiveSystemd(f"unshare ended with {self._outside.returncode}")
            with suppress(NoLiveSystemd):
                if self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.2)
        raise NoLiveSystemd(f"it was not up after {_BOOT_SECONDS} s")

    def _install(self) -> None:
        paths = "\n".join(f"{HOME}/{part}" for part in ("code", "code/converters", "code/runtimes", "site"))
        done = self.run(
            "bash",
            "-ec",
            f"{SYSTEM_PYTHON} -m venv --without-pip {HOME}\n"
            f"echo '{paths}' > $(echo {HOME}/lib/python3*/site-packages)/edgekit.pth\n"
            f"{HOME}/bin/python -m edgekit.cli --version",
        )
        if done.returncode:
            raise NoLiveSystemd(f"{SYSTEM_PYTHON} cannot run edgekit: {done.stderr.strip()}")
