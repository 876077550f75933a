"""The chat page, as a person meets it: by what it says and what its controls are called."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


class Chat:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    # What a person does

    def sign_in(self, name: str, password: str) -> None:
        self.page.goto(f"{self.url}/login")
        self.page.get_by_label("E-mail address").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.expect_connected()

    def open(self, thread_id: str) -> None:
        self.page.goto(f"{self.url}/chat/{thread_id}")
        self.expect_connected()

    def say(self, text: str) -> None:
        self.text.fill(text)
        self.text.press("Enter")

    def lose_line(self) -> None:
        """The browser says that there is no network, and soon after that there is."""
        self.page.evaluate("dispatchEvent(new Event('offline'))")
        self.page.evaluate("dispatchEvent(new Event('online'))")

    def try_quickly(self) -> None:
        """Take the shortest pauses that chance may give, so that nobody waits for the longest."""
        self.page.evaluate("Math.random = () => 0.05")

    def try_slowly(self) -> None:
        """From the next pause on take the longest, so that nothing happens by itself while the test looks."""
        self.page.evaluate("Math.random = () => 0.999")

    def another_tab(self) -> Chat:
        """The same person, the same conversation, one more tab."""
        other = Chat(self.page.context.new_page(), self.url)
        other.page.goto(self.page.url)
        other.expect_connected()
        return other

    # What a person sees

    @property
    def text(self) -> Locator:
        return self.page.get_by_label("Message", exact=True)

    @property
    def said(self) -> Locator:
        """What persons said in the open conversation."""
        return self.page.locator("#messages .message[data-author=person] .message-body")

    @property
    def answers(self) -> Locator:
        return self.page.locator("#messages .message[data-author=agent] .message-body")

    @property
    def failures(self) -> Locator:
        return self.page.locator("#messages .failure:visible, #queue .failure:visible")

    @property
    def activity(self) -> Locator:
        return self.page.locator("#activity")

    @property
    def status(self) -> Locator:
        return self.page.locator("#connection-status")

    @property
    def panel(self) -> Locator:
        return self.page.locator("#connection-panel")

    @property
    def threads(self) -> Locator:
        return self.page.get_by_role("navigation", name="Conversations")

    @property
    def sign_in_panel(self) -> Locator:
        return self.page.get_by_role("dialog", name="Your session has ended")

    @property
    def thread_id(self) -> str:
        expect(self.page).not_to_have_url(f"{self.url}/")
        return self.page.url.rsplit("/", 1)[1]

    def expect_connected(self) -> None:
        expect(self.status).to_have_attribute("data-state", "connected")
