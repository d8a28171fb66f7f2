import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.errors import BadRequest, InvalidDigest, InvalidName
from ollama_jupyter.names import (
    BareName,
    Digest,
    ModelName,
    ModelRef,
    PartKind,
    has_explicit_tag,
    is_valid_part,
    split_source,
)

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("m", ("", "", "", "m", "")),
        ("m:t", ("", "", "", "m", "t")),
        ("n/m", ("", "", "n", "m", "")),
        ("h/n/m:t", ("", "h", "n", "m", "t")),
        ("h:80/n/m", ("", "h:80", "n", "m", "")),
        ("s://h:80/n/m:t", ("s", "h:80", "n", "m", "t")),
        ("a/h/n/m", ("", "a/h", "n", "m", "")),
        ("", ("", "", "", "", "")),
    ],
)
def test_bare_name_is_cut_from_the_right(text: str, parts: tuple[str, ...]) -> None:
    name = BareName.parse(text)
    assert (name.scheme, name.host, name.namespace, name.model, name.tag) == parts


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [
        ("h/n/m:t", True),
        ("_why/_the/_lucky:_stiff", True),
        ("https://h:1/n/m:t", True),
        ("h/n/m", False),
        ("m:t", False),
        ("1s://h/n/m:t", False),
        ("://h/n/m:t", False),
        ("s:///n/m:t", False),
        ("h/n:x/m:t", False),
        ("h/n.x/m:t", False),
        ("h/n/m:t@d", False),
        ("a/h/n/m:t", False),
        ("h/n/:t", False),
        ("h/n/m:", False),
        ("//m:t", False),
        ("é/n/m:t", False),
        ("h/n/m:t\n", False),
        ("h/n/m:٣", False),
        ("../n/m:t", False),
    ],
)
def test_bare_name_knows_whether_it_is_whole_and_legal(text: str, is_whole: bool) -> None:
    assert BareName.parse(text).is_fully_qualified is is_whole


@pytest.mark.parametrize(
    ("kind", "longest", "dot", "colon"),
    [
        ("host", 350, True, True),
        ("namespace", 80, False, False),
        ("model", 80, True, False),
        ("tag", 80, True, False),
    ],
)
def test_is_valid_part_knows_lengths_and_letters(
    kind: PartKind, longest: int, dot: bool, colon: bool
) -> None:
    assert is_valid_part(kind, "a" * longest)
    assert not is_valid_part(kind, "a" * (longest + 1))
    assert is_valid_part(kind, "a.b") is dot
    assert is_valid_part(kind, "a:b") is colon
    assert is_valid_part(kind, "_-9")
    for bad in ("", "-a", ".a", "a/b", "a b", "a\x00", "a@b", "ä"):
        assert not is_valid_part(kind, bad)


@pytest.mark.parametrize(
    ("text", "full", "display"),
    [
        ("m", "registry.ollama.ai/library/m:latest", "m:latest"),
        ("n/m:t", "registry.ollama.ai/n/m:t", "n/m:t"),
        ("h/library/m", "h/library/m:latest", "h/library/m:latest"),
        ("Registry.Ollama.AI/Library/M:T", "Registry.Ollama.AI/Library/M:T", "M:T"),
        ("http://h/n/m", "h/n/m:latest", "h/n/m:latest"),
    ],
)
def test_model_name_is_written_in_full_and_short(text: str, full: str, display: str) -> None:
    name = ModelName.parse(text)
    assert (name.full(), name.display(), str(name)) == (full, display, display)


def test_model_name_keeps_a_scheme_that_makes_no_other_name() -> None:
    plain, other = ModelName.parse("h/n/m"), ModelName.parse("http://h/n/m")
    assert plain == other
    assert (plain.scheme, other.scheme) == ("https", "http")


@pytest.mark.parametrize("text", ["", "^", "a/b/c/d/e", "::x", "m:", "m@sha256:1", "a b", "../m"])
def test_model_name_refuses_what_no_store_holds(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        ModelName.parse(text)
    assert str(caught.value) == "invalid model name"
    assert "unqualified name" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "parts", [("..", "n", "m", "t"), ("h", "n", "m", ""), ("h", "/", "m", "t")]
)
def test_model_name_refuses_parts_that_leave_the_store(parts: tuple[str, str, str, str]) -> None:
    with pytest.raises(InvalidName):
        ModelName.from_path_parts(*parts)


