"""What an agent writes is shown as Markdown and never runs, loads or leads anywhere by itself (P64)."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.chat import Chat
from tests.server import Server

# After the OWASP XSS filter evasion cheat sheet, DOMPurify's own tests and marked's advisories.
ATTACKS = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<svg onload='window.hacked = 1'><script>window.hacked = 1</script></svg>",
    "<svg><style><img src=x onerror='window.hacked = 1'></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=window.hacked=1&gt;'>",
    "<iframe src='javascript:window.hacked = 1'></iframe>",
    "<iframe srcdoc='<script>parent.hacked = 1</script>'></iframe>",
    "<a href='javascript:window.hacked = 1'>click</a>",
    "[click](javascript:window.hacked=1)",
    "[click](JaVaScRiPt:window.hacked=1)",
    "[click](java&#10;script:window.hacked=1)",
    "[click](&#106;avascript:window.hacked=1)",
    "[click](data:text/html,<script>opener.hacked=1</script>)",
    "[click](vbscript:hacked)",
    "[click](//foreign.example/x)",
    "<javascript:window.hacked=1>",
    "[ref]: javascript:window.hacked=1\n\n[ref]",
    '[click](https://foreign.example/"onmouseover="window.hacked=1)',
    "[click](https://foreign.example/ \"x' onclick='window.hacked=1\")",
    "![x](https://foreign.example/pixel.png)",
    '![x" onerror="window.hacked=1](https://foreign.example/pixel.png)',
    "![x](javascript:window.hacked=1)",
    "<img src='https://foreign.example/pixel.png'>",
    "<link rel='stylesheet' href='https://foreign.example/x.css'>",
    "<style>@import 'https://foreign.example/x.css'; body { display: none }</style>",
    "<p style='background: url(https://foreign.example/x.png)'>x</p>",
    "<video src='https://foreign.example/x.mp4' autoplay onplay='window.hacked=1'></video>",
    "<object data='https://foreign.example/x'></object><embed src='https://foreign.example/x'>",
    "<form action='https://foreign.example/'><button id='composer'>x</button></form>",
    "<base href='https://foreign.example/'>",
    "<meta http-equiv='refresh' content='0; url=https://foreign.example/'>",
    "<details open ontoggle='window.hacked=1'>x</details>",
    "<input autofocus onfocus='window.hacked=1'>",
    "```html\n<script>window.hacked = 1</script>\n```",
    '```"><img src=x onerror=window.hacked=1>\ncode\n```',
    "| a |\n|---|\n| <img src=x onerror='window.hacked=1'> |",
    "# <img src=x onerror='window.hacked=1'>",
    "`<img src=x onerror='window.hacked=1'>`",
    "<noscript><p title='</noscript><img src=x onerror=window.hacked=1>'>",
    "<template><script>window.hacked=1</script></template>",
    "<x-element is='x' id='state' name='hacked'>x</x-element>",
)
HARMLESS = {
    "a",
    "blockquote",
    "br",
    "button",
    "code",
    "del",
    "div",
    "em",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
}
HARMLESS |= {"pre", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}


def test_markdown_never_runs_or_loads_anything(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    chat.open(thread_id)
    requests: list[str] = []
    chat.page.on("request", lambda request: requests.append(request.url))
    chat.page.on("dialog", lambda dialog: requests.append(f"dialog {dialog.message}"))
    for number, attack in enumerate(ATTACKS):
        assert server.reply(thread_id, attack, f"attack-{number}")[0] < 300
    expect(chat.answers).to_have_count(len(ATTACKS))
    assert chat.page.evaluate("window.hacked") is None
    assert {urlsplit(url).netloc for url in requests} <= {urlsplit(server.url).netloc}
    assert elements_in(chat.answers) <= HARMLESS
    assert not attributes_in(chat.answers) & {"style", "src", "srcset", "id", "name", "is", "onerror", "onclick"}
    for link in chat.answers.locator("a[href]").all():
        assert urlsplit(link.get_attribute("href")).scheme in ("http", "https", "mailto")


def elements_in(answers: Locator) -> set[str]:
    script = "bodies => bodies.flatMap(body => [...body.querySelectorAll('*')].map(element => element.localName))"
    return set(answers.evaluate_all(script))


def attributes_in(answers: Locator) -> set[str]:
    script = "bodies => bodies.flatMap(body => [...body.querySelectorAll('*')].flatMap(e => e.getAttributeNames()))"
    return set(answers.evaluate_all(script))


@pytest.mark.parametrize("attack", ["<img src=x onerror='window.hacked = 1'>", "[click](javascript:window.hacked=1)"])
def test_what_a_person_writes_is_shown_as_it_is(chat: Chat, attack: str) -> None:
    chat.say(attack)
    expect(chat.said).to_have_text([attack])
    assert chat.page.evaluate("window.hacked") is None


def test_markdown_is_shown_as_headings_lists_code_and_tables(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    chat.open(thread_id)
    text = (
        "# Plan\n\n- one\n- two\n\n```python\nprint(1)\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n**bold** and ~~gone~~"
    )
    server.reply(thread_id, text, "markdown")
    answer = chat.answers.first
    expect(answer.get_by_role("heading", name="Plan", level=3)).to_be_visible()
    expect(answer.get_by_role("listitem")).to_have_text(["one", "two"])
    expect(answer.locator("pre code")).to_have_text("print(1)\n")
    expect(answer.get_by_role("table").get_by_role("cell")).to_have_text(["1", "2"])
    expect(answer.locator("strong")).to_have_text("bold")


def test_links_open_apart_and_images_are_links(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    chat.open(thread_id)
    text = "[docs](https://example.com/?a=1&b=2) ![a chart](https://example.com/chart.png) <ops@example.com>"
    server.reply(thread_id, text, "links")
    links = chat.answers.first.get_by_role("link")
    expect(links).to_have_text(["docs", "a chart", "ops@example.com"])
    addresses = ["https://example.com/?a=1&b=2", "https://example.com/chart.png", "mailto:ops@example.com"]
    for link, address in zip(links.all(), addresses, strict=True):
        expect(link).to_have_attribute("href", address)
        expect(link).to_have_attribute("target", "_blank")
        expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_what_is_too_much_for_markdown_is_shown_as_it_was_written(chat: Chat, server: Server) -> None:
    """Nothing that an agent writes may take the page, and what else was said there, with it."""
    thread_id = server.new_thread()
    chat.open(thread_id)
    texts = ("> " * 5000, "- " * 2500, "*" * 20_000 + "a", "_a" * 20_000, "line\n" * 20_000, "and on it goes")
    for number, text in enumerate(texts):
        assert server.reply(thread_id, text, f"too-much-{number}")[0] < 300
    for _ in range(2):
        expect(chat.answers.last).to_have_text("and on it goes")
        assert [shown.strip() for shown in chat.answers.all_text_contents()] == [text.strip() for text in texts]
        chat.page.reload()
        chat.expect_connected()


def test_a_renderer_that_fails_leaves_the_text(chat: Chat, server: Server) -> None:
    thread_id = server.new_thread()
    server.reply(thread_id, "**bold**\n\nand more", "renderer")
    broken = "export class Marked { use() {} parse() { throw new RangeError() } }"
    chat.page.route("**/vendor/marked-*", lambda route: route.fulfill(content_type="text/javascript", body=broken))
    chat.open(thread_id)
    expect(chat.answers).to_have_count(1)
    assert chat.answers.first.inner_text() == "**bold**\n\nand more"
