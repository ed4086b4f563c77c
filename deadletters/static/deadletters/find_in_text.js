/* Finds words in a text of the page: marks them all, counts them, and goes from one to the next with Enter. */
"use strict";

for (const box of document.querySelectorAll("input[data-find-in]")) {
  const text = document.getElementById(box.dataset.findIn);
  const told = box.parentElement.querySelector("[role=status]");
  const whole = text.textContent;
  let marks = [];
  let current = -1;

  const show = () => {
    const sought = box.value.toLowerCase();
    const lower = whole.toLowerCase();
    const pieces = document.createDocumentFragment();
    let from = 0;
    marks = [];
    current = -1;
    // Lower case may be longer than what was written; then nothing can be marked in its place.
    if (sought && lower.length === whole.length) {
      for (let at = lower.indexOf(sought); at !== -1 && marks.length < 1000; at = lower.indexOf(sought, from)) {
        const mark = document.createElement("mark");
        mark.textContent = whole.slice(at, at + sought.length);
        pieces.append(whole.slice(from, at), mark);
        marks.push(mark);
        from = at + sought.length;
      }
    }
    pieces.append(whole.slice(from));
    text.replaceChildren(pieces);
    if (!sought) told.textContent = "";
    else if (marks.length) next(1);
    else told.textContent = "not there";
  };

  const next = (step) => {
    if (!marks.length) return;
    if (current >= 0) marks[current].removeAttribute("aria-current");
    current = (current + step + marks.length) % marks.length;
    marks[current].setAttribute("aria-current", "true");
    marks[current].scrollIntoView({ block: "nearest" });
    told.textContent = `${current + 1} of ${marks.length}`;
  };

  box.addEventListener("input", show);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    next(event.shiftKey ? -1 : 1);
  });
  box.parentElement.hidden = false;
}
