"""Who may ask: hosts, origins and keys."""

import pytest

from ollama_jupyter.config import allowed_origins
from ollama_jupyter.server.origins import Admission, Caller, Gate

GATE = Gate(origins=allowed_origins(""), host_names=frozenset({"box.example"}))


def _admit(gate: Gate = GATE, **facts: object) -> Admission:
    return gate.admit(Caller(**({"method": "GET", "host": "127.0.0.1:11434"} | facts)))  # type: ignore[arg-type]  # as given by the tests


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:11434",
        "127.1.2.3:1",
        "localhost",
        "LocalHost:80",
        "[::1]:11434",
        "[::1]",
        "box.example:11434",
        "192.168.1.5:11434",
    ],
)
def test_gate_lets_our_own_names_in(host: str) -> None:
    assert _admit(host=host, local_address="192.168.1.5").status is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "localhost.evil.example",
        "localhost.",
        "127.0.0.1.",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "127.0.0.01",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "foo.local",
        "foo.internal",
        "foo.localhost",
        "localhost:",
        "localhost:x",
        "localhost:123456",
        "localhost@evil.example",
        "evil.example@localhost",
        "localhost evil",
        "[::1",
        "::1",
    ],
)
@pytest.mark.parametrize("origin", [None, "http://localhost"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_gate_refuses_every_other_name(host: str | None, origin: str | None, method: str) -> None:
    found = _admit(host=host, origin=origin, method=method, local_address="192.168.1.5")
    assert found == Admission(status=403)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "https://localhost:8888",
        "http://127.0.0.1:3000",
        "http://[::1]:8888",
        "http://0.0.0.0:1",
    ],
)
def test_gate_tells_an_allowed_page_that_it_may_read(origin: str) -> None:
    found = _admit(origin=origin)
    assert found == Admission(headers={"Access-Control-Allow-Origin": origin, "Vary": "Origin"})


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "file://",
        "http://evil.example",
        "http://localhost.evil.example",
        "http://evil-localhost",
        "https://127.0.0.1.evil.example:80",
        "chrome-extension://abc",
        "vscode-webview://abc",
        "",
        "http://localhost, http://evil.example",
        "HTTP://LOCALHOST.EVIL",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_gate_refuses_other_pages_without_headers(origin: str, method: str) -> None:
    assert _admit(origin=origin, method=method) == Admission(status=403)


def test_gate_takes_its_own_pages_for_granted() -> None:
    found = _admit(host="box.example:11434", origin="https://box.example:11434")
    assert found == Admission()


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site"])
def test_gate_refuses_a_page_that_sends_no_origin(site: str) -> None:
    assert _admit(fetch_site=site) == Admission(status=403)


@pytest.mark.parametrize("site", ["", "none", "same-origin"])
def test_gate_lets_users_and_programs_in(site: str) -> None:
    assert _admit(fetch_site=site).status is None


def test_gate_lets_named_origins_in() -> None:
    gate = Gate(origins=allowed_origins("https://app.example,moz-extension://*"))
    assert _admit(gate, origin="https://app.example", fetch_site="cross-site").status is None
    assert _admit(gate, origin="moz-extension://1234").status is None
    assert _admit(gate, origin="https://app.example.evil").status == 403


def test_gate_lets_every_page_in_when_told_to() -> None:
    found = _admit(Gate(origins=("*",)), origin="http://evil.example")
    assert found == Admission(headers={"Access-Control-Allow-Origin": "*"})


def test_a_pattern_does_not_match_what_is_shorter_than_its_two_ends() -> None:
    gate = Gate(origins=("http://aa*aa",))
    assert _admit(gate, origin="http://aaa").status == 403
    assert _admit(gate, origin="http://aaaa").status is None


def test_gate_answers_a_preflight() -> None:
    found = _admit(method="OPTIONS", origin="http://localhost:3000")
    assert found.status == 204
    assert found.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert found.headers["Access-Control-Allow-Methods"] == (
        "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
    )
    allowed = found.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert {"authorization", "content-type", "openai-beta", "x-stainless-os"} <= set(allowed)
    assert found.headers["Access-Control-Max-Age"] == "43200"
    assert "Access-Control-Request-Method" in found.headers["Vary"]


def test_gate_answers_options_by_name_and_passes_those_by_address_on() -> None:
    assert _admit(method="OPTIONS", host="localhost").status == 204
    assert _admit(method="OPTIONS", host="127.0.0.1").status is None


KEYED = Gate(origins=allowed_origins(""), api_key="s3cret")


@pytest.mark.parametrize("authorization", ["Bearer s3cret", "bearer  s3cret "])
def test_gate_takes_the_key(authorization: str) -> None:
    assert _admit(KEYED, authorization=authorization).status is None


@pytest.mark.parametrize(
    "authorization",
    ["", "s3cret", "Bearer", "Bearer s3cre", "Bearer s3cret2", "Bearer S3CRET", "Basic s3cret"],
)
def test_gate_refuses_without_the_very_key(authorization: str) -> None:
    found = _admit(KEYED, authorization=authorization)
    assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_gate_compares_keys_outside_ascii() -> None:
    assert _admit(KEYED, authorization="Bearer \udcff\udcfe").status == 401


def test_gate_asks_no_key_where_none_is_needed() -> None:
    assert _admit(KEYED, needs_key=False).status is None


def test_gate_asks_a_page_for_the_key_but_not_its_preflight() -> None:
    origin = "http://localhost:3000"
    found = _admit(KEYED, origin=origin)
    assert (found.status, found.headers["Access-Control-Allow-Origin"]) == (401, origin)
    assert _admit(KEYED, origin=origin, method="OPTIONS").status == 204
