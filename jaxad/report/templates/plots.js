// Plots as SVG: axes, lines with hover values, and the histogram.
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, parent, text) {
  const one = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  if (text !== undefined) one.textContent = text;
  if (parent) parent.append(one);
  return one;
}

function html(name, attributes, parent, text) {
  const one = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  if (text !== undefined) one.textContent = text;
  if (parent) parent.append(one);
  return one;
}

const number = x => {
  if (x === null || !isFinite(x)) return "–";
  const big = Math.abs(x);
  return big !== 0 && (big >= 1e6 || big < 1e-4) ? x.toExponential(2) : String(+x.toPrecision(4));
};

// About so many round numbers within a range.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(x => x * power).find(x => x >= rough) || rough;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

function scale(low, high, from, to, logarithmic) {
  const f = logarithmic ? Math.log10 : x => x;
  const [a, b] = [f(low), f(high)];
  return x => from + (f(x) - a) / (b - a || 1) * (to - from);
}

const BOX = {left: 46, right: 12, top: 10, bottom: 34};

// what: {title, below, horizontal, vertical, x: [low, high], y: [low, high], logarithmic, limit,
// lines: [{name, x, y}], dot: [x, y]}. Hovering tells the nearest point.
function plot(parent, what) {
  const [w, h] = [320, 250];
  const figure = html("figure", {}, parent);
  const caption = html("figcaption", {}, figure);
  html("b", {}, caption, what.title);
  if (what.below) caption.append(` ${what.below}`);
  const drawing = svg("svg", {viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label":
    `${what.title}${what.below ? `, ${what.below}` : ""}; ${what.vertical} over ${what.horizontal}`}, figure);
  const x = scale(...what.x, BOX.left, w - BOX.right);
  const y = scale(...what.y, h - BOX.bottom, BOX.top, what.logarithmic);
  for (const t of ticks(...what.x, 5)) {
    svg("line", {class: "grid", x1: x(t), x2: x(t), y1: BOX.top, y2: h - BOX.bottom}, drawing);
    svg("text", {x: x(t), y: h - BOX.bottom + 14, "text-anchor": "middle"}, drawing, number(t));
  }
  const levels = what.logarithmic
    ? ticks(Math.log10(what.y[0]), Math.log10(what.y[1]), 4).map(t => 10 ** t) : ticks(...what.y, 5);
  for (const t of levels) {
    svg("line", {class: "grid", x1: BOX.left, x2: w - BOX.right, y1: y(t), y2: y(t)}, drawing);
    svg("text", {x: BOX.left - 5, y: y(t) + 4, "text-anchor": "end"}, drawing, number(t));
  }
  svg("text", {x: (BOX.left + w - BOX.right) / 2, y: h - 4, "text-anchor": "middle"}, drawing, what.horizontal);
  const faint = what.lines.length > 1;
  const paths = what.lines.map(line => {
    const points = [];
    for (let i = 0; i < line.x.length; i++) {
      if (line.y[i] !== null && !(what.logarithmic && line.y[i] <= 0)) points.push([x(line.x[i]), y(line.y[i]), i]);
    }
    const d = points.map((p, i) => `${i ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`).join("");
    if (!faint && what.limit !== undefined && points.length) {
      const inside = points.filter(p => p[0] <= x(what.limit) + 1e-6);
      const end = inside.length ? inside[inside.length - 1] : points[0];
      svg("path", {class: "area", d: inside.map((p, i) => `${i ? "L" : "M"}${p[0]} ${p[1]}`).join("")
        + `L${x(what.limit)} ${end[1]}L${x(what.limit)} ${y(what.y[0])}L${x(what.x[0])} ${y(what.y[0])}Z`}, drawing);
    }
    return {line, points, path: svg("path", {class: faint ? "line faint" : "line", d}, drawing)};
  });
  if (what.limit !== undefined && what.limit < what.x[1]) {
    svg("line", {class: "cut", x1: x(what.limit), x2: x(what.limit), y1: BOX.top, y2: h - BOX.bottom}, drawing);
  }
  const dot = svg("circle", {class: "dot", r: 4.5, visibility: "hidden"}, drawing);
  const found = {dot(at) {
    dot.setAttribute("visibility", at ? "visible" : "hidden");
    if (at) { dot.setAttribute("cx", x(at[0])); dot.setAttribute("cy", y(at[1])); }
  }};
  found.dot(what.dot);
  hover(drawing, paths, w, what);
  return found;
}

function hover(drawing, paths, w, what) {
  const mark = svg("circle", {class: "dot", r: 3.5, visibility: "hidden"}, drawing);
  const said = svg("text", {class: "said", visibility: "hidden"}, drawing);
  const hide = () => { mark.setAttribute("visibility", "hidden"); said.setAttribute("visibility", "hidden");
    for (const one of paths) if (paths.length > 1) one.path.setAttribute("class", "line faint"); };
  drawing.addEventListener("pointerleave", hide);
  drawing.addEventListener("pointermove", event => {
    const box = drawing.getBoundingClientRect(), factor = w / box.width;
    const px = (event.clientX - box.left) * factor, py = (event.clientY - box.top) * factor;
    let best = null;
    for (const one of paths) for (const p of one.points) {
      const far = (p[0] - px) ** 2 + (paths.length > 1 ? 1 : .05) * (p[1] - py) ** 2;
      if (!best || far < best.far) best = {far, p, one};
    }
    if (!best) return;
    hide();
    const {line, path} = best.one, [cx, cy, i] = best.p;
    if (paths.length > 1) path.setAttribute("class", "line");
    const words = `${line.name ? `${line.name}: ` : ""}${number(line.y[i])} at ${number(line.x[i])}`;
    mark.setAttribute("cx", cx); mark.setAttribute("cy", cy); mark.setAttribute("visibility", "visible");
    said.textContent = words + (line.told ? line.told(i) : "");
    const right = cx > w * .55;
    said.setAttribute("x", right ? cx - 8 : cx + 8); said.setAttribute("y", Math.max(cy - 8, 14));
    said.setAttribute("text-anchor", right ? "end" : "start");
    said.setAttribute("visibility", "visible");
  });
}

