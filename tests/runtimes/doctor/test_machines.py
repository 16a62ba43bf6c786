"""What the doctor reads from recorded machines: boards, processors, memory, control groups, temperature."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from edgekit_runtimes.doctor.board import JETSON, OTHER, RASPBERRY_PI, board_problems, read_board
from edgekit_runtimes.doctor.cpu import cpu_problems, int8_line, read_cpu
from edgekit_runtimes.doctor.heat import decode_throttled, heat_problems, read_heat
from edgekit_runtimes.doctor.host import Host, output_of
from edgekit_runtimes.doctor.memory import Memory, memory_problems, read_memory
from tests.runtimes.doctor.trees import CONTAINER, JETSON_ORIN, PI_4, PI_5, PI_COMMANDS, cores, host_of


def test_a_raspberry_pi_4(tmp_path: Path) -> None:
    host = host_of(tmp_path, PI_4)
    board, cpu, memory = read_board(host), read_cpu(host), read_memory(host)
    assert (board.model, board.kind, board.jetpack) == ("Raspberry Pi 4 Model B Rev 1.5", RASPBERRY_PI, None)
    assert board.system == "Debian GNU/Linux 12 (bookworm)"
    assert board.kernel == "6.6.51+rpt-rpi-v8"
    assert (cpu.model, cpu.present, cpu.usable, cpu.quota) == ("Cortex-A72", 4, 4, None)
    assert cpu.features == ("asimd",)
    assert "without dot product" in cpu.int8
    assert not cpu.fast_int8
    assert (memory.total, memory.swap_total, memory.limit) == (3882460 << 10, 102396 << 10, None)
    assert memory.available == 3340156 << 10


def test_a_raspberry_pi_5_has_the_dot_product(tmp_path: Path) -> None:
    host = host_of(tmp_path, PI_5)
    cpu = read_cpu(host)
    assert (read_board(host).model, cpu.model) == ("Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76")
    assert cpu.features == ("asimd", "asimddp")
    assert cpu.fast_int8
    assert "dot product" in cpu.int8


def test_a_jetson_orin(tmp_path: Path) -> None:
    host = host_of(tmp_path, JETSON_ORIN, cores=6, commands={"nvpmodel -q": "NV Power Mode: 15W\n0\n"})
    board, cpu = read_board(host), read_cpu(host)
    heat = read_heat(host, board)
    assert (board.kind, board.jetpack, board.system) == (JETSON, "L4T 36.4.3", "Ubuntu 22.04.5 LTS")
    assert (cpu.model, cpu.present) == ("Cortex-A78AE", 6)
    assert heat.celsius == {"cpu-thermal": 49.812, "gpu-thermal": 50.406, "tj-thermal": 50.593}
    assert (heat.power_mode, heat.throttling) == ("15W", None)
    (problem,) = heat_problems(heat, board)
    assert (problem.severity, problem.mend) == ("hint", "sudo jetson_clocks")
    assert "schedutil" in problem.what


def test_a_container_with_limits_of_version_1(tmp_path: Path) -> None:
    host = host_of(tmp_path, CONTAINER, architecture="x86_64", cores=2)
    board, cpu, memory = read_board(host), read_cpu(host), read_memory(host)
    assert (board.model, board.kind) == ("unknown", OTHER)
    assert (cpu.model, cpu.quota) == ("AMD EPYC", 1.5)
    assert cpu.features == ("avx2", "avx512_vnni")
    assert (memory.limit, memory.available) == (2 << 30, 1 << 30)
    (problem,) = cpu_problems(cpu)
    assert problem.what == "this container may use 1.5 cores' time, and sees 2 cores"
    assert "--threads 1" in problem.mend


def test_limits_of_version_2_and_of_the_group_around(tmp_path: Path) -> None:
    files = {
        "/proc/self/cgroup": "0::/outer/inner\n",
        "/sys/fs/cgroup/outer/cpu.max": "50000 100000\n",
        "/sys/fs/cgroup/outer/inner/cpu.max": "200000 100000\n",
        "/sys/fs/cgroup/outer/memory.max": "300000000\n",
        "/sys/fs/cgroup/outer/memory.current": "250000000\n",
        "/sys/fs/cgroup/outer/memory.stat": "inactive_file 10000000\n",
        "/sys/fs/cgroup/outer/inner/memory.max": "max\n",
        "/proc/meminfo": PI_4["/proc/meminfo"],
    }
    host = host_of(tmp_path, files)
    memory = read_memory(host)
    assert read_cpu(host).quota == 0.5
    assert (memory.limit, memory.available) == (300_000_000, 60_000_000)
    (problem,) = memory_problems(memory)
    assert (problem.severity, problem.what) == ("warning", "60 MB of memory are available")
    assert "swapon" in problem.mend


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    memory = Memory(8 << 30, 4 << 30, 0, 0, None, "/tmp", 3_000_000)  # noqa: S108
    (problem,) = memory_problems(memory)
    assert problem.what == "3 MB of disk are free in /tmp"
    assert "TMPDIR" in problem.mend


def test_a_pc_is_named_by_its_firmware(tmp_path: Path) -> None:
    vendor, name = "/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name"
    assert read_board(host_of(tmp_path / "a", {vendor: "LENOVO\n", name: "20XW\n"})).model == "LENOVO 20XW"
    placeholders = {vendor: "To Be Filled By O.E.M.\n", name: "System Product Name\n"}
    assert read_board(host_of(tmp_path / "b", placeholders)).model == "unknown"


def test_big_and_little_cores_have_what_all_of_them_have(tmp_path: Path) -> None:
    little = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\n\n"
    big = "processor\t: 1\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
    cpu = read_cpu(host_of(tmp_path, {"/proc/cpuinfo": little + big}))
    assert (cpu.model, cpu.features) == ("1 x Cortex-A55 + 1 x Cortex-A76", ("asimd",))


def test_a_core_that_nobody_knows_keeps_its_numbers(tmp_path: Path) -> None:
    block = "processor\t: {n}\nFeatures\t: fp asimd sve i8mm\nCPU implementer\t: 0x99\nCPU part\t: 0x123\n"
    cpu = read_cpu(host_of(tmp_path, {"/proc/cpuinfo": cores(block, 2)}))
    assert cpu.model == "ARM implementer 0x99, part 0x123"
    assert cpu.features == ("asimd", "i8mm", "sve")


@pytest.mark.parametrize(
    ("features", "architecture", "meaning"),
    [
        (("avx2", "avx512_vnni", "amx_int8"), "x86_64", "AMX"),
        (("avx2", "avx_vnni"), "x86_64", "VNNI adds"),
        (("avx2",), "x86_64", "would saturate"),
        ((), "x86_64", "no AVX2"),
        (("asimd", "asimddp", "i8mm"), "aarch64", "i8mm"),
        ((), "riscv64", "measure"),
    ],
)
def test_what_features_mean_for_int8(features: tuple[str, ...], architecture: str, meaning: str) -> None:
    assert meaning in int8_line(features, architecture)


def test_python_of_32_bits_is_told(tmp_path: Path) -> None:
    host = host_of(tmp_path, PI_4, pointer_bits=32, architecture="armv7l")
    (problem,) = board_problems(read_board(host), host)
    assert "64-bit" in problem.mend
    assert board_problems(read_board(host_of(tmp_path, PI_4)), host_of(tmp_path, PI_4)) == []


@pytest.mark.parametrize(
    ("bits", "now", "occurred"),
    [
        (0, (), ()),
        (0x50000, (), ("under-voltage", "throttled")),
        (0x50005, ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        (0xE000A, ("clock capped", "soft temperature limit"), ("clock capped", "throttled", "soft temperature limit")),
    ],
)
def test_bits_of_get_throttled(bits: int, now: tuple[str, ...], occurred: tuple[str, ...]) -> None:
    assert (decode_throttled(bits).now, decode_throttled(bits).occurred) == (now, occurred)


def test_a_hot_board_on_a_weak_supply(tmp_path: Path) -> None:
    host = host_of(tmp_path, PI_4, commands=PI_COMMANDS)
    board = read_board(host)
    whats = {problem.what: problem for problem in heat_problems(read_heat(host, board), board)}
    assert whats["the supply voltage is too low"].mend.startswith("use the board's own power supply")
    assert whats["the board slows itself down: throttled now"].severity == "warning"
    assert whats["sensor cpu-thermal is at 83 °C"].severity == "warning"
    assert "scaling_governor" in whats["the CPU governor is ondemand"].mend
    assert len(whats) == 4


def test_what_has_been_is_a_hint(tmp_path: Path) -> None:
    files = {"/sys/devices/platform/soc/soc:firmware/get_throttled": "60000\n"}
    host = host_of(tmp_path, files)
    board = read_board(host)
    (problem,) = heat_problems(read_heat(host, board), board)
    assert (problem.severity, problem.what) == (
        "hint",
        "the board slows itself down: clock capped, throttled since the start",
    )


@pytest.mark.parametrize(("driver", "expected"), [("intel_pstate", 0), ("acpi-cpufreq", 1)])
def test_powersave_is_a_fault_where_it_means_the_lowest_clock(tmp_path: Path, driver: str, expected: int) -> None:
    folder = "/sys/devices/system/cpu/cpu0/cpufreq"
    host = host_of(tmp_path, {f"{folder}/scaling_governor": "powersave\n", f"{folder}/scaling_driver": f"{driver}\n"})
    problems = heat_problems(read_heat(host, read_board(host)), read_board(host))
    assert [problem.severity for problem in problems] == ["warning"] * expected


def test_a_pc_gives_the_sensor_of_its_processor_and_how_often_it_was_throttled(tmp_path: Path) -> None:
    files = {
        "/sys/class/hwmon/hwmon0/name": "nvme\n",
        "/sys/class/hwmon/hwmon0/temp1_input": "91000\n",
        "/sys/class/hwmon/hwmon1/name": "k10temp\n",
        "/sys/class/hwmon/hwmon1/temp1_input": "43250\n",
        "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
        "/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
    }
    host = host_of(tmp_path, files)
    heat = read_heat(host, read_board(host))
    assert (heat.celsius, heat.throttle_count) == ({"k10temp": 43.25}, 7)
    (problem,) = heat_problems(heat, read_board(host))
    assert "7 times" in problem.what


def test_a_sensor_that_fails_in_the_reading_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_of(tmp_path, JETSON_ORIN)
    read = Path.read_bytes

    def asleep(path: Path) -> bytes:
        if path.match("thermal_zone1/temp"):
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", asleep)
    assert set(read_heat(host, read_board(host)).celsius) == {"cpu-thermal", "tj-thermal"}


def test_commands_that_are_missing_fail_or_hang_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit_runtimes.doctor import host

    monkeypatch.setattr(host, "COMMAND_SECONDS", 0.2)
    assert output_of(["/nonexistent/vcgencmd"]) is None
    assert output_of([sys.executable, "-c", "raise SystemExit(1)"]) is None
    assert output_of([sys.executable, "-c", "import threading; threading.Event().wait()"]) is None
    assert output_of(["echo", "throttled=0x0"]) == "throttled=0x0\n"


def test_this_machine_is_read_from_its_root() -> None:
    cpu, memory = read_cpu(Host()), read_memory(Host())
    assert 0 < memory.available <= memory.total
    assert 0 < cpu.usable <= cpu.present
