"""Where this project does not do what the contract says, and why: on purpose, or not yet."""

from collections.abc import Mapping

from tests.contract.cases import Case, Key

_ON_PURPOSE: Mapping[Key, str] = {
    ("env", "origins"): (
        "on purpose: pages from files, browser extensions and desktop shells are let in only by"
        " name, and [::1] counts as this machine"
    ),
}

_ROUTES_NOT_YET: Mapping[str, str] = {
    "/api/pull": "not yet: no registry",
    "/api/push": "not yet: no registry",
    "/v1/": "not yet: no other dialect than the native one",
}


def reason_for(case: Case) -> str | None:
    """Why a case fails, None when it must not."""
    if case.suite == "http":
        path = case.input["path"]
        return next((why for start, why in _ROUTES_NOT_YET.items() if path.startswith(start)), None)
    return _ON_PURPOSE.get(case.key)
