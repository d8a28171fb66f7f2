"""What `show` prints of a model."""

import pytest

from ollama_jupyter.cli.show import first_lines, render_model
from tests.cli.conftest import Run


def test_render_model_has_a_section_a_topic() -> None:
    shown = {
        "details": {"quantization_level": "Q4_1", "family": "llama"},
        "model_info": {
            "general.architecture": "llama",
            "general.parameter_count": 134_515_008,
            "llama.context_length": 8192,
            "llama.embedding_length": 576,
        },
        "capabilities": ["completion", "tools"],
        "parameters": 'stop                           "<|im_end|>"',
        "system": "You are brief.\nVery.\nReally.",
        "requires": "0.14.0",
    }
    assert render_model(shown).splitlines() == [
        "  Model",
        "    architecture        llama      ",
        "    parameters          134.52M    ",
        "    context length      8192       ",
        "    embedding length    576        ",
        "    quantization        Q4_1       ",
        "    requires            0.14.0     ",
        "",
        "  Capabilities",
        "    completion    ",
        "    tools         ",
        "",
        "  Parameters",
        '    stop    "<|im_end|>"    ',
        "",
        "  System",
        "    You are brief.    ",
        "    Very.             ",
        "    ...               ",
        "",
    ]


def test_render_model_makes_do_with_what_it_gets() -> None:
    assert render_model({"details": {"parameter_size": "7B"}}).splitlines() == [
        "  Model",
        "    parameters    7B    ",
        "",
    ]
    assert render_model({"details": None, "model_info": 3}) == ""


def test_render_model_shows_a_projector() -> None:
    info = {
        "general.architecture": "clip",
        "general.parameter_count": 300_000_000,
        "clip.vision.embedding_length": 1024,
        "clip.vision.projection_dim": 768,
    }
    assert "  Projector\n    architecture        clip" in render_model({"projector_info": info})


def test_render_model_shows_metadata_and_tensors_when_verbose() -> None:
    text = render_model(
        {
            "model_info": {
                "b.list": ["one", "two", "three", "four"],
                "a.flag": True,
                "c.rate": 0.5,
                "d.short": [1, 2],
                "e.none": None,
            },
            "tensors": [{"name": "output.weight", "type": "Q4_1", "shape": [576, 49152]}],
        },
        is_verbose=True,
    )
    rows = [line.split() for line in text.splitlines()]
    assert ["a.flag", "true"] in rows
    assert ["b.list", "[one", "two", "...+2", "more]"] in rows
    assert ["c.rate", "0.5"] in rows
    assert ["d.short", "[1", "2]"] in rows
    assert ["output.weight", "Q4_1", "[576", "49152]"] in rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", []), ("\n a \n\n b\n", ["a", "b"]), ("a\nb\nc", ["a", "b", "..."])],
)
def test_first_lines_are_two_and_a_mark(text: str, expected: list[str]) -> None:
    assert first_lines(text) == expected


def test_show_prints_the_overview(run: Run) -> None:
    outcome = run("show", "thinker")
    assert outcome.code == 0
    assert "architecture        llama" in outcome.out
    assert "    thinking      " in outcome.out
    assert "Metadata" not in outcome.out
    assert "Metadata" in run("show", "thinker", "-v").out


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--modelfile", "# Modelfile\nFROM echo:latest\n\n"),
        ("--template", "{{ .Prompt }}"),
        ("--system", ""),
        ("--license", "one\n\ntwo\nthree\n\n"),
    ],
)
def test_show_prints_one_section_as_it_is(run: Run, flag: str, expected: str) -> None:
    assert run("show", "echo", flag) == (0, expected, "")


def test_show_refuses_two_sections(run: Run) -> None:
    outcome = run("show", "echo", "--license", "--system")
    assert outcome.code == 1
    assert "only one of '--license'" in outcome.err


def test_show_says_that_a_model_is_missing(run: Run) -> None:
    assert run("show", "nope") == (1, "", "Error: model 'nope' not found\n")
