// Follows a saga while its page is looked at: every two seconds the part that changes is asked for, and put in place
// where it has changed. Where nothing but time has passed, only the sentence and the time are: whoever reads or scrolls
// further below is left alone. Without this script the page says as of when it is, and has a link to refresh it.
"use strict";

const PAUSE = 2000;

// What stands above: open letters, and what switches hold back; and the facts of the saga below.
async function updateAround() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!answer.ok) return;
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const selector of ["#rooms", "#news", "fieldset.module.aligned"]) {
    const shown = document.querySelector(selector);
    const fresh = found.querySelector(selector);
    if (shown && fresh && !shown.contains(document.activeElement)) shown.replaceWith(fresh);
  }
}

// What a screen reader reads aloud is changed only with the saga's state, not with every second.
function updateSentence(saga, found) {
  for (const selector of ["[data-standing]", "[data-as-of]"]) {
    const shown = saga.querySelector(selector);
    const fresh = found.querySelector(selector);
    if (shown && fresh) shown.textContent = fresh.textContent;
  }
}

async function follow() {
  const saga = document.getElementById("saga");
  if (!saga?.dataset.address) return;
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch(`${saga.dataset.address}?seen=${saga.dataset.version}`, {
        headers: { Accept: "text/html" },
        redirect: "error",
        signal: AbortSignal.timeout(10000),
      });
      if (answer.status === 403 || answer.status === 404) return;
      if (answer.status === 200) {
        const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("saga");
        if (found.dataset.version === saga.dataset.version || saga.contains(document.activeElement)) {
          updateSentence(saga, found);
        } else {
          saga.replaceWith(found);
          await updateAround();
          document.getElementById("saga-news").textContent = found.querySelector("[data-standing]").textContent;
        }
      }
    } catch {
      // The shop does not answer: what is shown says as of when it is, and the next try may succeed.
    }
  }
  setTimeout(follow, PAUSE);
}

setTimeout(follow, PAUSE);
