"""The tutorial is executed, from its first command to its last, and what it says comes out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.live.served import free_port

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command line, what it prints, and how it is run: "", "fails", "background"."""

    line: str
    expected: str
    how: str


def commands(text: str) -> list[Command]:
    found = []
    for language, how, body in BLOCK.findall(text):
        if language == "console" and how != "skip":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                line, _, expected = part.partition("\n")
                found.append(Command(line, expected, how))
    return found


def matches(expected: str, printed: str) -> bool:
    pattern = ".*?".join(re.escape(piece) for piece in expected.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def test_every_step_of_the_tutorial(tmp_path: Path) -> None:
    text = TUTORIAL.read_text()
    https, plain = free_port("127.0.0.1"), free_port("127.0.0.1")
    for language, name, body in BLOCK.findall(text):
        if language == "python":
            (tmp_path / name).write_text(body)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEALGATE_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SEALGATE_STATE": str(tmp_path / ".sealgate"),
        "SEALGATE_LISTEN__HTTPS": f"127.0.0.1:{https}",
        "SEALGATE_LISTEN__HTTP": f"127.0.0.1:{plain}",
        "SEALGATE_MONITOR__LISTEN": "",
        "PYTHONWARNINGS": "",
    }

    def here(command: str) -> str:
        return command.replace("8443", str(https)).replace("8080", str(plain))

    server: subprocess.Popen[bytes] | None = None
    try:
        for command in commands(text):
            line, expected = here(command.line), here(command.expected)
            if command.how == "background":
                log = tmp_path / "serve.log"
                with log.open("wb") as out:
                    server = subprocess.Popen(
                        ["bash", "-c", f"exec {line}"], cwd=tmp_path, env=environment, stdout=out
                    )
                wait_for(log, expected)
                continue
            assert server is not None
            line = line.replace("pkill -HUP -f 'sealgate serve'", f"kill -HUP {server.pid}")
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode != 0) == (command.how == "fails"), (line, done.stdout)
            assert matches(expected, done.stdout), f"{line}\nprinted:\n{done.stdout}\nexpected:\n{expected}"
        assert server is not None
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    finally:
        if server is not None and server.poll() is None:
            server.kill()


def wait_for(log: Path, expected: str) -> None:
    end = time.monotonic() + 30
    beginning = expected.partition("...")[0]
    while beginning not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
