// One picture, large: walked through by keys, blended between picture and map.
let at = -1;

function openViewer(k) {
  at = k;
  if (!$("viewer").open) $("viewer").showModal();
  show();
}

function show() {
  const i = gallery.shown[at], stage = $("stage");
  $("viewer-name").textContent = P.name[i];
  const wide = stage.clientWidth - 32, high = stage.clientHeight - 32;
  const [w, h] = fitted(i, wide, high);
  const fit = document.createElement("div");
  fit.className = "fit";
  Object.assign(fit.style, {width: `${w}px`, height: `${h}px`});
  const blend = +$("blend").value / 100;
  for (const sort of ["picture", "map", "truth"]) {
    if (cellOf(sort, i) < 0) continue;
    const one = layer(sort, i, w, h);
    if (sort === "picture") one.style.filter = `grayscale(${blend})`;
    if (sort === "map") one.style.opacity = blend;
    if (sort === "truth") one.hidden = !$("outline").checked;
    one.dataset.sort = sort;
    fit.append(one);
  }
  fit.setAttribute("role", "img");
  fit.setAttribute("aria-label", `${P.name[i]} under its anomaly map`);
  stage.replaceChildren(fit);
  tell(i);
}

function layer(sort, i, w, h) {
  if (!data.full) return sprite(sort, i, w, h);
  const one = new Image();
  one.alt = "";
  one.src = `${data.full}/${String(i).padStart(5, "0")}_${sort}.webp`;
  return one;
}

function tell(i) {
  const c = P.category[i], list = $("details"), near = data.nearest[i];
  const rows = [["truth", P.defects[P.defect[i]]], ["verdict", WORDS[outcome(i)]],
    ["score", number(P.score[i])], ["threshold", number(limits[c])]];
  if (data.categories.length > 1) rows.unshift(["category", data.categories[c].name]);
  const normals = data.categories[c].normals;
  if (normals.length) rows.push(["normals below", `${(100 * normals.filter(s => s <= P.score[i]).length / normals.length).toFixed(1)} % of the card's ${normals.length}`]);
  rows.push(["place", `${at + 1} of ${gallery.shown.length}`]);
  list.replaceChildren();
  for (const [name, value] of rows) { html("dt", {}, list, name); html("dd", {}, list, value); }
  const box = $("nearest");
  box.replaceChildren();
  if (!near) return;
  html("h3", {}, box, "What is nearest among the normal pictures");
  html("img", {src: near.image, alt: "The picture with its most anomalous place, that place, the nearest normal one, and where that lies"}, box);
  html("p", {class: "note"}, box, `At distance ${number(near.distance)} of ${near.normal}. Where the two places look alike the alarm is probably false.`);
}

function walk(by) {
  if (!gallery.shown.length) return;
  at = (at + by + gallery.shown.length) % gallery.shown.length;
  show();
}

$("before")?.addEventListener("click", () => walk(-1));
$("after")?.addEventListener("click", () => walk(1));
$("close")?.addEventListener("click", () => $("viewer").close());
$("blend")?.addEventListener("input", show);
$("outline")?.addEventListener("change", show);
$("viewer")?.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const slides = event.target === $("blend");
  if (event.key === "ArrowLeft" && !slides) walk(-1);
  else if (event.key === "ArrowRight" && !slides) walk(1);
  else if (event.key === "m") { $("blend").value = +$("blend").value > 50 ? 0 : 100; show(); }
  else if (event.key === "o") { $("outline").checked = !$("outline").checked; show(); }
  else return;
  event.preventDefault();
});
$("viewer")?.addEventListener("close", () => {
  const card = document.querySelector(`[data-place="${at}"]`);
  if (card) card.focus();
});
