from pathlib import Path

import pytest

from ollama_jupyter.api.types import CreateRequest, Message
from ollama_jupyter.errors import BadRequest
from ollama_jupyter.modelfile.commands import CreatePlan, expand_path, home_of, plan_create
from ollama_jupyter.modelfile.parser import parse

HOMES = {"": "/home/me", "you": "/home/you"}


def plan(text: str, *existing: str) -> CreatePlan:
    """The plan of a Modelfile in /models, where only the given paths exist."""
    return plan_create(
        parse(text), "/models", exists=lambda path: path in existing, find_home=HOMES.get
    )


@pytest.mark.parametrize(
    ("path", "folder", "expanded"),
    [
        ("~", "/d", "/home/me"),
        ("~/a", "/d", "/home/me/a"),
        ("~you/a/b", "/d", "/home/you/a/b"),
        ("~you", "/d", "/home/you"),
        ("a/../b/.", "/d", "/d/b"),
        ("./a", "/d/", "/d/a"),
        ("..", "/d/e", "/d"),
        ("/a//b/", "/d", "/a/b"),
        ("a~", "/d", "/d/a~"),
    ],
)
def test_expand_path_gives_an_absolute_path(path: str, folder: str, expanded: str) -> None:
    assert expand_path(path, folder, find_home=HOMES.get) == expanded


def test_expand_path_starts_at_the_working_folder_when_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expand_path("a", "") == str(tmp_path / "a")
    assert expand_path("a", "d") == str(tmp_path / "d" / "a")


def test_expand_path_refuses_an_unknown_user() -> None:
    with pytest.raises(BadRequest, match="failed to find user 'nobody-here'"):
        expand_path("~nobody-here/a", "")


def test_home_of_finds_the_current_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert home_of("") == "/somewhere"
    assert home_of("nobody-here") is None


def test_plan_create_takes_every_setting() -> None:
    made = plan(
        "FROM base\nTEMPLATE t1\nTEMPLATE t2\nSYSTEM s\nLICENSE a\nLICENSE b\nREQUIRES v1.2\n"
        "PARAMETER stop x\nPARAMETER stop y\nPARAMETER seed 1\nPARAMETER seed 2\n"
        "MESSAGE user hi: there\n"
    )
    assert made == CreatePlan(
        from_="base",
        template="t2",
        system="s",
        license=("a", "b"),
        requires="1.2",
        parameters={"stop": ["x", "y"], "seed": 2},
        messages=(Message(role="user", content="hi: there"),),
    )


def test_plan_create_tells_files_from_names() -> None:
    made = plan(
        "FROM ./a.gguf\nFROM mmproj.gguf\nFROM old\nFROM new\nADAPTER ~/l.gguf",
        "/models/a.gguf",
        "/models/mmproj.gguf",
        "/home/me/l.gguf",
    )
    assert made.files == (Path("/models/a.gguf"), Path("/models/mmproj.gguf"))
    assert made.adapters == (Path("/home/me/l.gguf"),)
    assert made.from_ == "new"


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("PARAMETER use_mlock 1", "parameter use_mlock is deprecated"),
        ("PARAMETER mirostat x", "parameter mirostat is deprecated"),
        ("RENDERER r", "RENDERER is not supported and left out"),
        ("PARSER p", "PARSER is not supported and left out"),
        ("DRAFT d", "DRAFT is not supported and left out"),
    ],
)
def test_plan_create_warns_of_what_it_leaves_out(line: str, warning: str) -> None:
    assert plan(f"FROM m\n{line}") == CreatePlan(from_="m", warnings=(warning,))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("PARAMETER Temperature 1", "unknown parameter 'Temperature'"),
        ("PARAMETER num_ctx abc", "invalid int value [abc]"),
        ("ADAPTER a.gguf", "stat /models/a.gguf: no such file or directory"),
        ("REQUIRES latest", "requires must be a valid semver (e.g. 0.14.0)"),
        ("ADAPTER ~nobody/a", "failed to find user 'nobody'; write the path without ~"),
    ],
)
def test_plan_create_refuses_what_cannot_be(line: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        plan(f"FROM m\n{line}")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("version", "is_valid"),
    [
        ("1", True),
        ("v1.2", True),
        ("0.14.0", True),
        ("1.2.3-rc.1+build.5", True),
        ("1.2.3-0a", True),
        ("1.2.3-alpha-beta", True),
        ("1.2-rc", False),
        ("01.2.3", False),
        ("1.2.3-01", False),
        ("1.2.3.4", False),
        ("vv1", False),
        ("1.2.", False),
    ],
)
def test_plan_create_checks_the_version(version: str, is_valid: bool) -> None:
    try:
        requires = plan(f"FROM m\nREQUIRES {version}").requires
    except BadRequest:
        requires = None
    assert requires == (version.removeprefix("v") if is_valid else None)


def test_request_carries_the_plan_and_the_digests() -> None:
    made = plan("FROM base\nSYSTEM s\nLICENSE a\nPARAMETER top_k 1\nMESSAGE user hi")
    assert made.request("mine", files={"a.gguf": "sha256:1"}, adapters={}) == CreateRequest(
        model="mine",
        from_="base",
        files={"a.gguf": "sha256:1"},
        system="s",
        license=["a"],
        parameters={"top_k": 1},
        messages=(Message(role="user", content="hi"),),
    )


def test_request_leaves_out_what_the_plan_lacks() -> None:
    made = CreatePlan(from_="base").request("mine", files=None, adapters=None)
    assert made == CreateRequest(model="mine", from_="base")
