import pytest

from ollama_jupyter.prompt.renderers.images import with_images


@pytest.mark.parametrize(
    ("content", "count", "first", "placeholder", "expected"),
    [
        ("a", 0, 0, None, "a"),
        ("[img] a", 0, 0, None, "[img] a"),
        ("a", 1, 0, None, "[img-0] a"),
        ("a", 2, 3, None, "[img-3][img-4] a"),
        (" a", 1, 0, None, "[img-0] a"),
        ("", 1, 0, None, "[img-0] "),
        ("see [img] and [img]", 2, 5, None, "see [img-5] and [img-6]"),
        ("see [img]", 2, 0, None, "[img-1] see [img-0]"),
        ("see [img] and [img]", 1, 0, None, "see [img-0] and [img]"),
        ("[img-7] a", 2, 0, None, "[img-7] a"),
        ("a", 2, 3, "<i>", "<i><i>a"),
        ("a", 0, 3, "<i>", "a"),
    ],
)
def test_with_images_places_each(
    content: str, count: int, first: int, placeholder: str | None, expected: str
) -> None:
    assert with_images(content, count, first, placeholder) == expected
