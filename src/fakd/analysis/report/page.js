"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (name) => document.getElementById(name);
const root = document.documentElement;

// Tables: a heading sorts its column, numbers from the highest, a second time the other way; empty cells stay last.
function sortBy(heading) {
  const row = heading.parentElement, body = heading.closest("table").tBodies[0];
  const index = [...row.cells].indexOf(heading), numeric = heading.classList.contains("number");
  const before = heading.getAttribute("aria-sort");
  const now = before === "none" ? (numeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
  for (const other of row.cells) other.setAttribute("aria-sort", other === heading ? now : "none");
  const sign = now === "ascending" ? 1 : -1;
  const value = (line) => line.cells[index].dataset.value;
  const compare = (a, b) => numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
  const rows = [...body.rows].sort((one, two) => {
    const [a, b] = [value(one), value(two)];
    return a === "" || b === "" ? (a === "") - (b === "") : sign * compare(a, b);
  });
  body.append(...rows);
}
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}

// Light and dark: as the system says, until the button is pressed.
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
function themeChanged() {
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  paintPlots();
}
byId("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  themeChanged();
});
system.addEventListener("change", themeChanged);

// Plots: Plotly draws them in the colours of the page.
function themed() {
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--soft"), linecolor: colour("--line"), automargin: true };
  return { paper_bgcolor: colour("--page"), plot_bgcolor: colour("--page"), text: colour("--text"), axis };
}
function merged(layout) {
  const { axis, text, ...paper } = themed();
  return {
    ...layout, ...paper, font: { color: text, family: "system-ui, sans-serif", size: 13 },
    margin: { l: 48, r: 12, t: 16, b: 48 }, dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false, // a finger scrolls
    xaxis: { ...layout.xaxis, ...axis }, yaxis: { ...layout.yaxis, ...axis },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: text } },
    hoverlabel: { font: { family: "system-ui, sans-serif" } },
  };
}
const options = { responsive: true, displaylogo: false, displayModeBar: false };
const drawn = Object.entries(data.plots).filter(([, figure]) => figure);
function paintPlots() {
  for (const [name, figure] of drawn) {
    const layout = { ...figure.layout, ...merged(figure.layout) };
    const entries = new Set(figure.data.map((trace) => trace.name)).size;
    if (innerWidth < 600) layout.height += 20 * entries; // where the legend takes a line for each
    Plotly.react(byId(name), figure.data, layout, options);
  }
}
function showLogged(name) {
  const figure = data.plots.curves;
  for (const trace of figure.data) trace.visible = trace.meta === name;
  figure.layout.yaxis = { ...figure.layout.yaxis, title: { text: name.startsWith("val/") ? `${name}, %` : name }, autorange: true };
  paintPlots();
}
if (data.plots.curves) {
  byId("logged").addEventListener("change", (event) => showLogged(event.target.value));
  showLogged(byId("logged").value);
}
themeChanged();

// Pictures: the left mask is shown left of the slider, the right one right of it.
const { pictures, layers, start } = data.gallery;
const percent = (value) => (value === undefined || value === null ? "–" : `${value.toFixed(1)} %`);
function makeCard(picture) {
  const card = byId("card").content.cloneNode(true).firstElementChild;
  const stage = card.querySelector(".stage"), wipe = card.querySelector(".wipe");
  const photo = card.querySelector(".photo");
  [photo.src, photo.width, photo.height, photo.alt] = [picture.image, picture.width, picture.height, `Image ${picture.name}`];
  card.querySelector(".name").textContent = picture.name;
  wipe.addEventListener("input", () => stage.style.setProperty("--cut", `${wipe.value}%`));
  byId("grid").append(card);
  return { picture, card };
}
function startGallery() {
  const cards = pictures.map(makeCard);
  const chosen = { left: byId("left"), right: byId("right") };
  const find = (kind) => layers.findIndex((layer) => layer.kind === kind);
  chosen.left.value = String(start);
  chosen.right.value = String(find("teacher") < 0 ? find("truth") : find("teacher"));

  function score(picture, side) {
    const layer = Number(chosen[side].value), name = byId("class").value;
    if (layers[layer].kind === "truth") return 100;
    return name === "" ? picture.miou[layer] : picture.iou[layer][name];
  }
  function showSide({ picture, card }, side) {
    const layer = Number(chosen[side].value), mask = card.querySelector(`.mask.${side}`);
    const { label, kind } = layers[layer];
    const name = byId("class"), what = name.value === "" ? "mIoU" : name.selectedOptions[0].text;
    mask.src = picture.masks[layer];
    mask.alt = `Mask of ${label} for ${picture.name}`;
    card.querySelector(`.score.${side}`).textContent = kind === "truth" ? label : `${label}: ${what} ${percent(score(picture, side))}`;
  }
  function update() {
    const wanted = byId("name").value.trim().toLowerCase(), name = byId("class").value;
    const orders = {
      worst: (picture) => score(picture, "left") ?? 0,
      best: (picture) => -(score(picture, "left") ?? 0),
      behind: (picture) => (score(picture, "left") ?? 0) - (score(picture, "right") ?? 0),
      name: (picture) => picture.name,
    };
    const key = orders[byId("order").value];
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    let count = 0;
    for (const entry of [...cards].sort((one, two) => compare(key(one.picture), key(two.picture)))) {
      const { picture, card } = entry;
      const fits = picture.name.toLowerCase().includes(wanted) && (name === "" || picture.classes.includes(Number(name)));
      card.hidden = !fits;
      count += fits;
      showSide(entry, "left");
      showSide(entry, "right");
      card.querySelector(".wipe").setAttribute("aria-label",
        `${picture.name}: how much of ${layers[chosen.left.value].label} is shown, the rest is ${layers[chosen.right.value].label}`);
      byId("grid").append(card);
    }
    byId("shown").textContent = `${count} of ${cards.length} images`;
  }
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["left", "right", "class", "order"]) byId(id).addEventListener("change", update);
  byId("name").addEventListener("input", update);
  byId("opacity").addEventListener("input", (event) => byId("grid").style.setProperty("--opacity", event.target.value / 100));
  update();
}
if (pictures.length) startGallery();

// A link to a run opens its details; a command is copied by the button below it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", () => {
    const code = button.previousElementSibling;
    getSelection().selectAllChildren(code);
    const copied = document.execCommand("copy");
    button.textContent = copied ? "Copied" : "Selected: copy it by keyboard";
  });
}
