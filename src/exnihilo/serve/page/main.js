// The page: one question box, and a column for each model.

import { Column } from "./column.js";
import { element, setText } from "./text.js";

const byId = (id) => document.getElementById(id);
const columns = [];
let conversation = "";

function shown() {
  return columns.filter((column) => !column.root.hidden);
}

function settings() {
  return {
    system: byId("system").value.trim(),
    temperature: Number(byId("temperature").value),
    seed: Math.max(0, Math.trunc(Number(byId("seed").value)) || 0),
    maxNew: Math.min(4096, Math.max(1, Math.trunc(Number(byId("max-new").value)) || 256)),
  };
}

function showBusy(busy) {
  byId("send").hidden = busy;
  byId("stop").hidden = !busy;
  byId("anew").hidden = busy || columns.every((column) => column.messages.length === 0);
  document.body.classList.toggle("busy", busy);
}

function reset() {
  for (const column of columns) column.reset();
  byId("notice").textContent = "";
  showBusy(false);
}

async function ask(question) {
  const text = question.trim();
  if (!text || columns.some((column) => column.busy)) return;
  const chosen = settings();
  if (chosen.system !== conversation) reset();
  conversation = chosen.system;
  byId("question").value = "";
  showBusy(true);
  await Promise.all(shown().map((column) => column.ask(text, chosen)));
  showBusy(columns.some((column) => column.busy));
}

function stop() {
  for (const column of columns) column.stop();
}

/** Chips of held-out questions, grouped by family. Each starts a new conversation, as it was asked in evaluation. */
function showQuestions(questions) {
  byId("examples").hidden = questions.length === 0;
  const families = new Map();
  for (const q of questions) families.set(q.family, [...(families.get(q.family) ?? []), q]);
  byId("families").replaceChildren(
    ...[...families].map(([family, members]) => {
      const row = element("div", "family");
      row.append(element("h3", "", family));
      for (const { question } of members) {
        const chip = element("button", "chip");
        setText(chip, question);
        chip.type = "button";
        chip.title = question;
        chip.addEventListener("click", () => {
          if (columns.some((column) => column.busy)) return;
          reset();
          ask(question);
        });
        row.append(chip);
      }
      return row;
    }),
  );
}

function addModel(model, only) {
  const column = new Column(model);
  column.root.hidden = !(model.shown || only);
  columns.push(column);
  byId("columns").append(column.root);
  const label = element("label", "check");
  const box = element("input");
  box.type = "checkbox";
  box.checked = !column.root.hidden;
  box.addEventListener("change", () => {
    column.root.hidden = !box.checked;
    arrange();
  });
  label.append(box, document.createTextNode(` ${model.name}`));
  byId("shown").append(label);
}

function arrange() {
  byId("columns").dataset.count = String(shown().length);
}

async function load(draw) {
  const response = await fetch(`/api/models?draw=${draw}`);
  if (!response.ok) throw new Error((await response.json()).error.message);
  return response.json();
}

async function start() {
  const found = await load(0);
  const only = found.models.length === 1;
  byId("run").textContent = found.name;
  document.title = `${found.name} – exnihilo`;
  byId("intro").textContent = only
    ? "Talk to the model. Answers are checked where the right one is known."
    : "Ask once, and every stage of the training answers. Each answer is checked where the right one is known.";
  byId("shown").hidden = only;
  for (const model of found.models) addModel(model, only);
  arrange();
  showQuestions(found.questions);
}

let draw = 0;
byId("others").addEventListener("click", async () => showQuestions((await load(++draw)).questions));
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(byId("question").value);
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    ask(byId("question").value);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
byId("stop").addEventListener("click", stop);
byId("anew").addEventListener("click", reset);
byId("temperature").addEventListener("input", () => {
  byId("temperature-value").textContent = byId("temperature").value;
});

const root = document.documentElement;
root.dataset.theme = localStorage.getItem("theme") ?? "";
byId("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

start().catch((error) => {
  byId("notice").textContent = `The server does not answer: ${error.message}`;
});
