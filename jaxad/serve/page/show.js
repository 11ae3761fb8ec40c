// Shows one picture with its map, its regions and its verdict.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const BOXES = 200; // regions that are drawn and listed; of more it is said how many there are

const digits = (value) =>
  value === null || value === undefined ? "none" : Number(value.toPrecision(5)).toString();

export function make(tag, text = "", kind = "") {
  const one = document.createElement(tag);
  one.textContent = text;
  if (kind) one.className = kind;
  return one;
}

function drawn(tag, attributes, text = "") {
  const one = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
  one.textContent = text;
  return one;
}

// Where the score is, beside the threshold: 320 x 58, with 12 on each side.
function gauge(score, limit) {
  const svg = $("gauge");
  for (const old of svg.querySelectorAll(":not(title)")) old.remove();
  svg.toggleAttribute("hidden", limit === null);
  if (limit === null) return;
  const low = Math.min(0, score, limit);
  const high = Math.max(score, limit) + 0.15 * (Math.max(score, limit) - low || 1);
  const x = (value) => 12 + (296 * (value - low)) / (high - low);
  svg.append(
    drawn("rect", { class: "track", x: 12, y: 12, width: x(limit) - 12, height: 16 }),
    drawn("rect", { class: "over", x: x(limit), y: 12, width: 308 - x(limit), height: 16 }),
    drawn("line", { class: "limit", x1: x(limit), x2: x(limit), y1: 6, y2: 36 }),
    drawn("circle", { class: "mark", cx: x(score), cy: 20, r: 7 }),
    drawn("text", { x: Math.min(Math.max(x(limit), 70), 250), y: 52, "text-anchor": "middle" },
      `alarm above ${digits(limit)}`),
  );
  $("gauge-said").textContent =
    `The score ${digits(score)} is ${score > limit ? "above" : "not above"} ${digits(limit)}`;
}

function regions(row) {
  const list = $("regions");
  const boxes = $("boxes");
  list.replaceChildren();
  boxes.replaceChildren();
  row.regions.slice(0, BOXES).forEach((one, number) => {
    const [left, top, right, bottom] = one.box;
    const box = make("div");
    box.style.left = `${(100 * left) / row.width}%`;
    box.style.top = `${(100 * top) / row.height}%`;
    box.style.width = `${(100 * (right - left)) / row.width}%`;
    box.style.height = `${(100 * (bottom - top)) / row.height}%`;
    box.classList.toggle("high", top < 0.08 * row.height);
    box.append(make("span", `${number + 1}`));
    boxes.append(box);
    const button = make("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(make("b", `${number + 1}`), make("span", `peak ${digits(one.peak)}`),
      make("span", `${one.area} pixels`, "soft"));
    const light = (on) => box.classList.toggle("on", on || pressed(button));
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", `${!pressed(button)}`);
      light(false);
    });
    for (const name of ["mouseenter", "focus"]) button.addEventListener(name, () => light(true));
    for (const name of ["mouseleave", "blur"]) button.addEventListener(name, () => light(false));
    const item = make("li");
    item.append(button);
    list.append(item);
  });
  const more = row.regions.length - BOXES;
  if (more > 0) list.append(make("li", `and ${more} more`, "none"));
  if (!row.regions.length) list.append(make("li", "none: no pixel is above the limit", "none"));
}

const pressed = (button) => button.getAttribute("aria-pressed") === "true";

function verdict(kind, label, said) {
  $("label").dataset.kind = kind;
  $("label").textContent = label;
  $("said").textContent = said;
}

function numbers(entry) {
  const { row, threshold } = entry;
  $("score").textContent = digits(row.score);
  $("limit").textContent = digits(threshold);
  $("percentile").textContent = row.percentile === null ? "none" : `${digits(row.percentile)} %`;
  $("p").textContent = digits(row.p_value);
  $("size").textContent = `${row.width} × ${row.height}`;
  $("time").textContent = `${Math.round(entry.ms)} ms`;
  gauge(row.score, threshold);
  regions(row);
}

const LABELS = { normal: "Normal", anomalous: "Anomalous" };

function words(entry) {
  const { row, threshold } = entry;
  if (threshold === null) return "The card has no normal pictures to make a limit of.";
  const where = row.score > threshold ? "above" : "not above";
  return `Its score ${digits(row.score)} is ${where} the limit of ${digits(threshold)}.`;
}

export function blend() {
  const value = $("blend").value;
  $("heat").style.opacity = value / 100;
  $("blend-said").textContent = `${value} %`;
  $("boxes").hidden = !$("outlines").checked;
}

export function waiting(said) {
  $("stage").classList.add("busy");
  verdict("none", "Looking …", said);
}

export function failure(said) {
  $("stage").classList.remove("busy");
  verdict("error", "Cannot be judged", said);
  $("numbers").hidden = true;
}

// A picture of this visit; see page.js for what an entry has.
export function show(entry) {
  $("stage").classList.remove("busy", "empty");
  $("stage").classList.add("shown");
  $("empty").hidden = true;
  $("blank").hidden = Boolean(entry.picture);
  $("layers").hidden = !entry.row;
  for (const id of ["blend", "blend-label"]) $(id).hidden = !entry.heat;
  $("frame").hidden = !entry.picture;
  if (entry.picture) {
    $("picture").src = entry.picture;
    $("picture").alt = `The picture ${entry.name}`;
  }
  $("heat").hidden = !entry.heat;
  $("heat").src = entry.heat || "data:,";
  if (entry.error) {
    $("boxes").replaceChildren();
    failure(`${entry.name}: ${entry.error}`);
    return;
  }
  const { row } = entry;
  const frame = $("frame");
  frame.style.aspectRatio = `${row.width} / ${row.height}`;
  frame.style.width = `min(100%, ${62 * (row.width / row.height)}vh)`;
  frame.classList.toggle("small", Math.max(row.width, row.height) < 200);
  $("heat").alt = `Where it is anomalous, in colours: ${row.regions.length} regions`;
  verdict(row.label ?? "none", LABELS[row.label] ?? "No label", words(entry));
  $("numbers").hidden = false;
  numbers(entry);
  $("low").textContent = `${digits(entry.scale[0])} or less`;
  $("high").textContent = `${digits(entry.scale[1])} or more`;
  blend();
}
