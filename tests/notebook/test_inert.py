from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.notebook.inert import PlainStream, markdown_to_html, plain

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)></svg>",
    "<iframe src=//evil.example></iframe>",
    '<form action="//evil.example"><button formaction="//evil.example">go</button></form>',
    '<p style="background:url(//evil.example)">x</p>',
    "<a href='javascript:alert(1)'>x</a>",
    '<div data-commandlinker-command="runmenu:run-all" data-commandlinker-args="{}">x</div>',
    '<link rel="prefetch" href="//evil.example">',
    '<a id="notebook" name="cookie">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt&colon;alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x) [y](file:///etc/passwd) [z](//evil.example) [w](?a#b)",
    '![x](https://evil.example/pixel?q=1 "t")',
    "![x][r]\n\n[r]: https://evil.example/pixel",
    "[![x](https://evil.example/p.png)](https://evil.example/)",
    "```mermaid\ngraph TD; a@{ img: 'https://evil.example' }\n```",
    '```python" onmouseover="alert(1)\nx\n```',
    '<https://evil.example/" onclick=alert(1)>',
    "| <img src=x> | b |\n|:--|--:|\n| <script> | ` <b> ` |",
    "# <b id=x>heading</b> {#id .class onclick=x}",
    "$\\href{javascript:alert(1)}{x}$ \\(\\class{a}{b}\\) $$\\require{html}\\style{x}{y}$$",
    "\\begin{align}\\href{https://evil.example}{x}\\end{align}",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x&#62;",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
)

ALLOWED_TAGS = {"h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "em", "strong", "s", "code"}
ALLOWED_TAGS |= {"pre", "blockquote", "ul", "ol", "li", "span", "a"}
ALLOWED_TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}


class Inspector(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def inspect(markdown: str) -> Inspector:
    inspector = Inspector()
    inspector.feed(markdown_to_html(markdown))
    inspector.close()
    return inspector


def assert_inert(markdown: str) -> None:
    for tag, attributes in inspect(markdown).tags:
        assert tag in ALLOWED_TAGS
        if tag == "a":
            assert set(attributes) == {"href", "rel", "target"}
            address = attributes["href"] or ""
            assert address.startswith(("http://", "https://", "mailto:"))
            assert attributes["rel"] == "noopener noreferrer nofollow"
        elif tag == "ol":
            assert set(attributes) <= {"start"}
        else:
            assert not attributes


@pytest.mark.parametrize("markdown", HOSTILE)
def test_markdown_is_inert_whatever_stands_in_it(markdown: str) -> None:
    assert_inert(markdown)


@pytest.mark.parametrize("markdown", HOSTILE)
def test_markdown_is_inert_at_every_point_of_a_stream(markdown: str) -> None:
    for end in range(len(markdown)):
        assert_inert(markdown[:end])


@pytest.mark.parametrize("container", ["> {}", "- {}", "1. a\n   - {}", "| {} |\n|---|", "**{}**"])
@pytest.mark.parametrize("markdown", HOSTILE)
def test_markdown_is_inert_inside_containers(container: str, markdown: str) -> None:
    assert_inert(container.format(markdown))


@given(st.text(alphabet="<>[]()!`*_$\\&#|:\"'/=ahijpstr \n-1.~{}\x1b", max_size=60))
def test_markdown_is_inert_for_any_text(markdown: str) -> None:
    assert_inert(markdown)


@pytest.mark.parametrize("markdown", [text for text in HOSTILE if "\\" in text])
def test_math_keeps_no_command_that_links_or_styles(markdown: str) -> None:
    text = inspect(markdown).text
    for command in ("href", "class", "require", "style"):
        assert f"\\{command}" not in text


def test_links_show_their_host() -> None:
    assert inspect("[my bank](https://bank.example@evil.example/x)").text == (
        "my bank (evil.example)\n"
    )


def test_a_link_that_shows_its_address_shows_it_once() -> None:
    assert inspect("<https://a.example/b>").text == "https://a.example/b\n"


def test_a_link_that_shows_another_address_shows_its_host() -> None:
    assert "(evil.example)" in inspect("[https://bank.example](https://evil.example)").text


def test_a_mail_link_shows_whom_it_writes_to() -> None:
    assert inspect("[us](mailto:a@b.example)").text == "us (a@b.example)\n"


def test_images_become_chips_with_host_and_label() -> None:
    assert inspect("![a cat](https://pics.example/c.png)").text == ("[image: pics.example] a cat\n")
    assert inspect("![a cat](c.png)").text == "[image: not shown] a cat\n"


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("a **b** *c* `d`", "<p>a <strong>b</strong> <em>c</em> <code>d</code></p>\n"),
        (
            "```python\nif a < b:\n    pass\n```",
            "<pre><code>if a &lt; b:\n    pass\n</code></pre>\n",
        ),
        ("```\nopen", "<pre><code>open</code></pre>\n"),
        ("3. x", '<ol start="3">\n<li>x</li>\n</ol>\n'),
        ("~~a~~", "<p><s>a</s></p>\n"),
        ("$a_1 + b_1$", "<p>$a_1 + b_1$</p>\n"),
        ("\\(a_1\\)", "<p>\\(a_1\\)</p>\n"),
        ("$5 and $6", "<p><span>$</span>5 and <span>$</span>6</p>\n"),
        ("\\$x$", "<p><span>$</span>x<span>$</span></p>\n"),
        ("$ a$ \\( open", "<p><span>$</span> a<span>$</span> ( open</p>\n"),
        ("", ""),
    ],
)
def test_markdown_keeps_what_is_harmless(markdown: str, html: str) -> None:
    assert markdown_to_html(markdown) == html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x1b[0mb", "aredb"),
        ("\x1b]0;title\x07x\x1b]8;;http://e\x1b\\y", "xy"),
        ("\x1bPdevice\x1b\\x\x1b(B\x1b7\x1bc", "x"),
        ("\x9b2Jx\x85\x07\b\x7f\r\nend\t.", "x\nend\t."),
        ("a\u202eb", "ab"),
        ("日本 ünï 🗻", "日本 ünï 🗻"),
    ],
)
def test_plain_removes_what_drives_a_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    "text", ["a\x1b[1;31mb\x1b]8;;http://e\x07c\x1b]0;t\x1b\\d\x9b1me", "x\x1b"]
)
def test_plain_stream_removes_sequences_split_anywhere(text: str) -> None:
    for first in range(len(text)):
        for second in range(first, len(text)):
            stream = PlainStream()
            pieces = [text[:first], text[first:second], text[second:]]
            shown = "".join(map(stream.feed, pieces)) + stream.finish()
            assert shown == plain(text)


def test_plain_stream_goes_on_when_a_sequence_never_ends() -> None:
    stream = PlainStream()
    shown = stream.feed("\x1b]" + "x" * 5000)
    assert len(shown) >= 5000
    assert stream.feed("more") == "more"
