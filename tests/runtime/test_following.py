"""The policy of a watcher that runs alone: changed, broken, gone and mended while it watches."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sealgate.errors import SealgateError
from sealgate.policy.load import load
from sealgate.runtime.following import Following
from tests.live.served import free_port, loopback


class Site:
    """A policy file and who follows it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sealgate.toml"
        self.page = self.address()
        self.write()
        self.following = Following(lambda: load(self.path, environ={}, euid=os.geteuid()))

    @staticmethod
    def address() -> str:
        host = loopback()
        return f"{host}:{free_port(host)}"

    def write(self, more: str = "", **monitor: str) -> None:
        table = "\n".join(f'{key} = "{value}"' for key, value in {"listen": self.page, **monitor}.items())
        self.replace(f"version = 1\n{more}\n[monitor]\n{table}\n")

    def replace(self, text: str) -> None:
        """As an editor does it: the file is another one."""
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self.path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_did_not_change_is_not_loaded(tmp_path: Path) -> None:
    site, loads = Site(tmp_path), 0

    def counted() -> object:
        nonlocal loads
        loads += 1
        return load(site.path, environ={}, euid=os.geteuid())

    site.following._load = counted  # type: ignore[assignment]
    assert not site.following.look()
    assert loads == 0
    assert not site.following.look(asked=True)
    assert loads == 1


def test_a_good_change_is_taken(site: Site) -> None:
    site.write('[site]\nnames = ["api.example.com"]')
    assert site.following.look()
    assert site.following.loaded.policy.site.names == ("api.example.com",)
    assert site.following.drift == ()
    assert not site.following.look()


def test_so_is_another_address(site: Site) -> None:
    site.page = site.address()
    site.write(probes=site.address())
    assert site.following.look()
    assert str(site.following.settings.page) == site.page
    assert site.following.settings.probes is not None


def folder(site: Site) -> None:
    site.path.unlink()
    site.path.mkdir()


BREAKS: dict[str, Callable[[Site], object]] = {
    "unknown": lambda site: site.write("[nonsense]\nx = 1"),
    "half": lambda site: site.path.write_text("version = 1\n[monit"),
    "gone": lambda site: site.path.unlink(),
    "a folder": folder,
    "no UTF-8": lambda site: site.path.write_bytes(b"\xff\xfe"),
    "a secret that is not there": lambda site: site.write(
        '[[monitor.alerts]]\nwebhook = "https://x.test/"\nsecret = { file = "nowhere" }'
    ),
}


@pytest.mark.parametrize("how", BREAKS, ids=str)
def test_a_bad_one_is_said_and_the_one_before_stays(site: Site, how: str) -> None:
    before = site.following.loaded
    BREAKS[how](site)
    for _ in range(2):
        assert not site.following.look()
        assert site.following.loaded is before
        (said,) = site.following.drift
        assert said.kind == "policy-broken"
        assert said.fact.startswith("the policy is not taken: ")
        assert said.remedy.endswith("the one before it is watched on")
    if site.path.is_dir():
        site.path.rmdir()
    site.write('[site]\nnames = ["mended.example.com"]')
    assert site.following.look()
    assert site.following.drift == ()


def test_a_mistake_that_is_taken_back_is_over(site: Site) -> None:
    before = site.path.read_text()
    site.replace("version = 2\n")
    assert not site.following.look()
    assert site.following.drift
    site.replace(before)
    assert not site.following.look()
    assert not site.following.drift


def test_an_address_that_somebody_has_is_not_taken_and_tried_again(site: Site) -> None:
    with socket.socket() as other:
        host = loopback()
        other.bind((host, 0))
        other.listen()
        taken = f"{host}:{other.getsockname()[1]}"
        old, site.page = site.page, taken
        site.write()
        assert not site.following.look()
        assert str(site.following.settings.page) == old
        assert "the one before it" in site.following.drift[0].remedy
    assert site.following.look()  # the file is the same, the address is free now
    assert str(site.following.settings.page) == taken


def test_one_that_is_bad_from_the_start_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.replace("version = 1\n[nonsense]\n")
    with pytest.raises(SealgateError, match="nonsense"):
        Following(lambda: load(site.path, environ={}, euid=os.geteuid()))
