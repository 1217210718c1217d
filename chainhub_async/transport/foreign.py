"""aiohttp's exceptions → this package's: the one place where that is done."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import aiohttp
import attrs

from chainhub_async import errors
from chainhub_async.errors import printable
from chainhub_async.transport.evidence import AGAIN, Verdict, judge_connect
from chainhub_async.transport.session import BrokenOffError

_SSL_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


@attrs.frozen
class Problem:
    """A foreign exception without its traceback, whose frames hold the key.

    Attributes:
        kind: `certificate`, `connect`, `deadline`, `dns`, `early`, `lost`, `malformed`, `oversize`
            or `proxy`.
        text: what it says, fit to be shown.
        status: the status of a proxy's answer.
    """

    kind: str
    text: str
    status: int | None = None

    @classmethod
    def of(cls, foreign: Exception, hide: Callable[[str], str]) -> Problem:
        """Reads an exception that came out of aiohttp.

        Args:
            foreign: the exception.
            hide: takes the key out of a text: aiohttp quotes what it could not read.
        """
        text = printable(hide(f"{type(foreign).__name__}: {foreign}".removesuffix(": ")), 300)
        if isinstance(foreign, BrokenOffError):
            return cls("lost", printable(foreign, 300))
        if isinstance(foreign, aiohttp.ClientHttpProxyError):
            return cls("proxy", f"the proxy answered {foreign.status}", foreign.status)
        if isinstance(foreign, aiohttp.ClientProxyConnectionError):
            return cls("proxy", text)
        if isinstance(foreign, aiohttp.ClientConnectorDNSError):
            return cls("dns", printable(f"{foreign.host}: {foreign.os_error}", 300))
        if isinstance(foreign, aiohttp.ClientConnectorCertificateError):
            return cls("certificate", printable(foreign.certificate_error, 300))
        if isinstance(foreign, aiohttp.ClientConnectorSSLError):
            cut = isinstance(foreign.os_error, _SSL_BROKEN_OFF)
            return cls("connect" if cut else "certificate", text)
        # aiohttp reports an answer that is not HTTP as status 400, which no server sent.
        if isinstance(foreign, aiohttp.ClientResponseError):
            return cls("malformed", printable(hide(foreign.message), 300))
        return cls("lost", text)

    def before_connected(self) -> tuple[errors.ConnectError, Verdict]:
        """Returns what it means when no connection had been made yet."""
        if self.kind == "certificate":
            return (
                errors.CertificateError(f"TLS was refused before anything was sent: {self.text}."),
                Verdict(billed=errors.Billed.NO),
            )
        if self.kind == "proxy":
            # What a proxy refuses once it refuses again, except when it is itself in trouble.
            again = self.status is None or self.status >= 500 or self.status == 429
            return (
                errors.ProxyError(f"No way through the proxy: {self.text}."),
                Verdict(billed=errors.Billed.NO, resends=AGAIN if again else 0),
            )
        kind = errors.NameResolutionError if self.kind == "dns" else errors.ConnectError
        return kind(f"No connection could be made: {self.text}."), judge_connect()
