// Draws every figure in the page's colours: dark where the reader prefers dark, light on paper.
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const config = JSON.parse(document.getElementById("plot-config").textContent);

function draw(dark, width) {
  for (const plot of document.querySelectorAll(".plot")) {
    const figure = JSON.parse(document.getElementById(plot.id + (dark ? "-dark" : "-light")).textContent);
    if (width) figure.layout.width = width;
    Plotly.react(plot, figure.data, figure.layout, config);
  }
}

draw(prefersDark.matches);
prefersDark.addEventListener("change", () => draw(prefersDark.matches));
window.addEventListener("beforeprint", () => draw(false, 680));
window.addEventListener("afterprint", () => draw(prefersDark.matches));
