// Text that a model or a user wrote becomes text nodes and nothing else: no markup, no link, no script.

/** Makes an element of `tag` with a class and text. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Fills `target` with `text`; what stands in `backticks` is set as code. */
export function setText(target, text) {
  const parts = text.split(/`([^`\n]+)`/);
  target.replaceChildren(
    ...parts.map((part, place) => (place % 2 ? element("code", "", part) : document.createTextNode(part))),
  );
}
