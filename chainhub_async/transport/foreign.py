"""Maps aiohttp's exceptions to this package's, in this one place."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

import aiohttp
import attrs

from chainhub_async import errors
from chainhub_async.errors import printable
from chainhub_async.transport.evidence import AGAIN, Verdict, judge_connect
from chainhub_async.transport.recorder import MalformedBodyError
from chainhub_async.transport.session import BrokenOffError

_SSL_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


@attrs.frozen
class Problem:
    """A foreign exception without its traceback, whose frames hold the key.

    Attributes:
        kind: `certificate`, `connect`, `deadline`, `dns`, `early`, `lost`, `malformed`, `oversize`
            or `proxy`.
        text: its message, safe to show.
        status: the status of a proxy's response.
    """

    kind: str
    text: str
    status: int | None = None

    @classmethod
    def of(cls, foreign: Exception, hide: Callable[[str], str]) -> Problem:
        """Reads an exception raised by aiohttp.

        Args:
            foreign: the exception.
            hide: removes the key from a text: aiohttp quotes what it could not parse.
        """
        text = printable(hide(f"{type(foreign).__name__}: {foreign}".removesuffix(": ")), 300)
        if isinstance(foreign, BrokenOffError):
            return cls("lost", printable(hide(str(foreign)), 300))
        if isinstance(foreign, MalformedBodyError):
            return cls("malformed", str(foreign))
        if isinstance(foreign, aiohttp.ClientHttpProxyError):
            return cls("proxy", f"the proxy responded with {foreign.status}", foreign.status)
        if isinstance(foreign, aiohttp.ClientProxyConnectionError):
            return cls("proxy", text)
        if isinstance(foreign, aiohttp.ClientConnectorDNSError):
            return cls("dns", printable(f"{foreign.host}: {foreign.os_error}", 300))
        if isinstance(foreign, aiohttp.ClientConnectorCertificateError):
            return cls("certificate", printable(foreign.certificate_error, 300))
        if isinstance(foreign, aiohttp.ClientConnectorSSLError):
            cut = isinstance(foreign.os_error, _SSL_BROKEN_OFF)
            return cls("connect" if cut else "certificate", text)
        if isinstance(foreign, aiohttp.ClientConnectorError):
            number = foreign.os_error.errno
            reason = os.strerror(number) if number and number > 0 else foreign.os_error
            return cls("connect", printable(f"{foreign.host}:{foreign.port}: {reason}", 300))
        # aiohttp reports a response that is not HTTP as status 400, which no server sent.
        if isinstance(foreign, aiohttp.ClientResponseError):
            # What it quotes of the response may be cut in the middle of a key.
            what = foreign.message.partition("\n")[0].partition(": b'")[0].rstrip(":")
            return cls("malformed", printable(hide(what), 300))
        return cls("lost", text)

    def before_connected(self) -> tuple[errors.ConnectError, Verdict]:
        """Returns the error and verdict if no connection had been established yet."""
        if self.kind == "certificate":
            return (
                errors.CertificateError(f"TLS failed before anything was sent: {self.text}."),
                Verdict(billed=errors.Billed.NO),
            )
        if self.kind == "proxy":
            # What a proxy refuses once it refuses again, unless the proxy itself failed.
            again = self.status is None or self.status >= 500 or self.status == 429
            return (
                errors.ProxyError(f"The proxy connection failed: {self.text}."),
                Verdict(billed=errors.Billed.NO, resends=AGAIN if again else 0),
            )
        kind = errors.NameResolutionError if self.kind == "dns" else errors.ConnectError
        return kind(f"No connection could be made: {self.text}."), judge_connect()
