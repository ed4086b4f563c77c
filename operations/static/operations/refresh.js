// Keeps the first page fresh while somebody looks at it. The server renders it; this only puts the parts in place.
"use strict";

const EVERY_MILLISECONDS = 10000;
const told = document.getElementById("refreshing");
const pause = document.getElementById("pause");
let isPaused = false;
let isAsking = false;

function tell(text) {
  told.textContent = text;
  told.hidden = text === "";
}

function put(part, fresh) {
  if (!fresh || part.innerHTML === fresh.innerHTML) return;
  const opened = [...part.querySelectorAll("details[open]")].map((details) => details.id);
  for (const id of opened) fresh.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  const seek = part.contains(document.activeElement) ? wayBackTo(document.activeElement) : null;
  part.replaceChildren(...fresh.childNodes);
  if (seek) seek(part)?.focus({ preventScroll: true });
}

// Whoever reads with the keyboard stays where they are: on the same link, or the same table's heading.
function wayBackTo(focused) {
  if (focused.tagName === "SUMMARY") {
    const id = focused.parentElement.id;
    return () => document.getElementById(id)?.querySelector("summary");
  }
  const href = focused.getAttribute("href");
  return (part) => [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === href);
}

async function refresh() {
  if (isAsking || isPaused || document.visibilityState !== "visible") return;
  if (String(window.getSelection()) !== "") return; // somebody copies something
  isAsking = true;
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (response.redirected) {
      tell("You are not signed in any more.");
      isPaused = true;
    } else if (!response.ok) {
      tell(`The page is not fresh: the shop answers ${response.status}.`);
    } else {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const part of document.querySelectorAll("[data-refresh]")) put(part, page.getElementById(part.id));
      tell("and every 10 s");
    }
  } catch (error) {
    tell("The page is not fresh: the shop does not answer.");
  }
  isAsking = false;
}

pause.hidden = false;
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.textContent = isPaused ? "Go on" : "Pause";
  tell(isPaused ? "and then no more: paused" : "and every 10 s");
  refresh();
});
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, EVERY_MILLISECONDS);
tell("and every 10 s");
