"""Renewing: a certificate in time, seen by a handshake; else the one before is live again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sealgate._system.clock import system_clock
from sealgate.acme.order import Obtained
from sealgate.errors import NotObserved, SealgateError
from sealgate.pki.live import LiveCertificate
from sealgate.pki.obtained import publish_obtained
from sealgate.pki.orders import carry_out
from sealgate.runtime.observation import observe
from sealgate.runtime.site import Site
from sealgate.runtime.snapshot import Tally
from sealgate.runtime.standing import Standing

__all__ = ["Renewing"]

_EVERY = 15.0


class Renewing:
    """Keeps the certificate of what stands.

    Args:
        standing: what stands.
        say: one line for people.
        tally: notes how renewals go.
    """

    def __init__(self, standing: Standing, say: Callable[[str], None], tally: Tally) -> None:
        self._standing, self._say, self._tally = standing, say, tally

    async def keep(self) -> None:
        """Renew when it is due."""
        said = ""
        while True:
            # To the moment, where somebody's list ends before.
            await asyncio.sleep(min(_EVERY, self._standing.publication.lapses_in + 0.01))
            try:
                await self.renew(force=False)
            except Exception as error:  # noqa: BLE001 - the next one must still be tried
                text = str(error) if isinstance(error, SealgateError) else f"{type(error).__name__}: {error}"
                if said != text:
                    self._say(text)
                said = text
            else:
                said = ""

    async def renew(self, *, force: bool) -> dict[str, Any]:
        """As :meth:`_renew`; how it went is noted for whoever watches."""
        return await self._tally.tried(self._renew(force=force))

    async def _renew(self, *, force: bool) -> dict[str, Any]:
        """Issue (or take over) a certificate where due, and see it served.

        Returns:
            `fingerprint`, `not_after`, `renewed`, and `seen_after` in seconds.

        Raises:
            NotObserved: `renewed-not-served`: the old certificate is live again.
        """
        standing, publication = self._standing, self._standing.publication
        async with standing.changing:
            site = standing.site
            loaded = site.loaded
            certificate = await asyncio.to_thread(publication.certificate, loaded, force=force)
            began = time.monotonic()
            renewed = certificate.fingerprints != site.certificate.fingerprints
            if renewed:
                standing.serving = replace(site, certificate=certificate)
                await standing.refresh()
                await self._seen_or_back(site)
                self._say(f"certificate renewed, served until {_ends(certificate)}")
            taken = round(time.monotonic() - began, 3)
            # After it: a list that is unsound must not keep a new certificate from being served.
            trust = publication.trust
            await asyncio.to_thread(publication.keys, loaded)
            await asyncio.to_thread(publication.clients, loaded)
            if publication.trust != trust:
                await standing.refresh()
            if publication.others or publication.long != site.long_lists:
                standing.authorities_changed.set()
            second = certificate.second
            beside = (
                {"second": {"fingerprint": second.fingerprint, "not_after": second.not_after.isoformat()}}
                if second is not None
                else {}
            )
            return {
                "fingerprint": certificate.fingerprint,
                "not_after": certificate.not_after.isoformat(),
                "renewed": renewed,
                "seen_after": taken,
            } | beside

    async def _seen_or_back(self, before: Site) -> None:
        standing = self._standing
        try:
            await observe(standing.site, processes=standing.processes)
        except NotObserved as error:
            back = await asyncio.to_thread(standing.publication.certificate_back, before)
            standing.serving = replace(standing.site, certificate=back)
            await standing.refresh()
            title = standing.kind.title if standing.kind else "the engine"
            raise NotObserved(
                "renewed-not-served",
                f"{title} does not serve the new certificate ({error.fact}); the old one is live again",
                "look at the lines before this one; the next try is made by itself",
            ) from None

    async def take_over(self, obtained: Obtained) -> LiveCertificate:
        """Serve what an authority issued, and see it served.

        Raises:
            CertificateError: it does not fit the policy (which may have changed meanwhile).
            NotObserved: `renewed-not-served`: the old certificate is live again.
        """
        standing = self._standing
        async with standing.changing:
            before = standing.site
            live = await asyncio.to_thread(
                publish_obtained,
                standing.state,
                before.policy,
                obtained.chain_pem,
                obtained.key_pem,
                authority=obtained.authority,
                clock=system_clock,
            )
            standing.serving = replace(before, certificate=live)
            await standing.refresh()
            await self._seen_or_back(before)
            self._say(f"certificate from {obtained.authority}, served until {_ends(live)}")
            return live

    async def carry_out(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What the command line would do by itself without a keeper; then see it served."""
        standing = self._standing
        async with standing.changing:
            loaded = standing.site.loaded
            answer = await asyncio.to_thread(
                carry_out,
                order,
                state=standing.state,
                policy=loaded.policy,
                clock=system_clock,
                base=loaded.base,
            )
        if order["order"] != "cert-request":
            await self.renew(force=False)
        return answer


def _ends(live: LiveCertificate) -> str:
    return " and ".join(f"{one.not_after:%Y-%m-%d %H:%M} UTC" for one in live.both)
