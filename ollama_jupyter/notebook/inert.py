"""Model output made inert: `plain` for a terminal and text/plain, `markdown_to_html` for a cell.

What a model writes is untrusted, and a cell shows it where the user's notebook runs. These are the
only two ways out. `markdown_to_html` gives HTML made from parsed Markdown alone: raw HTML is text,
nothing is fetched (images become a chip that names their host), a link does nothing until it is
clicked and shows the host it leads to, and no tag has an attribute besides a link's and a list's
first number. Text inside `$…$` reaches the page unmarked for MathJax, without the commands that
make links, classes or styles.
"""

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

# Escape sequences (CSI, then OSC and the other strings with their ends, then two-byte ones), then
# every control character but tab and newline, then the two that reverse the order of letters.
_CONTROLS: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-Z\\^-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e]"
)
# An escape sequence that may still be going on at the end of what has come so far.
_UNFINISHED: Final = re.compile(
    r"(?:\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?)|\x9b[0-?]*[ -/]*)\Z"
)
_LONGEST_SEQUENCE: Final = 4096

# MathJax commands that make links, attributes or boxes with styles, or load a package.
_MATH_COMMANDS: Final = re.compile(
    r"\\(?=(?:href|url|class|cssId|style|data|bbox|require|unicode|includegraphics|mmlToken"
    r"|html[A-Za-z]+)(?![A-Za-z]))"
)
_WORD_JOINER: Final = "\u2060"
_MATH_ENDS: Final = {"$$": "$$", "$": "$", "\\(": "\\)", "\\[": "\\]"}


def plain(text: str) -> str:
    """The text without terminal sequences and control characters; tabs and newlines stay."""
    return _CONTROLS.sub("", text)


class PlainStream:
    """`plain` for a text that comes in pieces; a sequence split between two is removed too."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now that this piece has come."""
        text = self._held + piece
        match = _UNFINISHED.search(text)
        # A sequence that never ends must not hold back the rest of the answer.
        if match is None or len(text) - match.start() > _LONGEST_SEQUENCE:
            self._held = ""
            return plain(text)
        self._held = text[match.start() :]
        return plain(text[: match.start()])

    def finish(self) -> str:
        """What was held back and turned out to be no sequence."""
        text, self._held = self._held, ""
        return plain(text)


def markdown_to_html(text: str) -> str:
    """Inert HTML of Markdown: CommonMark with tables, strikethrough and math left as it is."""
    parser = _parser()
    tokens = parser.parse(plain(text))
    _strip_attributes(tokens)
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html


@cache
def _parser() -> MarkdownIt:
    """The one parser; a finished one holds no state between texts."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.inline.ruler.before("escape", "math", _math_rule)
    for name, rule in (
        ("image", _render_image),
        ("link_open", _render_link_open),
        ("link_close", _render_link_close),
        ("fence", _render_code_block),
        ("code_block", _render_code_block),
        ("text", _render_text),
        ("math", _render_math),
    ):
        parser.add_render_rule(name, rule)
    return parser


def _strip_attributes(tokens: Sequence[Token]) -> None:
    """Leave no attribute but a link's address, an image's and a list's first number."""
    for token in tokens:
        kept = {"link_open": "href", "image": "src", "ordered_list_open": "start"}.get(token.type)
        token.attrs = {name: value for name, value in token.attrs.items() if name == kept}
        if token.children:
            _strip_attributes(token.children)
            _mark_links(token.children)


def _mark_links(tokens: Sequence[Token]) -> None:
    """Note at both ends of each link where it leads: `meta` holds the address and the host.

    A link that leads to no web or mail address has an empty one and becomes its text.
    """
    opened: list[tuple[Token, int]] = []
    for index, token in enumerate(tokens):
        if token.type == "link_open":
            opened.append((token, index))
        elif token.type == "link_close" and opened:
            start, start_index = opened.pop()
            address = str(start.attrs.get("href", ""))
            host = _host(address)
            shown = "".join(inner.content for inner in tokens[start_index + 1 : index])
            start.meta = {"address": address if host else ""}
            token.meta = {"is_link": bool(host), "host": "" if shown == address else host}


def _host(address: str) -> str:
    """The host a web address leads to, or the mail address; "" for any other kind."""
    try:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https"):
            return parts.hostname or ""
    except ValueError:
        return ""
    return parts.path if parts.scheme == "mailto" else ""


def _math_rule(state: StateInline, silent: bool) -> bool:
    r"""Take `$…$`, `$$…$$`, `\(…\)` and `\[…\]` whole, so that no `_` in them is emphasis."""
    source, start = state.src, state.pos
    opening = next((mark for mark in _MATH_ENDS if source.startswith(mark, start)), None)
    if opening is None:
        return False
    first = start + len(opening)
    end = source.find(_MATH_ENDS[opening], first, state.posMax)
    if end <= first:
        return False
    # One dollar is more often money: "$5 and $6" is none, "$x$" is (the rule Pandoc uses).
    after = source[end + len(opening) : end + len(opening) + 1]
    if opening == "$" and (source[first].isspace() or source[end - 1].isspace() or after.isdigit()):
        return False
    if not silent:
        token = state.push("math", "", 0)
        token.content = source[start : end + len(opening)]
    state.pos = end + len(opening)
    return True


def _render_text(
    _renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    # A tag around it is how MathJax is told that a dollar is one.
    return _tame_math(tokens[index].content).replace("$", "<span>$</span>")


def _render_math(
    _renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    return _tame_math(tokens[index].content)


def _tame_math(text: str) -> str:
    return escape(_MATH_COMMANDS.sub("\\\\" + _WORD_JOINER, text))


def _render_code_block(
    _renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    return f"<pre><code>{escape(tokens[index].content)}</code></pre>\n"


def _render_image(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    token = tokens[index]
    host = _host(str(token.attrs.get("src", ""))) or "not shown"
    label = renderer.renderInlineAsText(token.children, options, env) if token.children else ""
    return escape(f"[image: {host}] {label}".rstrip())


def _render_link_open(
    _renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    address = tokens[index].meta.get("address", "")
    if not address:
        return ""
    return f'<a href="{escape(address)}" rel="noopener noreferrer nofollow" target="_blank">'


def _render_link_close(
    _renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: EnvType,
) -> str:
    meta = tokens[index].meta
    if not meta.get("is_link"):
        return ""
    host = meta["host"]
    return f"</a> ({escape(host)})" if host else "</a>"
