"""Machines as their ``/proc`` and ``/sys`` show them: the files that the doctor reads, in their real formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgekit_runtimes.doctor.host import Host

_A72 = """processor\t: {n}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
_A76 = """processor\t: {n}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
_A78AE = """processor\t: {n}
model name\t: ARMv8 Processor rev 1 (v8l)
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp uscat \
ilrcpc flagm paca pacg
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1
"""
_EPYC = """processor\t: {n}
vendor_id\t: AuthenticAMD
cpu family\t: 25
model name\t: AMD EPYC
flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov sse sse2 ht syscall nx lm ssse3 fma cx16 \
sse4_1 sse4_2 avx f16c rdrand hypervisor bmi1 avx2 smep bmi2 avx512f avx512dq avx512bw avx512vl avx512_bf16 avx512vbmi \
avx512_vbmi2 gfni vaes vpclmulqdq avx512_vnni avx512_bitalg avx512_vpopcntdq rdpid fsrm
bugs\t\t: sysret_ss_attrs null_seg spectre_v1
"""
_BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n'
_GOVERNOR = "/sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor"


def cores(block: str, count: int, tail: str = "") -> str:
    """Repeat the block of a core, as ``/proc/cpuinfo`` does."""
    return "\n".join(block.format(n=number) for number in range(count)) + "\n" + tail


def meminfo(total: int, available: int, swap: int) -> str:
    """Write ``/proc/meminfo``; kilobytes."""
    return (
        f"MemTotal:       {total:8d} kB\nMemFree:          300000 kB\nMemAvailable:   {available:8d} kB\n"
        f"Buffers:           50000 kB\nSwapTotal:      {swap:8d} kB\nSwapFree:       {swap:8d} kB\n"
    )


PI_4 = {
    "/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
    "/proc/cpuinfo": cores(_A72, 4, "Revision\t: c03115\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n"),
    "/proc/meminfo": meminfo(3882460, 3340156, 102396),
    "/proc/sys/kernel/osrelease": "6.6.51+rpt-rpi-v8\n",
    "/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-3.scope\n",
    "/sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/user.slice/memory.max": "max\n",
    "/etc/os-release": _BOOKWORM,
    "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "/sys/class/thermal/thermal_zone0/temp": "82770\n",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "cpufreq-dt\n",
    **{_GOVERNOR.format(n=n): "ondemand\n" for n in range(4)},
    "/sys/class/video4linux/video0/name": "unicam-image\n",
    "/sys/class/video4linux/video10/name": "bcm2835-codec-decode\n",
    "/sys/class/video4linux/video13/name": "bcm2835-isp-output0\n",
    "/dev/video0": "",
    "/dev/video10": "",
    "/dev/video13": "",
}
PI_5 = {
    "/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "/proc/cpuinfo": cores(_A76, 4, "Revision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"),
    "/proc/meminfo": meminfo(8245352, 7312896, 204784),
    "/proc/sys/kernel/osrelease": "6.6.51+rpt-rpi-2712\n",
    "/etc/os-release": _BOOKWORM,
    "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "/sys/class/thermal/thermal_zone0/temp": "51300\n",
    **{_GOVERNOR.format(n=n): "performance\n" for n in range(4)},
    "/sys/class/video4linux/video0/name": "rp1-cfe-csi2_ch0\n",
    "/sys/class/video4linux/video8/name": "Logitech BRIO\n",
    "/sys/class/video4linux/video20/name": "pispbe-input\n",
    "/dev/video0": "",
    "/dev/video8": "",
    "/dev/video20": "",
}
JETSON_ORIN = {
    "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "/proc/cpuinfo": cores(_A78AE, 6),
    "/proc/meminfo": meminfo(7802304, 5113100, 3901152),
    "/proc/sys/kernel/osrelease": "5.15.148-tegra\n",
    "/etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\n',
    "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n",
    **{
        f"/sys/class/thermal/thermal_zone{n}/{key}": value
        for n, (name, milli) in enumerate(
            (("cpu-thermal", "49812"), ("gpu-thermal", "50406"), ("cv0-thermal", "-256000"), ("tj-thermal", "50593"))
        )
        for key, value in (("type", name), ("temp", milli))
    },
    **{_GOVERNOR.format(n=n): "schedutil\n" for n in range(6)},
    "/sys/class/video4linux/video0/name": "vi-output, imx219 9-0010\n",
    "/dev/video0": "",
}
CONTAINER = {
    "/proc/cpuinfo": cores(_EPYC, 2),
    "/proc/meminfo": meminfo(24677636, 23842688, 0),
    "/proc/sys/kernel/osrelease": "6.18.44\n",
    "/proc/self/cgroup": "9:name=systemd:/\n5:devices:/\n4:memory:/jobs/one\n3:cpuset:/\n2:cpuacct,cpu:/\n0::/\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes": "2147483648\n",
    "/sys/fs/cgroup/memory/jobs/one/memory.usage_in_bytes": "1610612736\n",
    "/sys/fs/cgroup/memory/jobs/one/memory.stat": "cache 1\ntotal_inactive_file 536870912\n",
    "/sys/fs/cgroup/cpuacct,cpu/cpu.cfs_quota_us": "150000\n",
    "/sys/fs/cgroup/cpuacct,cpu/cpu.cfs_period_us": "100000\n",
    "/etc/os-release": _BOOKWORM,
}
"""A virtual machine with a container, control groups of version 1."""

PI_COMMANDS = {
    "vcgencmd get_throttled": "throttled=0x50005\n",
    "rpicam-hello --list-cameras": "Available cameras\n-----------------\n"
    "0 : imx708 [4608x2592 10-bit RGGB] (/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a)\n"
    "    Modes: 'SRGGB10_CSI2P' : 1536x864 [120.13 fps - (768, 432)/3072x1728 crop]\n",
}


def plant(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a tree of files below a folder."""
    for name, text in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def host_of(
    folder: Path,
    files: Mapping[str, str],
    *,
    architecture: str = "aarch64",
    cores: int = 4,
    commands: Mapping[str, str] | None = None,
    permitted: Callable[[Path], bool] = lambda _: True,
    modules: Sequence[str] = (),
    pointer_bits: int = 64,
) -> Host:
    """Return a machine recorded as a tree of files."""
    said = commands or {}
    return Host(
        root=plant(folder, files),
        architecture=architecture,
        pointer_bits=pointer_bits,
        cores=cores,
        command=lambda words: said.get(" ".join(words)),
        permitted=permitted,
        installed=lambda name: name in modules,
    )