def test_model_name_folds_case_of_all_parts() -> None:
    assert ModelName.parse("H/N/M:T").folded() == ModelName.parse("h/n/m:t").folded()
    assert ModelName.parse("H/N/M:T") != ModelName.parse("h/n/m:t")


@given(st.text())
def test_model_name_stays_inside_its_folders(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidName:
        return
    parts = name.path_parts()
    assert ModelName.from_path_parts(*parts) == name == ModelName.parse(name.full())
    assert all(part not in ("", ".", "..") and "/" not in part for part in parts)


@given(
    st.from_regex(r"([a-z0-9.]{1,9}/)?([a-z]{1,9}/)?[a-z.]{1,9}(:[a-z0-9.]{1,9})?", fullmatch=True)
)
def test_model_name_reads_back_from_its_display(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidName:
        return
    assert ModelName.parse(name.display()) == name


@pytest.mark.parametrize(
    ("text", "base", "source"),
    [
        ("m", "m", ""),
        ("m:8b", "m:8b", ""),
        ("m:cloud", "m", "cloud"),
        ("m:8b:CLOUD", "m:8b", "cloud"),
        ("m:8b-Cloud", "m:8b", "cloud"),
        ("m:8b:local", "m:8b", "local"),
        ("my-cloud", "my-cloud", ""),
        ("m:x-cloud/y", "m:x-cloud/y", ""),
        ("h:1/m", "h:1/m", ""),
        ("h:1/m:cloud", "h:1/m", "cloud"),
        ("m:clouds", "m:clouds", ""),
    ],
)
def test_split_source_cuts_a_suffix(text: str, base: str, source: str) -> None:
    assert split_source(text) == (base, source)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("m", "m"),
        ("m:cloud", "m:cloud"),
        ("m:8b:cloud", "m:8b-cloud"),
        ("m:8b-cloud", "m:8b-cloud"),
        ("m:8b:local", "m:8b"),
        ("h:1/n/m:cloud", "h:1/n/m:cloud"),
    ],
)
def test_model_ref_has_a_name_to_store_under(text: str, stored: str) -> None:
    assert ModelRef.parse(text).stored_name() == stored


def test_model_ref_trims_and_keeps_what_was_sent() -> None:
    ref = ModelRef.parse(" m:8b:local\n")
    assert (ref.text, ref.base, ref.source) == ("m:8b:local", "m:8b", "local")
    assert ref.without_cloud() == "m:8b:local"
    assert ref.model_name() == ModelName.parse("m:8b")
    assert ModelRef.parse("m:8b:cloud").without_cloud() == "m:8b"


@pytest.mark.parametrize("text", ["", " \n"])
def test_model_ref_is_required(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^model is required$"):
        ModelRef.parse(text)


@pytest.mark.parametrize(
    "text", ["m:cloud:local", "m:local:cloud", "m:x-cloud:local", "m:local:local"]
)
def test_model_ref_refuses_two_suffixes(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ModelRef.parse(text)
    assert str(caught.value) == f'use either :local or :cloud, not both: "{text}"'


def test_has_explicit_tag_ignores_a_port() -> None:
    assert [has_explicit_tag(text) for text in ("m", "m:t", "h:1/m", "h:1/m:t")] == [
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}", f"sha256:{HEX.upper()}"])
def test_digest_reads_both_spellings(text: str) -> None:
    digest = Digest.parse(text)
    assert str(digest) == f"sha256:{HEX}"
    assert digest.file_name == f"sha256-{HEX}"
    assert digest.short == HEX[:12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX}\n",
        f"sha512:{HEX}",
        f"SHA256:{HEX}",
        "sha256:../../" + "a" * 58,
        "sha256:" + "٣" * 64,
        f"sha256:{HEX[1:]}g",
    ],
)
def test_digest_refuses_everything_else(text: str) -> None:
    with pytest.raises(InvalidDigest, match=r"^invalid digest format$"):
        Digest.parse(text)


def test_digest_refuses_upper_case_when_made_directly() -> None:
    with pytest.raises(InvalidDigest):
        Digest("A" * 64)
    with pytest.raises(InvalidDigest):
        Digest("a" * 64 + "\n")