// Normal scores upwards, anomalous ones downwards; `line(x)` moves the threshold.
function histogram(parent, normals, defects, low, high) {
  parent.replaceChildren();
  const [w, h, bins] = [Math.max(300, Math.min(640, parent.clientWidth)), 210, 60];
  const drawing = svg("svg", {viewBox: `0 0 ${w} ${h}`, role: "img",
    "aria-label": `Histogram of ${normals.length} normal and ${defects.length} anomalous scores from ${number(low)} to ${number(high)}`}, parent);
  const count = scores => {
    const found = new Array(bins).fill(0);
    for (const s of scores) found[Math.min(bins - 1, Math.max(0, Math.floor((s - low) / (high - low) * bins)))]++;
    return found;
  };
  const up = count(normals), down = count(defects);
  const most = Math.max(1, ...up), least = Math.max(1, ...down);
  const middle = defects.length ? h * .5 : h - 26, room = defects.length ? middle - 14 : middle - 8;
  const x = scale(low, high, 8, w - 8), width = (w - 16) / bins;
  const bar = (i, size, sign, sort, n) => {
    const one = svg("rect", {class: sort, x: 8 + i * width + .5, width: Math.max(width - 1, .5),
      y: sign > 0 ? middle - size : middle, height: size}, drawing);
    svg("title", {}, one, `${n} ${sort === "normals" ? "normal" : "anomalous"}, ${number(low + i * (high - low) / bins)} to ${number(low + (i + 1) * (high - low) / bins)}`);
  };
  up.forEach((n, i) => n && bar(i, Math.max(2, n / most * room), 1, "normals", n));
  down.forEach((n, i) => n && bar(i, Math.max(2, n / least * (room - 14)), -1, "defects", n));
  svg("line", {class: "axis", x1: 8, x2: w - 8, y1: middle, y2: middle}, drawing);
  for (const t of ticks(low, high, 7)) {
    if (t >= low && t <= high) svg("text", {x: x(t), y: h - 6, "text-anchor": "middle"}, drawing, number(t));
  }
  const line = svg("line", {class: "now", y1: 2, y2: h - 20}, drawing);
  return at => {
    const there = at !== null && isFinite(at);
    line.setAttribute("visibility", there ? "visible" : "hidden");
    if (there) { const px = Math.min(w - 8, Math.max(8, x(at))); line.setAttribute("x1", px); line.setAttribute("x2", px); }
  };
}

// what: {title, horizontal, vertical, points: [{name, x, y, kind}], named: words of whole places}.
function scatter(parent, what) {
  const [w, h] = [320, 250];
  const figure = html("figure", {}, parent);
  html("b", {}, html("figcaption", {}, figure), what.title);
  const drawing = svg("svg", {viewBox: `0 0 ${w} ${h}`, role: "img",
    "aria-label": `${what.title}: ${what.points.length} points; ${what.vertical} over ${what.horizontal}`}, figure);
  const range = values => {
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    const space = .06 * (high - low) || Math.abs(low) * .1 || 1;
    return [low - space, high + space];
  };
  const xs = what.named ? [-.5, what.named.length - .5] : range(what.points.map(p => p.x));
  const ys = range(what.points.map(p => p.y));
  const x = scale(...xs, BOX.left, w - BOX.right), y = scale(...ys, h - BOX.bottom, BOX.top);
  for (const t of what.named ? what.named.keys() : ticks(...xs, 5)) {
    svg("line", {class: "grid", x1: x(t), x2: x(t), y1: BOX.top, y2: h - BOX.bottom}, drawing);
    svg("text", {x: x(t), y: h - BOX.bottom + 14, "text-anchor": "middle"}, drawing, what.named ? what.named[t] : number(t));
  }
  for (const t of ticks(...ys, 5)) {
    svg("line", {class: "grid", x1: BOX.left, x2: w - BOX.right, y1: y(t), y2: y(t)}, drawing);
    svg("text", {x: BOX.left - 5, y: y(t) + 4, "text-anchor": "end"}, drawing, number(t));
  }
  svg("text", {x: (BOX.left + w - BOX.right) / 2, y: h - 4, "text-anchor": "middle"}, drawing, what.horizontal);
  for (const line of what.lines || []) {
    svg("path", {class: line.kind, d: line.points.map((p, i) => `${i ? "L" : "M"}${x(p[0])} ${y(p[1])}`).join("")}, drawing);
  }
  for (const p of what.points) {
    const one = svg("circle", {class: `point ${p.kind || ""}`, cx: x(p.x), cy: y(p.y), r: 3.4}, drawing);
    svg("title", {}, one, `${p.name}: ${number(p.y)} over ${what.named ? what.named[p.x] : number(p.x)}`);
  }
}
