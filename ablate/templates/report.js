// Draws every figure in the page's colours: dark where the reader prefers dark, light on paper.
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const config = JSON.parse(document.getElementById("plot-config").textContent);

function figureOf(plot, dark) {
  const stored = JSON.parse(document.getElementById(plot.id + "-figure").textContent);
  for (const [path, value] of dark ? stored.dark : []) {
    const last = path.pop();
    path.reduce((part, key) => part[key], stored.figure)[last] = value;
  }
  return stored.figure;
}

function draw(dark, width) {
  for (const plot of document.querySelectorAll(".plot")) {
    const figure = figureOf(plot, dark);
    if (width) figure.layout.width = width;
    Plotly.react(plot, figure.data, figure.layout, config);
  }
}

draw(prefersDark.matches);
prefersDark.addEventListener("change", () => draw(prefersDark.matches));
window.addEventListener("beforeprint", () => draw(false, 680));
window.addEventListener("afterprint", () => draw(prefersDark.matches));
