// All pictures, filtered and in order; only the rows in view are in the page.
const gallery = {shown: [], members: [], from: -1, to: -1, columns: 0, step: 0, width: 0, all: false};
const ROWS = 4; // that are shown at first: what comes below the pictures should be reached
const margin = i => {
  const c = P.category[i], [low, high] = ranges[c];
  return limits[c] === null ? 0 : (P.score[i] - limits[c]) / (high - low);
};
const wrong = i => { const x = margin(i); return isNormal(i) ? x : -x; };
const ORDERS = {
  high: (a, b) => P.score[b] - P.score[a], low: (a, b) => P.score[a] - P.score[b],
  worst: (a, b) => wrong(b) - wrong(a), near: (a, b) => Math.abs(margin(a)) - Math.abs(margin(b)),
  name: (a, b) => P.name[a].localeCompare(P.name[b], undefined, {numeric: true}),
};

function fits(i) {
  const text = $("search").value.trim().toLowerCase(), defect = $("defect").value;
  if (text && !P.name[i].toLowerCase().includes(text)) return false;
  if (defect !== "" && P.defect[i] !== +defect) return false;
  const what = outcome(i), verdict = $("verdict").value, chosen = $("outcome").value;
  if (verdict === "alarm" && what !== "hit" && what !== "alarm") return false;
  if (verdict === "quiet" && what !== "miss" && what !== "calm") return false;
  return !chosen || chosen === what || (chosen === "wrong" && (what === "miss" || what === "alarm"));
}

function choose(members) {
  gallery.members = members;
  gallery.shown = members.filter(i => seen(i) && fits(i)).sort(ORDERS[$("order").value]);
  const all = members.filter(seen).length;
  $("count").textContent = gallery.shown.length === all
    ? `${all} pictures` : `${gallery.shown.length} of ${all} pictures`;
  gallery.from = -1;
  lay();
}

function lay() {
  const list = $("gallery"), width = list.clientWidth;
  if (!width) return;
  gallery.columns = Math.max(1, Math.floor((width + 12) / 272));
  gallery.width = (width - 12 * (gallery.columns - 1)) / gallery.columns;
  gallery.step = (gallery.width - 22) / 2 + 82;
  const rows = Math.ceil(gallery.shown.length / gallery.columns), few = Math.min(rows, ROWS);
  list.style.height = `${(gallery.all ? rows : few) * gallery.step}px`;
  $("all").hidden = gallery.all || rows <= ROWS;
  $("all").textContent = `Show all ${gallery.shown.length} pictures`;
  gallery.from = -1;
  draw();
}

function draw() {
  const list = $("gallery"), top = list.getBoundingClientRect().top, {columns, step, shown} = gallery;
  if (!step) return;
  const rows = Math.min(Math.ceil(shown.length / columns), gallery.all ? Infinity : ROWS);
  // One row at least, wherever the page is: the keyboard has to find a way in.
  const first = !gallery.all ? 0 : Math.max(0, Math.min(rows - 1, Math.floor(-top / step) - 2));
  const last = !gallery.all ? rows : Math.max(first + 1, Math.min(rows, Math.ceil((innerHeight - top) / step) + 2));
  const [from, to] = [first * columns, last * columns];
  if (from === gallery.from && to === gallery.to) return;
  [gallery.from, gallery.to] = [from, to];
  const focused = list.contains(document.activeElement) ? +document.activeElement.dataset.place : -1;
  const items = [];
  for (let k = from; k < Math.min(to, shown.length); k++) items.push(item(k));
  list.replaceChildren(...items);
  const again = focused >= 0 && list.querySelector(`[data-place="${focused}"]`);
  if (again) again.focus({preventScroll: true});
}

function item(k) {
  const {columns, step, width, shown} = gallery, i = shown[k], one = document.createElement("li");
  Object.assign(one.style, {left: `${k % columns * (width + 12)}px`, top: `${Math.floor(k / columns) * step}px`,
    width: `${width}px`, height: `${step - 12}px`});
  one.setAttribute("aria-setsize", shown.length);
  one.setAttribute("aria-posinset", k + 1);
  const what = outcome(i), truth = P.defects[P.defect[i]];
  const card = html("button", {type: "button", class: "card", "data-place": k,
    "aria-label": `${P.name[i]}, ${truth}, score ${number(P.score[i])}, ${WORDS[what]}`}, one);
  const pair = html("span", {class: "pair"}, card), room = (width - 22) / 2;
  for (const layers of [["picture", "truth"], ["picture", "map"]]) {
    const cell = html("span", {class: "cell"}, pair);
    for (const sort of layers) {
      if (cellOf(sort, i) >= 0) cell.append(sprite(sort, i, ...fitted(i, room, room), sort === "picture" && layers[1] === "map" ? "grey" : ""));
    }
  }
  html("span", {class: "name"}, card, P.name[i]);
  const line = html("span", {class: "line"}, card);
  html("span", {}, line, number(P.score[i]));
  html("span", {class: `badge ${what}`}, line, WORDS[what]);
  card.addEventListener("click", () => openViewer(k));
  return one;
}
