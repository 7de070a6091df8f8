// Keeps the page alive: every five seconds the view as the watcher renders it, everything in it escaped there.
"use strict";

const view = document.getElementById("view");
const lost = document.getElementById("lost");
const since = document.getElementById("since");
let seen = new Date();

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/view", { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw new Error(String(answer.status));
    const text = await answer.text();
    if (text !== view.dataset.text) {
      view.innerHTML = text;
      view.dataset.text = text;
      const verdict = view.querySelector("h1");
      const site = document.title.split(" · ")[1];
      if (verdict && site) document.title = `${verdict.textContent} · ${site}`;
    }
    seen = new Date();
    lost.hidden = true;
  } catch {
    since.textContent = seen.toLocaleTimeString();
    lost.hidden = false;
  }
}

setInterval(look, 5000);
document.addEventListener("visibilitychange", look);
