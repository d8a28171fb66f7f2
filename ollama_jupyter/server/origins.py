"""Who may ask: the Host, Origin and key checks that every request passes before its route.

A browser lets any page send requests to this machine; two headers it cannot forge tell such a
request from a program's. `Host` names what the page believed it talked to, so a name that only
now resolves to us (DNS rebinding) is told by it. `Origin` and `Sec-Fetch-Site` name who asks.
A key then tells our user from the others of a machine or a network.

    Host not one of ours                          403, empty
    Origin given, not ours, not in the list       403, empty
    no Origin, but Sec-Fetch-Site says a page     403, empty
    OPTIONS with an allowed Origin                204 with the CORS headers
    OPTIONS without one, by name                  204
    no or wrong key                               401
    else                                          go on, with the CORS headers of the origin

The reference skips the Host check when it listens beyond this machine and trusts whole suffixes;
here the names are exact and always checked.
"""

import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(?::[0-9]{1,5})?")
_FOREIGN_SITES: Final = ("cross-site", "same-site")
_ALLOWED_METHODS: Final = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_STAINLESS: Final = (
    "Arch",
    "Async",
    "Custom-Poll-Interval",
    "Helper-Method",
    "Lang",
    "Os",
    "Package-Version",
    "Poll-Helper",
    "Retry-Count",
    "Runtime",
    "Runtime-Version",
    "Timeout",
)
_ALLOWED_HEADERS: Final = ",".join(
    (
        "Authorization",
        "Content-Type",
        "User-Agent",
        "Accept",
        "X-Requested-With",
        "Openai-Beta",
        *(f"X-Stainless-{name}" for name in _STAINLESS),
    )
)
_PREFLIGHT_MAX_AGE_SECONDS: Final = 43200


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a request's head says about who sent it.

    Attributes:
        method: the HTTP method.
        host: the Host header; None when there was none.
        origin: the Origin header; None when there was none.
        fetch_site: the Sec-Fetch-Site header, "" when there was none.
        authorization: the Authorization header, "" when there was none.
        local_address: the address of ours that the connection came to; "" on a Unix socket.
        needs_key: whether the route is closed to those without the key.
    """

    method: str
    host: str | None
    origin: str | None = None
    fetch_site: str = ""
    authorization: str = ""
    local_address: str = ""
    needs_key: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What becomes of a request: None for `status` lets it in; `headers` go with the answer."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The rules of one server.

    Attributes:
        origins: allowed origins, each with one `*` at most.
        host_names: names that may stand in Host besides `localhost`, in lower case.
        api_key: the key requests must carry; None when there is none.
    """

    origins: tuple[str, ...]
    host_names: frozenset[str] = frozenset()
    api_key: str | None = None

    def admit(self, caller: Caller) -> Admission:
        """Decide about one request from its head alone."""
        name = _host_name(caller.host)
        if name is None or not self._is_ours(name, caller.local_address):
            return Admission(status=403)
        headers = self._cors_headers(caller)
        if headers is None:
            return Admission(status=403)
        if caller.method == "OPTIONS":
            if headers:
                return Admission(status=204, headers=headers | _preflight_headers(headers))
            if _address(name) is None:
                return Admission(status=204)
        if caller.needs_key and not self._has_key(caller.authorization):
            return Admission(status=401, headers=headers | {"WWW-Authenticate": "Bearer"})
        return Admission(headers=headers)

    def _is_ours(self, name: str, local_address: str) -> bool:
        address = _address(name)
        if address is not None and (address.is_loopback or str(address) == local_address):
            return True
        return name == "localhost" or name in self.host_names

    def _cors_headers(self, caller: Caller) -> dict[str, str] | None:
        """The headers that let a page read the answer; None refuses the request."""
        origin = caller.origin
        if origin is None:
            return None if caller.fetch_site.lower() in _FOREIGN_SITES else {}
        if origin in (f"http://{caller.host}", f"https://{caller.host}"):
            return {}
        if "*" in self.origins:
            return {"Access-Control-Allow-Origin": "*"}
        if any(_matches(pattern, origin) for pattern in self.origins):
            return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return None

    def _has_key(self, authorization: str) -> bool:
        if self.api_key is None:
            return True
        scheme, _, key = authorization.partition(" ")
        given = key.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self.api_key.encode())


def _host_name(host: str | None) -> str | None:
    """The name in a Host header, lower case, without port and brackets; None when malformed."""
    match = _HOST.fullmatch(host or "")
    return None if match is None else match[1].strip("[]").lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address a text spells in its one canonical form; None for a name or another spelling."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return address if str(address) == name else None


def _matches(pattern: str, origin: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return origin == pattern
    long_enough = len(origin) >= len(before) + len(after)
    return long_enough and origin.startswith(before) and origin.endswith(after)


def _preflight_headers(headers: Mapping[str, str]) -> dict[str, str]:
    answer = {
        "Access-Control-Allow-Methods": _ALLOWED_METHODS,
        "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
        "Access-Control-Max-Age": str(_PREFLIGHT_MAX_AGE_SECONDS),
    }
    if "Vary" in headers:
        answer["Vary"] = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    return answer
