"""The guide about client certificates is executed, and what it says comes out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.docs.test_tutorial import BLOCK, commands, matches, wait_for
from tests.live.served import free_port, loopback

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "clients.md"


def test_every_step_of_the_guide(tmp_path: Path) -> None:
    text = GUIDE.read_text()
    host = loopback()
    https, plain = free_port(host), free_port(host)
    # The guide's own address belongs to whoever runs it.
    text = text.replace("127.0.0.1:8443", f"{host}:{https}").replace("localhost:8443", f"{host}:{https}")
    text = text.replace("localhost:8080", f"{host}:{plain}")
    for language, name, body in BLOCK.findall(text):
        if name and language in {"toml", "python", "csv"}:
            (tmp_path / name).write_text(body.replace("[site]", f'[site]\nnames = ["{host}"]'))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEALGATE_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SEALGATE_STATE": str(tmp_path / ".sealgate"),
        "SEALGATE_LISTEN__HTTPS": f"{host}:{https}",
        "SEALGATE_LISTEN__HTTP": f"{host}:{plain}",
        "SEALGATE_MONITOR__LISTEN": "",
        "PYTHONWARNINGS": "",
        "COLUMNS": "120",
    }
    server: subprocess.Popen[bytes] | None = None
    try:
        for command in commands(text):
            shell = ["bash", "-c", command.line]
            if command.how == "background":
                log = tmp_path / "serve.log"
                with log.open("wb") as out:
                    shell[-1] = f"exec {command.line}"
                    server = subprocess.Popen(shell, cwd=tmp_path, env=environment, stdout=out)
                wait_for(log, command.expected)
                continue
            done = subprocess.run(
                shell,
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode != 0) == (command.how == "fails"), (command.line, done.stdout)
            told = f"{command.line}\nprinted:\n{done.stdout}\nexpected:\n{command.expected}"
            assert matches(command.expected, done.stdout), told
        assert server is not None
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    finally:
        if server is not None and server.poll() is None:
            server.kill()
