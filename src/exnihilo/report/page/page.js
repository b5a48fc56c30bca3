// The report's own script: theme, charts, and the slider over samples. It asks nothing of the network.
(() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;

  // A figure names colours as var(--x); this puts the current theme's values in their place.
  const coloured = (value, styles) => {
    if (typeof value === "string") {
      const match = /^var\((--[\w-]+)\)$/.exec(value);
      return match ? styles.getPropertyValue(match[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((one) => coloured(one, styles));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, styles)]));
    }
    return value;
  };

  const figures = read("figures");
  const shown = new Set();
  const draw = (place) => {
    const styles = getComputedStyle(root);
    const colour = (name) => styles.getPropertyValue(name).trim();
    const figure = coloured(figures[Number(place.dataset.figure)], styles);
    const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), tickcolor: colour("--line") };
    const layout = {
      ...figure.layout,
      font: { family: styles.fontFamily || "sans-serif", size: 12, color: colour("--muted") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      xaxis: { ...axis, ...figure.layout.xaxis },
      yaxis: { ...axis, ...figure.layout.yaxis },
    };
    Plotly.react(place, figure.data, layout, { responsive: true, displayModeBar: false, scrollZoom: false });
    shown.add(place);
  };

  const paint = () => {
    const dark = chosen === null ? system.matches : chosen === "dark";
    root.dataset.theme = dark ? "dark" : "light";
    document.getElementById("theme").textContent = dark ? "Light" : "Dark";
    shown.forEach(draw);
  };
  document.getElementById("theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    paint();
  });
  system.addEventListener("change", paint);
  paint();

  // What is folded away has no width yet: it is drawn when it is first opened.
  for (const place of document.querySelectorAll(".plot")) {
    const folded = place.closest("details:not([open])");
    if (folded) folded.addEventListener("toggle", () => draw(place), { once: true });
    else draw(place);
  }

  // What a model wrote is put on the page as text, never as markup.
  const element = (name, text) => {
    const made = document.createElement("div");
    made.className = name;
    made.textContent = text;
    return made;
  };
  const samples = read("samples-data");
  for (const [index, stage] of samples.entries()) {
    const box = document.querySelector(`[data-samples="${index}"]`);
    const [input, output, list] = ["input", "output", ".samples"].map((name) => box.querySelector(name));
    const show = () => {
      const moment = stage.moments[Number(input.value)];
      output.textContent = `step ${moment.step.toLocaleString("en")}`;
      list.replaceChildren(
        ...moment.samples.map((sample) => {
          const made = element("sample", "");
          made.append(element("prompt", sample.prompt), element("said", sample.text));
          if (sample.reward) made.append(element("note", sample.reward));
          return made;
        }),
      );
    };
    input.addEventListener("input", show);
    show();
  }
})();
