// What the page does beyond forms and links: live fragments, acting without reload, search while typing, the clock.

import { follow } from "./live.js";
import { morph } from "./morph.js";
import { notice } from "./urgent.js";

const body = document.body;
const toast = document.getElementById("toast");
let pressed = false;
const waiting = new Map();

// ---- live
function apply(topic, html) {
  const target = document.querySelector(`[data-topic="${topic}"]`);
  const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  if (!target || !fresh) return;
  morph(target, fresh);
  notice();
  mark();
  readOut();
  filter();
}

// what is new is marked until its animation has run, however many updates come in the meantime
document.addEventListener("animationend", (event) => {
  event.target.classList.remove("fresh");
  if (!event.target.classList.length) event.target.removeAttribute("class");
});

function receive(topic, html) {
  // a list that moves under a finger acts on the wrong line: hold still while pressed
  if (pressed) waiting.set(topic, html);
  else apply(topic, html);
}

function release() {
  setTimeout(() => {
    pressed = false;
    for (const [topic, html] of waiting) apply(topic, html);
    waiting.clear();
  }, 300);
}
addEventListener("pointerdown", () => { pressed = true; });
addEventListener("pointerup", release);
addEventListener("pointercancel", release);

function linkState(state) {
  const link = document.getElementById("link");
  link.dataset.state = state;
  link.querySelector(".word").textContent = link.dataset[state];
  document.getElementById("lost").hidden = state !== "lost";
}

if (body.dataset.topics) follow(body.dataset.topics, body.dataset.position, { onFragment: receive, onState: linkState });

// ---- acting
function tell(text) {
  toast.textContent = text;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { toast.textContent = ""; }, 6_000);
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.api) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(form.dataset.api, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ version: Number(form.elements.version.value) }),
    });
    const said = await answer.json();
    if (answer.ok) tell(toast.dataset.taken);
    else if (answer.status === 409) tell(toast.dataset.stale.replace("{state}", toast.getAttribute(`data-state-${said.state}`) || ""));
    else tell(toast.dataset.other);
  } catch {
    tell(document.getElementById("lost").textContent.trim());
  }
  button.disabled = false;
});

// ---- search while typing, and which site is shown
const find = document.getElementById("find");

function filter() {
  const rows = document.querySelectorAll("[data-find]");
  const wanted = (find ? find.value : "").trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    row.hidden = Boolean(wanted) && !row.dataset.find.includes(wanted);
    if (!row.hidden) shown += 1;
  }
  const nothing = document.querySelector("[data-nothing]");
  if (nothing) nothing.hidden = shown > 0;
}
if (find) find.addEventListener("input", filter);

function mark() {
  for (const row of document.querySelectorAll("[data-site]")) {
    const link = row.querySelector("a");
    if (row.dataset.site === body.dataset.selected) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
mark();

// ---- the chart's reader: any hour in words
function readOut() {
  for (const slider of document.querySelectorAll(".reader input")) {
    slider.parentElement.hidden = false;
    slider.nextElementSibling.textContent = slider.dataset.words.split("|")[Number(slider.value)] || "";
  }
}
document.addEventListener("input", (event) => { if (event.target.id === "flow-reader") readOut(); });
readOut();

// ---- the clock, in the sites' zone and by the server's time
const clock = document.getElementById("clock");
if (clock) {
  const ahead = Number(body.dataset.now) - Date.now();
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: body.dataset.zone, hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const tick = () => { clock.textContent = format.format(new Date(Date.now() + ahead)); };
  tick();
  setInterval(tick, 1_000);
}
