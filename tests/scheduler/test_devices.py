"""Memory and cores from trees of files as the kernel shows them in containers."""

from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from ollama_jupyter.scheduler.devices import Devices

MIB = 1 << 20
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


def machine(root: Path, files: Mapping[str, str]) -> Path:
    """A root folder with these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group_v2(path: str, limit: str, used: int, files: int = 0) -> dict[str, str]:
    folder = f"{V2}{path}"
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 1\ninactive_file {files}\nactive_file {files}\n",
    }


def test_memory_is_the_hosts_when_there_is_no_cgroup(tmp_path: Path) -> None:
    memory = Devices(root=tmp_path).memory()
    assert memory.total_bytes == psutil.virtual_memory().total
    assert 0 < memory.available_bytes <= memory.total_bytes


def test_memory_is_the_cgroups_when_version_2_limits_it(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {"proc/self/cgroup": "0::/app\n", **group_v2("/app", str(100 * MIB), 60 * MIB, 10 * MIB)},
    )
    memory = Devices(root=root).memory()
    assert (memory.total_bytes, memory.available_bytes) == (100 * MIB, 60 * MIB)


def test_memory_is_the_tightest_when_a_parent_has_less(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user/app\n",
            **group_v2("/user/app", str(100 * MIB), 10 * MIB),
            **group_v2("/user", str(80 * MIB), 70 * MIB),
            **group_v2("", "max", 0),
        },
    )
    memory = Devices(root=root).memory()
    assert (memory.total_bytes, memory.available_bytes) == (80 * MIB, 10 * MIB)


def test_memory_is_that_of_the_root_group_when_a_container_hides_the_path(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {"proc/self/cgroup": "0::/../../pod\n", **group_v2("", str(50 * MIB), 20 * MIB)},
    )
    assert Devices(root=root).memory().available_bytes == 30 * MIB


def test_memory_is_the_cgroups_when_version_1_limits_it(tmp_path: Path) -> None:
    stat = f"total_inactive_file {MIB}\ntotal_active_file {MIB}\ninactive_file 0\nactive_file 0\n"
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "9:cpu,cpuacct:/x\n4:memory:/app\n0::/\n",
            f"{V1}/app/memory.limit_in_bytes": str(100 * MIB),
            f"{V1}/app/memory.usage_in_bytes": str(40 * MIB),
            f"{V1}/app/memory.stat": stat,
            f"{V1}/memory.limit_in_bytes": "9223372036854771712",
            f"{V1}/memory.usage_in_bytes": "0",
            f"{V1}/memory.stat": stat,
        },
    )
    memory = Devices(root=root).memory()
    assert (memory.total_bytes, memory.available_bytes) == (100 * MIB, 62 * MIB)


def test_memory_is_the_hosts_when_the_files_make_no_sense(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "nonsense\n0::/app\n",
            f"{V2}/app/memory.max": "many",
            f"{V2}/memory.max": str(MIB),
            f"{V2}/memory.current": "0",
            f"{V2}/memory.stat": "nothing known\n",
        },
    )
    assert Devices(root=root).memory().total_bytes == psutil.virtual_memory().total


def test_a_limit_lowers_what_was_measured_but_never_raises_it(tmp_path: Path) -> None:
    root = machine(
        tmp_path, {"proc/self/cgroup": "0::/\n", **group_v2("", str(100 * MIB), 40 * MIB)}
    )
    low = Devices(root=root, limit_bytes=50 * MIB).memory()
    assert (low.total_bytes, low.available_bytes) == (50 * MIB, 50 * MIB)
    high = Devices(root=root, limit_bytes=900 * MIB).memory()
    assert (high.total_bytes, high.available_bytes) == (100 * MIB, 60 * MIB)


def test_memory_is_never_negative_when_a_group_is_over_its_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, {"proc/self/cgroup": "0::/\n", **group_v2("", str(MIB), 5 * MIB)})
    assert Devices(root=root).memory().available_bytes == 0


@pytest.mark.parametrize(
    ("quota", "cores"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None)]
)
def test_cores_follow_the_quota_when_version_2_sets_one(
    tmp_path: Path, quota: str, cores: int | None
) -> None:
    free = Devices(root=tmp_path / "none").cores()
    root = machine(tmp_path, {"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": quota})
    assert Devices(root=root).cores() == (cores or free)


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1), ("-1", None), ("0", None)])
def test_cores_follow_the_quota_when_version_1_sets_one(
    tmp_path: Path, quota: str, cores: int | None
) -> None:
    free = Devices(root=tmp_path / "none").cores()
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "1:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota,
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert Devices(root=root).cores() == (cores or free)


def test_gpus_are_those_the_driver_lists(tmp_path: Path) -> None:
    assert Devices(root=tmp_path).gpus() == 0
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0").mkdir(parents=True)
    assert Devices(root=tmp_path).gpus() == 1


def test_this_machine_is_measured_when_nothing_is_given() -> None:
    memory = Devices().memory()
    assert 0 < memory.available_bytes <= memory.total_bytes
    assert Devices().cores() >= 1
