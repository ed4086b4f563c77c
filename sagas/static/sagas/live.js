// Follows a saga while its page is looked at: every two seconds the part that changes is asked for, and put in place
// where it has changed. Without this script the page says as of when it is, and has a link to refresh it.
"use strict";

const PAUSE = 2000;

// What stands above: open letters, and what switches hold back.
async function updateAround() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!answer.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const selector of ["#rooms", "#news"]) {
    const shown = document.querySelector(selector);
    const fresh = found.querySelector(selector);
    if (shown && fresh && !shown.contains(document.activeElement)) shown.replaceWith(fresh);
  }
}

async function follow() {
  const saga = document.getElementById("saga");
  if (!saga?.dataset.address) return;
  if (document.visibilityState === "visible" && !saga.contains(document.activeElement)) {
    try {
      const answer = await fetch(`${saga.dataset.address}?seen=${saga.dataset.version}`, {
        headers: { Accept: "text/html" },
        redirect: "error",
        signal: AbortSignal.timeout(10000),
      });
      if (answer.status === 403 || answer.status === 404) return;
      if (answer.status === 200) {
        const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("saga");
        const said = saga.querySelector("[data-standing]").textContent;
        saga.replaceWith(found);
        const next = found.querySelector("[data-standing]");
        await updateAround();
        if (next.textContent !== said) document.getElementById("saga-news").textContent = next.textContent;
      }
    } catch {
      // The shop does not answer: what is shown says as of when it is, and the next try may succeed.
    }
  }
  setTimeout(follow, PAUSE);
}

setTimeout(follow, PAUSE);
