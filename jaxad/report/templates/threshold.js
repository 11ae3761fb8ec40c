// What a threshold makes of the scores: outcomes, counts, and the curves of pictures.
const data = JSON.parse($("data").textContent);
const P = data.pictures, COUNT = P ? P.name.length : 0;
const GOOD = P ? P.defects.indexOf("good") : -1;
const isNormal = i => P.defect[i] === GOOD;

const ranges = data.categories.map((one, c) => {
  const scores = [...one.normals, ...(P ? P.score.filter((_, i) => P.category[i] === c) : [])];
  if (one.limit !== null) scores.push(one.limit);
  let low = Infinity, high = -Infinity;
  for (const s of scores) { low = Math.min(low, s); high = Math.max(high, s); }
  if (!scores.length) [low, high] = [0, 1];
  const margin = .04 * (high - low) || Math.max(Math.abs(low), 1) * .01; // equal scores have no range
  return [low - margin, high + margin];
});
const limits = data.categories.map(one => one.limit);

// "hit", "miss", "alarm" (a false one), "calm"; "none" where nothing tells.
function outcome(i) {
  const limit = limits[P.category[i]];
  if (limit === null) return "none";
  const above = P.score[i] > limit;
  return isNormal(i) ? (above ? "alarm" : "calm") : (above ? "hit" : "miss");
}
const WORDS = {hit: "found", miss: "missed", alarm: "false alarm", calm: "normal", none: "no verdict"};

function confusion(members) {
  const found = {hit: 0, miss: 0, alarm: 0, calm: 0, none: 0};
  for (const i of members) found[outcome(i)]++;
  return found;
}

const percent = (a, b) => b ? `${a} of ${b} (${(100 * a / b).toFixed(1)} %)` : "none";

// ROC and precision-recall of some pictures, from the highest score down; ties count as one.
function imageCurves(members) {
  const order = [...members].sort((a, b) => P.score[b] - P.score[a]);
  const normals = order.filter(isNormal).length, defects = order.length - normals;
  const roc = {x: [0], y: [0], at: [Infinity]}, pr = {x: [], y: [], at: []};
  let hits = 0, alarms = 0;
  order.forEach((i, k) => {
    if (isNormal(i)) alarms++; else hits++;
    if (k + 1 < order.length && P.score[order[k + 1]] === P.score[i]) return;
    roc.x.push(alarms / normals); roc.y.push(hits / defects); roc.at.push(P.score[i]);
    pr.x.push(hits / defects); pr.y.push(hits / (hits + alarms)); pr.at.push(P.score[i]);
  });
  return normals && defects ? {roc, pr} : null;
}
