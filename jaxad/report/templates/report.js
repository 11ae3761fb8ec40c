// What belongs together: the category that is chosen, its threshold, counts, curves and pictures.
let category = data.categories.length > 1 ? -1 : 0, moveLine = () => {}, dots = {};
const membersOf = c => [...Array(COUNT).keys()].filter(i => c < 0 || P.category[i] === c);

function setLimit(value, from) {
  if (category < 0) return;
  limits[category] = value;
  const [low, high] = ranges[category];
  if (from !== "slider") $("slider").value = value === null ? 1000 : (value - low) / (high - low) * 1000;
  if (from !== "exact") $("exact").value = value === null ? "" : +value.toPrecision(7);
  judge();
}

function judge() {
  const one = category < 0 ? null : data.categories[category];
  const limit = category < 0 ? null : limits[category];
  moveLine(limit);
  $("said").textContent = one ? `The card: ${one.said}.` : "Choose a category above to move its threshold.";
  if (P) {
    const members = membersOf(category), n = confusion(members);
    $("tp").textContent = n.hit; $("fn").textContent = n.miss;
    $("fp").textContent = n.alarm; $("tn").textContent = n.calm;
    for (const [id, count] of [["fn", n.miss], ["fp", n.alarm]]) $(id).className = count ? "wrong" : "";
    const defects = n.hit + n.miss, normals = n.alarm + n.calm;
    $("rates").textContent = n.none === members.length ? "No verdicts: the card has no threshold, for it has no normal pictures."
      : `Defects found: ${percent(n.hit, defects)}. False alarms: ${percent(n.alarm, normals)}. Alarms that are right: ${percent(n.hit, n.hit + n.alarm)}.`;
    for (const [name, curve] of Object.entries(dots)) curve.move(limit);
    choose(members);
  } else if (one) {
    const above = limit === null ? 0 : one.normals.filter(s => s > limit).length;
    $("rates").textContent = `Above it of the card's normal pictures: ${percent(above, one.normals.length)}.`;
  }
}

function setCategory(c) {
  category = c;
  const members = P ? membersOf(c) : [];
  const one = c >= 0;
  redraw();
  for (const id of ["slider", "exact", "reset"]) $(id).disabled = !one;
  for (const row of document.querySelectorAll("tr[data-category]")) {
    row.hidden = one && +row.dataset.category !== c;
  }
  if (P) { types(members); curves(c, members); }
  if (one) setLimit(limits[c]); else judge();
}

function redraw() {
  const box = $("histogram"), members = P ? membersOf(category) : [];
  if (category < 0) {
    box.replaceChildren();
    html("p", {class: "note"}, box, "Scores of several categories are not on one axis: choose one.");
    moveLine = () => {};
    return;
  }
  const scores = wanted => members.filter(i => isNormal(i) === wanted).map(i => P.score[i]);
  moveLine = histogram(box, P ? scores(true) : data.categories[category].normals, P ? scores(false) : [], ...ranges[category]);
  moveLine(limits[category]);
}

function types(members) {
  const there = new Set(members.map(i => P.defect[i])), select = $("defect"), before = select.value;
  select.replaceChildren(new Option("all", ""));
  P.defects.forEach((name, place) => there.has(place) && select.add(new Option(name, place)));
  select.value = before !== "" && there.has(+before) ? before : "";
}

function curves(c, members) {
  const parent = $("plots"), rates = {x: [0, 1], y: [0, 1]};
  parent.replaceChildren();
  dots = {};
  const each = c < 0 ? data.categories.map((one, k) => [one.name, imageCurves(membersOf(k))]) : [["", imageCurves(members)]];
  const several = each.filter(one => one[1]);
  const lines = sort => several.map(([name, found]) => ({name, ...found[sort],
    told: i => isFinite(found[sort].at[i]) ? `, threshold ${number(found[sort].at[i])}` : ""}));
  if (several.length) {
    const roc = plot(parent, {...rates, title: "ROC of pictures", horizontal: "false positive rate", vertical: "true positive rate", lines: lines("roc"), limit: 1});
    const pr = plot(parent, {...rates, title: "Precision and recall of pictures", horizontal: "recall", vertical: "precision", lines: lines("pr")});
    if (c >= 0) dots = {roc: {move: limit => move(roc, several[0][1].roc, limit)}, pr: {move: limit => move(pr, several[0][1].pr, limit)}};
  }
  for (const one of data.curves) {
    const names = Object.entries(one.lines).filter(([name]) => c < 0 || name === data.categories[c].name);
    if (names.length) plot(parent, {...rates, title: one.title, below: one.limit < 1 ? `counted up to ${one.limit}` : "",
      horizontal: "false positive rate", vertical: one.vertical, limit: one.limit,
      lines: names.map(([name, [x, y]]) => ({name: names.length > 1 ? name : "", x, y}))});
  }
  if (!parent.children.length) html("p", {}, parent, "No curves: both normal and anomalous pictures are wanted.");
}

// Where a threshold is on a curve: at the last score above it.
function move(drawn, curve, limit) {
  if (limit === null) return drawn.dot(null);
  let k = -1;
  while (k + 1 < curve.at.length && curve.at[k + 1] > limit) k++;
  drawn.dot(k < 0 ? null : [curve.x[k], curve.y[k]]);
}

function training() {
  const {step, values} = data.history;
  for (const [name, y] of Object.entries(values)) {
    const known = y.filter(v => v !== null);
    if (!known.length) continue;
    const low = known.reduce((a, b) => Math.min(a, b)), high = known.reduce((a, b) => Math.max(a, b));
    const logarithmic = low > 0 && high > 30 * low, space = .05 * (high - low) || Math.abs(low) * .1 || 1;
    plot($("history"), {title: name, below: logarithmic ? "(logarithmic)" : "", horizontal: "step", vertical: name,
      x: [step[0], Math.max(step[step.length - 1], step[0] + 1)],
      y: logarithmic ? [low / 1.1, high * 1.1] : [low - space, high + space], logarithmic, lines: [{name: "", x: step, y}]});
  }
}

if (data.categories.length) {
  $("slider").addEventListener("input", () => {
    const [low, high] = ranges[category];
    setLimit(low + $("slider").value / 1000 * (high - low), "slider");
  });
  $("exact").addEventListener("change", () => {
    const value = parseFloat($("exact").value);
    if (isFinite(value)) setLimit(value, "exact");
  });
  $("reset").addEventListener("click", () => setLimit(data.categories[category].limit));
  $("category")?.addEventListener("change", () => setCategory(+$("category").value));
  if (P) {
    for (const id of ["search", "defect", "verdict", "outcome", "order"]) {
      $(id).addEventListener("input", () => choose(gallery.members));
    }
    $("all").addEventListener("click", () => { gallery.all = true; lay(); });
    addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
    addEventListener("resize", () => requestAnimationFrame(() => { redraw(); lay(); if ($("viewer").open) show(); }));
  }
  setCategory(category);
}
if (data.history && $("history")) training();
