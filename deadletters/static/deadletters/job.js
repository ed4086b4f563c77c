// Follows a bulk job while its page is looked at: every two seconds the part that changes is fetched again, and when the
// job's state has changed, what the page says around it. Without this script the page says as of when it is, and has a
// link to refresh it.
"use strict";

const PAUSE = 2000;
const job = document.getElementById("job");

function region(root, name) {
  return root.querySelector(`[data-region="${name}"]`);
}

// The sentence is read aloud when it changes, so it is changed only then, and its element stays.
function update(found) {
  const now = region(job, "progress");
  const next = region(found, "progress");
  const sentence = now.querySelector(".job-sentence");
  const said = next.querySelector(".job-sentence");
  if (sentence.textContent !== said.textContent) sentence.textContent = said.textContent;
  for (const selector of [".lead", ".bar", ".ramp", ".outcomes", ".help"]) {
    const shown = now.querySelector(selector);
    const fresh = next.querySelector(selector);
    if (shown && fresh && !shown.contains(document.activeElement)) shown.replaceWith(fresh);
    else if (!shown && fresh) sentence.after(fresh);
  }
  // Buttons are exchanged only when others are needed: whoever is on one of them stays there.
  if (now.dataset.state !== next.dataset.state) {
    now.dataset.state = next.dataset.state;
    region(job, "steering").replaceWith(region(found, "steering"));
  }
}

// The counts of open letters above, and the facts of the job below.
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

async function follow() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch(job.dataset.address, {
        headers: { Accept: "text/html" },
        redirect: "error",
        signal: AbortSignal.timeout(10000),
      });
      if (answer.status === 403 || answer.status === 404) return;
      const before = region(job, "progress").dataset.state;
      if (answer.ok) update(new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (region(job, "progress").dataset.state !== before) await updateAround();
    } catch {
      // The shop does not answer: what is shown says as of when it is, and the next try may succeed.
    }
  }
  const state = region(job, "progress").dataset.state;
  if (state !== "cancelled" && state !== "finished") setTimeout(follow, PAUSE);
}

if (job?.dataset.address) setTimeout(follow, PAUSE);
