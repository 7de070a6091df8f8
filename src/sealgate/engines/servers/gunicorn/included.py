"""A Gunicorn that somebody else runs: one file of ours, executed by the last line of its own file.

The last word counts in such a file, so nothing in it can weaken the policy; what it says of workers, threads,
logs and its own hooks stays. Our file holds the policy as it was applied, whole.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal
from sealgate.engines.facts import RenderFacts
from sealgate.engines.installed.contract import Included, Started, count
from sealgate.engines.installed.promises import second_key, unseen, watching
from sealgate.engines.servers.gunicorn.capabilities import capabilities
from sealgate.engines.servers.gunicorn.started import check_words, running, started
from sealgate.errors import EngineError
from sealgate.policy.fields import leaves, shape_of, written
from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.secrets import SecretRef

__all__ = ["INCLUDED", "policy_text"]

_NOTE = b"  # the site of Sealgate; taken out by: sealgate rollback --all"
_PLAIN = re.compile(r"[A-Za-z0-9_./@+:=, ()~-]+")
_MODULE = "sealgate.runtime.inside.gunicorn.applied"
# Reads the file as Python would, and runs nothing: for a Gunicorn that is not there to be asked how.
_SYNTAX = "import ast, sys; ast.parse(open(sys.argv[1], 'rb').read(), sys.argv[1])"
_UNOBSERVED = (
    "limits and timeouts: our worker keeps them, no look tries them",
    "your app: the looks are answered before it",
    "client certificates: where they are required, a look sees certificate and protocol alone",
    "keys: the app runs as who owns them, and nobody confines it",
)
_OTHERWISE = {
    "site.app": ("the app can read every key that its user can: not separated", "no keeper confines it"),
    "site.workers": ("as many workers as you told Gunicorn", "your file or command line"),
    "site.threads": ("as many threads as you told Gunicorn", "your file or command line"),
    "certificate.source": ("renewed at each apply that finds it due", "from 2/3 of its life on"),
    "timeouts.drain": ("exchanges may finish on stop and reload for {drain} s", "graceful_timeout"),
}
_MINE = Capability(
    "certificate",
    "authority keys are files of the user who calls `apply`",
    Enforcer.KEEPER,
    "0600, one owner",
)


def _capabilities(policy: Policy) -> tuple[Capability | Refusal, ...]:
    """As of Gunicorn under a keeper, but for what only a keeper does."""
    rows = (row for row in capabilities(policy) if not row.key.startswith("monitor."))
    said = (row if isinstance(row, Refusal) else _otherwise(row, policy) for row in rows)
    return (*said, *watching(policy), *_refusals(policy))


def _otherwise(row: Capability, policy: Policy) -> Capability:
    if row.key in _OTHERWISE:
        promise, how = _OTHERWISE[row.key]
        promise = promise.format(drain=f"{policy.timeouts.drain:g}")
        return Capability(row.key, promise, Enforcer.ENGINE, how)
    if row.key == "site.engine":
        how = "its check before, handshakes after each change; `sealgate observe`"
        return Capability(row.key, "your Gunicorn serves what is meant", Enforcer.KEEPER, how)
    if row.key == "tls.profile" and row.promise.startswith("key exchange"):
        said = "key exchange by OpenSSL's own defaults, before Python 3.15"
        return Capability(row.key, said, Enforcer.ENGINE, "OPENSSL_CONF in your unit changes them")
    if row.key == _MINE.key and row.promise.startswith("authority keys"):
        return _MINE
    if row.key == ALWAYS and "JSON" in row.promise:
        said = "requests are logged as you told Gunicorn"
        return Capability(row.key, said, Enforcer.ENGINE, "your own access log")
    return row


def _refusals(policy: Policy) -> Iterator[Refusal]:
    if policy.certificate.source == "acme":
        reason = "no keeper is there to obtain it and to answer challenges"
        yield Refusal("certificate.source", reason, '"private" or "files", or `sealgate serve`')
    yield from second_key(policy)
    yield from unlisted(policy)
    yield from unseen(policy)


def unlisted(policy: Policy) -> Iterator[Refusal]:
    """What no Gunicorn without a keeper can: know whose tokens count, how often who calls, who is revoked."""
    if policy.tokens.issuers:
        reason = "nobody follows the keys of issuers here, so no token would count"
        yield Refusal("tokens.issuers", reason, "no issuers, or `sealgate serve`")
    if policy.tokens.api_keys:
        yield Refusal(
            "tokens.api_keys", "nobody follows the store here, so no key would count", "`sealgate serve`"
        )
    if policy.validation.openapi:
        reason = "nobody reads the document for its workers here"
        yield Refusal("validation.openapi", reason, "no document, or `sealgate serve`")
    if policy.limits.rates:
        reason = "nobody shares the count of requests among workers here"
        yield Refusal("limits.rates", reason, "no rates, or `sealgate serve`")
    if policy.own_list:
        reason = "nobody makes the private authority's list anew here, so a revoked certificate would count"
        yield Refusal(
            "clients.authorities", reason, "an authority with a file and a crl, or `sealgate serve`"
        )
    elif policy.fetched_lists:
        yield Refusal(
            "clients.authorities",
            "nobody fetches lists here, so nobody could be judged by them",
            'a path in crl, or "off" where every authority has it, or `sealgate serve`',
        )
    elif policy.client_lists and not policy.engine_lists:
        reason = "nobody tells the guard who was revoked here, and Gunicorn takes lists of all or none"
        yield Refusal(
            "clients.authorities", reason, "lists of all authorities and no grace, or `sealgate serve`"
        )


def policy_text(policy: Policy) -> str:
    """The policy as a file, without what is as by default; pure."""
    lines = []
    for path, shape in leaves(shape_of(Policy), whole=SecretRef):
        value, usual = _at(policy, path), _at(Policy(), path)
        if value is not None and value != usual:
            lines.append(f"{'.'.join(path)} = {written(shape, value)}")
    return "".join(f"{line}\n" for line in lines)


def _at(policy: Policy, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - any value of a policy
    found: Any = policy
    for name in path:
        found = getattr(found, name, None)
    return found


def _render(facts: RenderFacts, shared: tuple[Endpoint, ...]) -> bytes:
    """The whole file: Python that Gunicorn executes with its own."""
    del shared  # what it listens on is said here, and by nobody else
    paths = {"chain": facts.chain, "key": facts.key, "trust": facts.trust, "lists": facts.lists}
    text = policy_text(facts.policy).splitlines(keepends=True)
    policy = "\n".join(f"        {json.dumps(line)}" for line in text)
    lines = [
        "# Written by Sealgate. Change sealgate.toml instead, then: sealgate apply",
        f"from {_MODULE} import applied",
        "",
        "globals().update(",
        "    applied(",
        "        globals(),",
        *(f"        {name}={json.dumps(path)}," for name, path in paths.items()),
        "        policy=",
        policy or '        ""',
        "    )",
        ")",
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def _line(own: str) -> bytes:
    return _directive(own) + _NOTE


def _directive(own: str) -> bytes:
    return f'exec(compile(open("{own}", "rb").read(), "{own}", "exec"))'.encode()


def _include(main: bytes, own: str) -> bytes:
    """With our line last: it has the last word."""
    if not _PLAIN.fullmatch(own):
        fact = f"{own!a} cannot be named in a Python file without escapes"
        raise EngineError("server-config-unfit", fact, "name another state directory with --state")
    # Without an end of line before, it gets none after: so that taking it out leaves what was.
    return main + _line(own) + b"\n" if main.endswith(b"\n") or not main else main + b"\n" + _line(own)


def _exclude(main: bytes, own: str) -> bytes:
    """Without our lines, and without what somebody left of them; what else was edited since stays."""
    line = _line(own)
    main = main.replace(line + b"\n", b"").removesuffix(b"\n" + line)
    main = main.removeprefix(line) if main == line else main
    return main.replace(_directive(own), b"pass")


def _count(main: bytes, own: str) -> int:
    """Our line names our file twice."""
    return -(-count(main, own) // 2)


def _check(program: Path, main: Path, one: Started | None = None) -> tuple[str, ...]:
    """Gunicorn's own check, started as it was started; it imports the app too."""
    if one is None:
        return (str(program), "-I", "-c", _SYNTAX, str(main))
    python, *words = check_words(one)
    found = shutil.which(python, path=one.environ.get("PATH")) or python
    return (found, *words, "--config", str(main), "--check-config")


def _nothing(_program: Path, _main: Path) -> tuple[tuple[str, ...], ...]:
    return ()


def _no_pid_file(_output: str) -> str:
    return ""


def _find(_environ: Mapping[str, str]) -> Path:
    return Path(sys.executable)


INCLUDED = Included(
    id="gunicorn",
    title="Gunicorn",
    mains=("gunicorn.conf.py",),
    find=_find,
    capabilities=_capabilities,
    render=_render,
    include=_include,
    exclude=_exclude,
    count=_count,
    check=_check,
    ask=_nothing,
    pid_file=_no_pid_file,
    reload=signal.SIGHUP,
    backend="wsgi",
    unobserved=_UNOBSERVED,
    running=running,
    started=started,
)
