"""Watchers by Chromium: the real page, signed in, with one conversation open. It tells what the person sees.

A message is told when it is drawn; `look` tells all that is drawn, in its order, as `state`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.browser.chromium import SWITCHES, chromium

# Told through a binding: the page's own policy lets no script of ours be added, and needs none.
WATCH = """
addEventListener("DOMContentLoaded", () => {
  const seen = new Set()
  const tell = (event, more) => window.tell({ t: Date.now() / 1000, event, ...more })
  const look = () => {
    for (const item of document.querySelectorAll("#messages [data-id], #queue [data-id]")) {
      if (seen.has(item.dataset.id)) continue
      seen.add(item.dataset.id)
      tell("message", { message: item.dataset.id, text: item.querySelector(".message-body").textContent.trim() })
    }
  }
  const status = document.getElementById("connection-status")
  if (!status) return
  for (const place of ["messages", "queue"]) {
    new MutationObserver(look).observe(document.getElementById(place), { childList: true, subtree: true })
  }
  const say = () => tell("status", { state: status.dataset.state })
  new MutationObserver(say).observe(status, { attributes: true, attributeFilter: ["data-state"] })
  say()
  tell("loaded")
  addEventListener("pageshow", event => event.persisted && tell("kept"))
})
"""
KEEP_PAGES = ["--disable-back-forward-cache"]  # what playwright says by itself, and people's browsers do not
LOOK = """() => Array.from(document.querySelectorAll("#messages [data-id], #queue [data-id]"),
  item => [item.dataset.id, item.querySelector(".message-body").textContent.trim()])"""


class Pages:
    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._open: dict[str, tuple[Page, str]] = {}

    async def watch(self, order: dict[str, Any]) -> None:
        context = await self._browser.new_context(base_url=order["url"])
        page = await context.new_page()
        self._open[order["who"]] = page, order["thread"]
        await page.expose_function("tell", lambda told: tell(order["who"], {"thread": order["thread"], **told}))
        await page.add_init_script(WATCH)
        page.on("pageerror", lambda error: tell(order["who"], {"event": "pageerror", "text": str(error)}))
        credentials = {"name": order["name"], "password": order["password"]}
        signed_in = await context.request.post("/login", data=json.dumps(credentials))
        assert signed_in.ok, await signed_in.text()
        await page.goto(f"/chat/{order['thread']}")

    async def look(self, order: dict[str, Any]) -> None:
        page, thread = self._open[order["who"]]
        tell(order["who"], {"event": "state", "thread": thread, "shown": await page.evaluate(LOOK)})

    async def frozen(self, order: dict[str, Any]) -> None:
        await self._live(order, "frozen")

    async def active(self, order: dict[str, Any]) -> None:
        await self._live(order, "active")

    async def _live(self, order: dict[str, Any], state: str) -> None:
        page, _ = self._open[order["who"]]
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("Page.enable")
        await cdp.send("Page.setWebLifecycleState", {"state": state})
        tell(order["who"], {"event": state})

    async def offline(self, order: dict[str, Any]) -> None:
        await self._connect(order, False)

    async def online(self, order: dict[str, Any]) -> None:
        await self._connect(order, True)

    async def _connect(self, order: dict[str, Any], is_online: bool) -> None:
        page, _ = self._open[order["who"]]
        await page.context.set_offline(not is_online)
        tell(order["who"], {"event": order["do"]})

    async def away(self, order: dict[str, Any]) -> None:
        page, _ = self._open[order["who"]]
        await page.goto("about:blank")
        tell(order["who"], {"event": "away"})

    async def back(self, order: dict[str, Any]) -> None:
        page, _ = self._open[order["who"]]
        await page.go_back(wait_until="commit")
        tell(order["who"], {"event": "back"})

    async def leave(self, order: dict[str, Any]) -> None:
        page, _ = self._open.pop(order["who"])
        await page.context.close()


def tell(who: str, told: dict[str, Any]) -> None:
    print(json.dumps({"who": who, "t": time.time(), **told}), flush=True)


async def attempt(pages: Pages, order: dict[str, Any]) -> None:
    try:
        await getattr(pages, order["do"])(order)
    except Exception as error:  # told, so that the test fails where it waits
        tell(order["who"], {"event": "failed", "text": f"{order['do']}: {error}"})


async def main() -> None:
    async with async_playwright() as playwright:
        pages = Pages(
            await playwright.chromium.launch(executable_path=chromium(), args=SWITCHES, ignore_default_args=KEEP_PAGES)
        )
        tasks = set()
        while line := await asyncio.to_thread(sys.stdin.readline):
            task = asyncio.create_task(attempt(pages, json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main())
