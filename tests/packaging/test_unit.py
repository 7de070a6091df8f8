"""packaging/sealgate.service, .sysusers and .sysctl, as systemd itself reads them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sealgate.policy.model import Timeouts

PACKAGING = Path(__file__).parents[2] / "packaging"
UNIT = PACKAGING / "sealgate.service"
MAX_EXPOSURE = 20  # tenths of systemd's exposure level; 1.7 when this was written


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _settings() -> list[tuple[str, str]]:
    lines = (line.strip() for line in UNIT.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#[")
    return [(name, value) for name, _, value in pairs]


def _setting(name: str) -> str:
    (value,) = (value for known, value in _settings() if known == name)
    return value


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine: verify looks for it."""
    path = tmp_path / "sealgate.service"
    path.write_text(UNIT.read_text().replace("/opt/sealgate/bin/sealgate", "/bin/true"))
    return path


def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    done = _run("systemd-analyze", "verify", "--man=no", str(installed))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verify_would_have_noticed(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    assert "NoNewPrivilege" in _run("systemd-analyze", "verify", "--man=no", str(installed)).stderr


def test_exposure_stays_low(installed: Path) -> None:
    done = _run(
        "systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", str(installed)
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("KillMode", "mixed"),
        ("UMask", "0077"),
        ("StateDirectory", "sealgate"),
        ("StateDirectoryMode", "0700"),
        ("CacheDirectory", "sealgate"),
        ("CacheDirectoryMode", "0700"),
        ("LimitCORE", "0"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
        ("Restart", "on-failure"),
    ],
)
def test_promises_of_the_guide(name: str, value: str) -> None:
    assert _setting(name) == value


def test_systemd_waits_longer_than_the_default_drain() -> None:
    assert float(_setting("TimeoutStopSec")) > Timeouts().drain


def test_landlock_is_not_filtered_away() -> None:
    allowed = [value.split() for name, value in _settings() if name == "SystemCallFilter"]
    position = next(i for i, words in enumerate(allowed) if "landlock_restrict_self" in words)
    assert not any(words[0].startswith("~") for words in allowed[position + 1 :])


def test_users_are_accepted_and_include_the_services(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = _run("systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(PACKAGING / "sealgate.sysusers"))
    assert done.returncode == 0, done.stderr
    users = re.findall(r"^u\s+(\S+)", (PACKAGING / "sealgate.sysusers").read_text(), re.MULTILINE)
    assert users == ["sealgate", "sealgate-app", "sealgate-engine"]
    assert _setting("User") in users


def test_the_sysctl_is_one_this_kernel_knows() -> None:
    lines = (PACKAGING / "sealgate.sysctl").read_text().splitlines()
    (setting,) = (line for line in lines if line and not line.startswith("#"))
    name, value = (part.strip() for part in setting.split("="))
    assert (Path("/proc/sys") / name.replace(".", "/")).is_file()
    assert int(value) > 128  # the kernel's default
