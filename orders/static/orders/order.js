// Shows the order's progress as it happens. The server renders it; this only puts it in place.
"use strict";

const section = document.getElementById("progress");
const announcement = document.getElementById("announcement");
const POLL_MILLISECONDS = 3000;
let version = section.dataset.version;

function show(html) {
  section.innerHTML = html;
  announcement.textContent = section.querySelector("[data-headline]").textContent;
}

function isFinished() {
  return section.querySelector("[data-finished]").dataset.finished === "true";
}

async function poll() {
  try {
    const response = await fetch(`${section.dataset.progress}?seen=${version}`, { cache: "no-store" });
    if (response.status === 200) {
      version = response.headers.get("Progress-Version");
      show(await response.text());
    }
  } catch (error) {
    // The network is away: the next look may find it again, and the page stays as it was.
  }
  if (!isFinished()) setTimeout(poll, POLL_MILLISECONDS);
}

function listen() {
  const events = new EventSource(`${section.dataset.events}?seen=${version}`);
  events.addEventListener("progress", (event) => {
    version = event.lastEventId;
    show(event.data);
    if (isFinished()) events.close();
  });
  events.addEventListener("error", () => {
    // A stream that merely ended is opened again by the browser; one that was refused is not.
    if (events.readyState === EventSource.CLOSED && !isFinished()) setTimeout(poll, POLL_MILLISECONDS);
  });
}

if (!isFinished()) listen();
