"""``sealgate init --from``: another server's configuration as a policy, and what to say about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from sealgate._system.clock import system_clock
from sealgate.cli._findings import named_certificates
from sealgate.cli._output import note
from sealgate.engines.configurations.installed import from_file, installed_nginx
from sealgate.engines.configurations.nginx import read_nginx
from sealgate.engines.contract import enforced
from sealgate.engines.proposals.nginx import propose_nginx
from sealgate.engines.proposals.proposal import Key, Proposal
from sealgate.engines.registry import engine, engine_ids
from sealgate.errors import PolicyError, SealgateError, UsageError
from sealgate.pki.inspect import key_type_of
from sealgate.pki.live import parse_chain
from sealgate.policy.load import loads
from sealgate.policy.profiles import load_profile
from sealgate.policy.quoting import shown
from sealgate.policy.template import policy_template

__all__ = ["Imported", "read_server"]

_NAMES = ("site", "names")
_ENGINE = ("site", "engine")
_CHAIN = ("certificate", "files", "chain")
_PROFILE = ("tls", "profile")
_AUTHORITIES = ("clients", "authorities")
_OPEN = "WOULD BECOME OPEN TO EVERYBODY (have the app refuse it first, or leave this site as it is):"
_MEND = "REFUSED by `sealgate check` and `serve` until it is mended:"
_MODERN, _INTERMEDIATE = "modern@6.0", "intermediate@6.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A proposal together with what the call itself set.

    Attributes:
        main: the configuration file it began in.
        refused: what `check` says of files that are named there, and the place that names them.
    """

    main: str
    chosen: dict[Key, Any]
    proposal: Proposal
    refused: tuple[tuple[str, SealgateError], ...] = ()

    @property
    def remarks(self) -> dict[Key, str]:
        """Beside each key, where it was found."""
        return {key: f"(From {place}.)" for key, place in self.proposal.origins.items()}

    @property
    def preface(self) -> list[str]:
        """For the top of the file."""
        found = self.proposal
        opened, shorter, changed = (
            [f"- {place}: {why}" for place, why in said]
            for said in (found.opened, found.shorter, found.changed)
        )
        left = [f"- {place}: {what + ': ' if what else ''}{why}" for place, what, why in self.proposal.left]
        mended = [f"- {place}: {said.code}: {said.fact}; {said.remedy}" for place, said in self.refused]
        lines = [f"Proposed from {self.main}, of which nothing was changed. Look at every line."]
        lines += ["", _MEND, *mended] if mended else []
        lines += ["", _OPEN, *opened] if opened else []
        lines += ["", "SHORTER, or smaller, than there:", *shorter] if shorter else []
        lines += ["", "What will hold otherwise than there:", *changed] if changed else []
        lines += ["", "What could not be carried over:", *left] if left else []
        return lines

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            "from": self.main,
            "carried": {".".join(key): place for key, place in self.proposal.origins.items()},
            "refused": [
                {"place": place, "code": said.code, "fact": said.fact, "remedy": said.remedy}
                for place, said in self.refused
            ],
            "opened": [{"place": place, "why": why} for place, why in self.proposal.opened],
            "shorter": [{"place": place, "why": why} for place, why in self.proposal.shorter],
            "changed": [{"place": place, "why": why} for place, why in self.proposal.changed],
            "left": [{"place": p, "directive": what, "why": why} for p, what, why in self.proposal.left],
        }

    def with_change(self, place: str, said: str, keys: dict[Key, Any]) -> Imported:
        """With other values for some keys, and the reason."""
        changed = (*self.proposal.changed, (place, said))
        return replace(self, chosen=self.chosen | keys, proposal=replace(self.proposal, changed=changed))

    def tell(self) -> None:
        """What people look at before they believe the file."""
        for line in (*self.preface[1:], ""):
            note(f"  {line}" if line else "")


def read_server(origin: str, file: Path | None, flags: dict[Key, Any]) -> Imported:
    """The proposal of a server's configuration.

    Args:
        origin: the server.
        file: its main configuration file; None for the installed server's.
        flags: keys that the call sets; they win, but `--name`, which chooses the site.

    Raises:
        UsageError: ``server-config-unreadable``, ``server-config-no-site``.
    """
    if origin != "nginx":
        raise UsageError("usage-wrong", f"{origin} cannot be read", "use nginx")
    main, library = from_file(file) if file else installed_nginx()
    configuration = read_nginx(main, library)
    wanted = flags.get(_NAMES, ("",))[0]
    proposal = propose_nginx(configuration, wanted=wanted)
    if proposal is None:
        _no_site(main, wanted, [unread.why for unread in configuration.unread])
    chosen = dict(proposal.chosen) | {key: value for key, value in flags.items() if key != _NAMES}
    imported = _with_profile(Imported(main=main, chosen=chosen, proposal=proposal))
    return _with_refused(_with_engine(imported, origin))


def _no_site(main: str, wanted: str, unread: list[str]) -> NoReturn:
    named = f" with the name {shown(wanted)}" if wanted else ""
    why = f" ({unread[0]})" if unread else ""
    raise UsageError(
        "server-config-no-site",
        f"no server block{named} was found from {main} on{why}",
        "mend the file until `nginx -t` accepts it, or name another with --server-config",
    )


def _with_profile(imported: Imported) -> Imported:
    """Another profile where the certificate's key does not fit the nearest: modern has no RSA."""
    chain, name = imported.chosen.get(_CHAIN), imported.chosen.get(_PROFILE)
    if chain is None or name != _MODERN:
        return imported
    try:
        key = key_type_of(parse_chain(Path(chain).read_bytes(), chain)[0].public_key())
    except (OSError, SealgateError):
        return imported  # `check` will say what is wrong with it
    if load_profile(name).accepts_key(key):
        return imported
    said = f"{name} does not allow the certificate's key ({key}): {_INTERMEDIATE}, which has TLS 1.2 as well"
    return imported.with_change(chain, said, {_PROFILE: _INTERMEDIATE})


def _with_engine(imported: Imported, origin: str) -> Imported:
    """The server that people have, where it can enforce the proposal; else the default."""
    if _ENGINE in imported.chosen or origin not in engine_ids():
        return imported
    chosen = imported.chosen | {_ENGINE: origin}
    try:
        policy = loads(policy_template(chosen), path=Path("/sealgate.toml"), environ={}).policy
        enforced(engine(origin), policy)
    except PolicyError as error:
        first = error.problems[0] if error.problems else None
        said = f"{first.key}: {first.fact}" if first else error.fact
        return imported.with_change("site.engine", f"{origin} is not proposed: {said}", {})
    return replace(imported, chosen=chosen)


def _with_refused(imported: Imported) -> Imported:
    """What nginx serves and we would not: an authority's own certificate, one that ended."""
    try:
        policy = loads(policy_template(imported.chosen), path=Path("/sealgate.toml"), environ={}).policy
    except PolicyError:
        return imported  # `init` itself will say so, and write nothing
    _, wrong = named_certificates(policy, Path("/"), system_clock)
    origins = imported.proposal.origins
    places = {"certificate.files": origins.get(_CHAIN), "clients.authorities": origins.get(_AUTHORITIES)}
    refused = tuple((places[table] or table, error) for table, error in wrong.items())
    return replace(imported, refused=refused)
