"""Where a message's images stand in its text."""

from typing import Final

_MARK: Final = "[img]"
_TAG: Final = "[img-"


def with_images(content: str, count: int, first: int, placeholder: str | None) -> str:
    """The text of a message that has `count` images, the first of them numbered `first`.

    With a `placeholder` (the vendor's), one an image goes before the text. Without, tags `[img-n]`
    take the place of each `[img]` in turn and those left over go before the text, a space between.
    A text that holds tags already stays as it is.
    """
    if placeholder is not None:
        return placeholder * count + content
    if not count or _TAG in content:
        return content
    left = ""
    for number in range(first, first + count):
        tag = f"{_TAG}{number}]"
        if _MARK in content:
            content = content.replace(_MARK, tag, 1)
        else:
            left += tag
    space = " " if left and not content.startswith(" ") else ""
    return f"{left}{space}{content}"
