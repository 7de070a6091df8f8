"""Answers to ACME challenges beside Gunicorn and uvicorn: carried by starts, reloads and restarts."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sealgate._system.clock import system_clock
from sealgate.engines.challenges import PATH, Challenges
from sealgate.engines.facts import AppFacts, RenderFacts
from sealgate.engines.registry import engine
from sealgate.guard.compiled import compile_policy
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile
from tests.live.served import APPS, free_port, loopback

TOKEN, OTHER = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA", "DGyRejmCefe7v4NfDGDKfA"
PENDING = Challenges(http=((TOKEN, f"{TOKEN}.thumbprint"),))
APP_OF = {"gunicorn": "echo:app", "uvicorn": "inside:app"}


@pytest.fixture(params=APP_OF)
def facts(request: pytest.FixtureRequest, tmp_path: Path) -> RenderFacts:
    """Of a site in the state directory `tmp_path / "state"`."""
    host, kind = loopback(), request.param
    listen = {"https": [f"{host}:{free_port(host)}"], "http": [f"{host}:{free_port(host)}"]}
    site = {"names": ["api.internal"], "app": APP_OF[kind], "engine": kind}
    policy = Policy.model_validate({"site": site, "listen": listen})
    state = State.open(tmp_path / "state")
    live = ensure_server_certificate(state, policy, system_clock)
    guard = tmp_path / "guard.json"
    guard.write_text(compile_policy(policy, 1).to_json())
    app = AppFacts(APP_OF[kind], str(APPS), str(guard), str(tmp_path / "sealgate.toml"), sys.executable)
    return RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="wsgi" if kind == "gunicorn" else "asgi",
        chain=os.path.relpath(live.chain_path, state.path),
        key=os.path.relpath(live.key_path, state.path),
        certificate_folder=os.path.relpath(live.chain_path.parent, state.path),
        app=app,
        version=engine(kind).program(os.environ, False).version,
    )


async def asked(facts: RenderFacts, path: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        return await client.get(
            f"http://{facts.policy.listen.http[0]}{path}", headers={"Host": "api.internal"}
        )


def test_they_come_and_go_and_are_carried_by_every_change(facts: RenderFacts, tmp_path: Path) -> None:
    kind = engine(facts.policy.site.engine)
    driver = kind.drive(tmp_path / "state", kind.program(os.environ, False), lambda: None, uid=-1)
    waiting = replace(facts, challenges=PENDING)
    http = facts.policy.http.model_copy(update={"mode": "refuse"})
    refusing = replace(waiting, policy=facts.policy.model_copy(update={"http": http}))

    async def answered(*, mode: int) -> None:
        assert (await asked(facts, "/")).status_code == mode
        assert (await asked(facts, PATH + TOKEN)).text == f"{TOKEN}.thumbprint"
        assert (await asked(facts, PATH + OTHER)).status_code == 404

    async def life() -> None:
        try:
            await driver.start(waiting)
            await answered(mode=308)
            await driver.apply(refusing)
            await answered(mode=403)
            await driver.stop()
            await driver.start(waiting)
            await answered(mode=308)
            await driver.challenge(facts)
            assert (await asked(facts, PATH + TOKEN)).status_code == 404
            await driver.challenge(replace(facts, challenges=Challenges(http=((OTHER, f"{OTHER}.x"),))))
            assert (await asked(facts, PATH + OTHER)).text == f"{OTHER}.x"
            await driver.apply(facts)
            assert (await asked(facts, PATH + OTHER)).status_code == 404
        finally:
            await driver.stop()
            driver.remove()

    asyncio.run(asyncio.wait_for(life(), 240))
