// One model's column: its conversation, its running answer, its verdicts.

import { readEvents } from "./sse.js";
import { element, setText } from "./text.js";

const ROLES = {
  base: "pretrained only: it continues text",
  sft: "fine-tuned on conversations",
  aligned: "trained further on rewards",
};

export class Column {
  constructor(model) {
    this.model = model;
    this.messages = [];
    this.right = 0;
    this.checked = 0;
    this.abort = null;
    this.conversation = null;
    this.root = element("section", `column ${model.role}`);
    this.root.setAttribute("aria-label", model.name);
    const head = element("header");
    head.append(element("h2", "", model.name));
    if (ROLES[model.role]) head.append(element("p", "role", ROLES[model.role]));
    this.tally = element("p", "tally");
    head.append(this.tally);
    this.talk = element("div", "talk");
    this.talk.append(element("p", "empty", "No question yet."));
    this.root.append(head, this.talk);
  }

  get busy() {
    return this.abort !== null;
  }

  /** The next question begins a new conversation, above the one so far. */
  reset() {
    this.stop();
    this.abort = null;
    this.messages = [];
    this.conversation?.classList.add("past");
    this.conversation = null;
  }

  stop() {
    this.abort?.abort();
  }

  /** Asks, and shows the answer as it comes. Resolves when the answer is over, whatever ended it. */
  async ask(question, settings) {
    const turn = new Turn(question);
    this.talk.querySelector(".empty")?.remove();
    if (!this.conversation) {
      this.conversation = element("div", "conversation");
      this.talk.prepend(this.conversation);
    }
    this.conversation.append(turn.root);
    turn.root.scrollIntoView({ block: "nearest" });
    const abort = (this.abort = new AbortController());
    const system = settings.system ? [{ role: "system", content: settings.system }] : [];
    const asked = { role: "user", content: question };
    try {
      const response = await fetch("/api/chat", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        signal: abort.signal,
        body: JSON.stringify({
          model: this.model.name,
          messages: [...system, ...this.messages, asked],
          temperature: settings.temperature,
          seed: settings.seed,
          max_new: settings.maxNew,
        }),
      });
      if (!response.ok) throw new Error((await response.json()).error.message);
      for await (const event of readEvents(response.body)) turn.take(event);
      if (!turn.done) throw new Error("the connection was lost before the answer was complete");
    } catch (error) {
      if (abort.signal.aborted) turn.cut();
      else turn.fail(error.message);
    }
    if (this.abort !== abort) return; // a new conversation has begun meanwhile
    this.abort = null;
    if (!turn.failed) this.messages.push(asked, { role: "assistant", content: turn.text });
    this.count(turn.done?.verdict);
  }

  count(verdict) {
    if (!verdict || verdict.status === "unchecked") return;
    this.checked += 1;
    this.right += verdict.status === "correct" ? 1 : 0;
    this.tally.textContent = `${this.right} of ${this.checked} right`;
  }
}

/** A question with its answer. */
class Turn {
  constructor(question) {
    this.text = "";
    this.done = null;
    this.failed = false;
    this.root = element("article", "turn");
    this.answer = element("p", "answer running");
    this.answer.setAttribute("aria-live", "polite");
    const asked = element("p", "question");
    setText(asked, question);
    this.root.append(asked, this.answer);
  }

  take(event) {
    if (event.error) throw new Error(event.error.message);
    if (event.dropped) {
      const gone = event.dropped === 1 ? "The oldest message no longer fits" : `The ${event.dropped} oldest messages no longer fit`;
      this.answer.before(element("p", "dropped", `${gone} this model’s context.`));
    }
    if (event.text) {
      this.text += event.text;
      setText(this.answer, this.text);
    }
    if (event.done) {
      this.done = event.done;
      this.finish();
      this.root.append(badge(event.done.verdict), this.figures());
    }
  }

  finish() {
    this.answer.classList.remove("running");
    if (!this.text.trim()) this.answer.replaceChildren(element("span", "none", "(no text)"));
  }

  figures() {
    const { tokens, seconds, finish } = this.done;
    const cut = finish === "length" ? ", cut off at the limit" : "";
    return element("p", "figures", `${tokens} ${tokens === 1 ? "token" : "tokens"} in ${seconds.toFixed(1)} s${cut}`);
  }

  cut() {
    this.finish();
    this.root.append(element("p", "figures", "stopped"));
  }

  fail(message) {
    this.failed = true;
    this.finish();
    this.root.append(element("p", "failure", message));
  }
}

function badge(verdict) {
  const made = element("p", `verdict ${verdict.status}`);
  if (verdict.status === "unchecked") {
    made.append(element("span", "", "can’t be checked"));
    return made;
  }
  const right = verdict.status === "correct";
  made.append(element("strong", "", right ? "✓ right" : "✗ wrong"));
  if (!right && verdict.expected !== null) {
    const expected = element("span", "expected", "expected ");
    expected.append(element("code", "", verdict.expected));
    made.append(expected);
  }
  made.title = verdict.by === "interpreter" ? "checked by the Python interpreter" : "checked by the held-out item";
  return made;
}
