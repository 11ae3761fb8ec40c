// The page: which model, which pictures, and those of this visit.

import { Failure, ask, predict, use } from "./ask.js";
import * as camera from "./camera.js";
import { blend, failure, make, show, waiting } from "./show.js";

const $ = (id) => document.getElementById(id);
const KEPT = 24; // pictures of this visit that can be looked at again
let models = [];
let limits = { max_bytes: Infinity };
let visit = []; // of the latest picture first
let known; // called when it is known which models there are
let line = new Promise((done) => { known = done; }); // one picture after the other, from then on

function notice(text, bad = false) {
  $("notice").hidden = !text;
  $("notice").textContent = text;
  $("notice").classList.toggle("bad", bad);
}

function options(select, names) {
  select.replaceChildren(...names.map((name) => {
    const one = make("option", name);
    one.value = name;
    return one;
  }));
}

const model = () => models.find((one) => one.name === $("model").value);

function chosen() {
  const names = Object.keys(model()?.categories ?? {});
  const before = $("category").value;
  options($("category"), names);
  if (names.includes(before)) $("category").value = before;
  $("category-label").hidden = names.length < 2;
  told();
}

function told() {
  const about = model()?.categories?.[$("category").value];
  $("card-about").hidden = !about;
  $("rule").textContent = about ? about.said : "";
  $("warnings").replaceChildren(...(about?.warnings ?? []).map((text) => make("li", text)));
}

// Which models there are; again every second until all are ready.
async function look() {
  try {
    const found = await ask("/v1/models");
    const before = $("model").value;
    models = found.models;
    limits = found.limits;
    $("entry").hidden = true;
    $("bench").hidden = false;
    options($("model"), models.map((one) => one.name));
    if (models.some((one) => one.name === before)) $("model").value = before;
    chosen();
    known();
    const loading = models.filter((one) => !one.ready).map((one) => one.name);
    notice(loading.length ? `Still loading and compiling: ${loading.join(", ")} …` : "");
    if (loading.length) setTimeout(look, 1000);
  } catch (error) {
    if (error.status === 401) {
      wanted();
    } else {
      notice(error.message, true);
      setTimeout(look, 3000);
    }
  }
}

function wanted() {
  const second = !$("entry").hidden;
  $("entry").hidden = false;
  $("bench").hidden = true;
  $("token").value = "";
  notice(second ? "This is not the token of the service." : "", second);
  $("token").focus();
}

const size = (url) => new Promise((done) => {
  const image = new Image();
  image.onload = () => done([image.naturalWidth, image.naturalHeight]);
  image.onerror = () => done(null);
  image.src = url;
});

const png = (text) => `data:image/png;base64,${text}`;

// One picture: an entry has name, model, picture (an address), heat, row, threshold, scale, ms or
// error.
async function judge(blob, name) {
  const entry = { name, model: $("model").value, error: "" };
  const category = $("category").value;
  waiting(name);
  try {
    if (blob.size > limits.max_bytes) {
      throw new Failure(413, "", `It has more than ${limits.max_bytes} bytes.`);
    }
    entry.picture = URL.createObjectURL(blob);
    const shown = await size(entry.picture);
    const later = (wait) => waiting(`${name}: the service has much to do, again in ${wait} s`);
    const began = performance.now();
    const get = (include) => predict(blob, entry.model, category, include, later);
    let found = await get(shown ? "heat" : "overlay");
    entry.ms = performance.now() - began;
    let row = found.pictures[0];
    if (shown && (shown[0] !== row.width || shown[1] !== row.height)) {
      found = await get("overlay"); // the browser turns it in another way than the model's run
      row = found.pictures[0];
    }
    if (row.overlay) {
      URL.revokeObjectURL(entry.picture);
      entry.picture = png(row.overlay);
    }
    entry.heat = row.heat ? png(row.heat) : "";
    delete row.heat;
    delete row.overlay;
    entry.row = row;
    entry.threshold = found.threshold;
    entry.scale = models.find((one) => one.name === entry.model).scale;
  } catch (error) {
    if (error.status === 401) {
      wanted();
      failure("The service wants a token.");
      return;
    }
    entry.error = error.message;
    if (entry.picture && !(await size(entry.picture))) {
      URL.revokeObjectURL(entry.picture);
      entry.picture = "";
    }
  }
  visit.unshift(entry);
  for (const old of visit.splice(KEPT)) {
    if (old.picture?.startsWith("blob:")) URL.revokeObjectURL(old.picture);
  }
  open(entry);
}

function open(entry) {
  show(entry);
  $("before").hidden = visit.length < 2;
  $("strip").replaceChildren(...visit.map((one) => {
    const item = make("li");
    const button = make("button");
    button.type = "button";
    button.setAttribute("aria-current", `${one === entry}`);
    if (one.picture) {
      const image = make("img");
      image.src = one.picture;
      image.alt = "";
      button.append(image);
    } else {
      button.append(make("span", "", "blank"));
    }
    const kind = one.error ? "error" : one.row.label ?? "";
    const said = one.error ? "not judged" : `${kind || "no label"}, ${one.row.score.toPrecision(4)}`;
    button.append(make("span", said, kind), make("span", one.name, "name"));
    button.addEventListener("click", () => open(one));
    item.append(button);
    return item;
  }));
}

function take(files) {
  for (const file of files) {
    line = line.then(() => judge(file, file.name || "pasted picture"));
  }
  return line;
}

async function shoot() {
  const blob = await camera.shot();
  const time = new Date().toLocaleTimeString();
  if (blob) await take([new File([blob], `camera, ${time}`, { type: "image/png" })]);
}

async function look_through(device) {
  try {
    await camera.start(device);
    notice("");
  } catch (error) {
    notice(error.message, true);
  }
  const on = camera.running();
  $("camera").setAttribute("aria-expanded", `${on}`);
  $("camera").textContent = on ? "Stop the camera" : "Use the camera";
  $("shooting").hidden = $("video").hidden = !on;
  $("stage").classList.toggle("shooting", on);
  $("empty").hidden = on || visit.length > 0;
}

function leave_off() {
  camera.stop();
  $("again").checked = false;
  $("camera").setAttribute("aria-expanded", "false");
  $("camera").textContent = "Use the camera";
  $("shooting").hidden = $("video").hidden = true;
  $("stage").classList.remove("shooting");
  $("empty").hidden = visit.length > 0;
}

const carries = (event) => [...event.dataTransfer.types].includes("Files");
let inside = 0; // elements that what is dragged is over

addEventListener("dragenter", (event) => {
  if (!carries(event)) return;
  inside += 1;
  $("drop").hidden = false;
});
addEventListener("dragleave", () => {
  inside = Math.max(0, inside - 1);
  $("drop").hidden = inside === 0;
});
addEventListener("dragover", (event) => carries(event) && event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  $("drop").hidden = true;
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => take(event.clipboardData.files));
$("file").addEventListener("change", () => {
  take([...$("file").files]);
  $("file").value = "";
});
$("camera").addEventListener("click", () => (camera.running() ? leave_off() : look_through()));
$("which").addEventListener("change", () => look_through($("which").value));
$("shoot").addEventListener("click", shoot);
$("again").addEventListener("change", () => camera.repeat(shoot));
$("model").addEventListener("change", chosen);
$("category").addEventListener("change", told);
$("blend").addEventListener("input", blend);
$("outlines").addEventListener("change", blend);
$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  use($("token").value);
  look();
});
$("stage").classList.add("empty");
look();
