// Small pictures out of the sheets, each of which is opened when a picture of it is first shown.
const addresses = new Map();

function address(sort, sheet) {
  const key = `${sort}-${sheet}`;
  if (!addresses.has(key)) {
    const inside = $(key);
    addresses.set(key, inside
      ? URL.createObjectURL(new Blob([Uint8Array.from(atob(inside.textContent.trim()), c => c.charCodeAt(0))], {type: "image/webp"}))
      : `sheets/${sort}-${String(sheet).padStart(3, "0")}.webp`);
  }
  return addresses.get(key);
}

const cellOf = (sort, i) => data.layers.at[sort][i];
const seen = i => cellOf("picture", i) >= 0;

// A layer of picture i as an element of so many pixels' width and height.
function sprite(sort, i, width, height, kind = "") {
  const cell = cellOf(sort, i), {side, across, size} = data.layers, [h, w] = size[i];
  const per = across * across, sheet = Math.floor(cell / per), place = cell % per;
  const total = Math.min(per, data.layers.cells[sort] - sheet * per);
  const columns = Math.min(across, total), rows = Math.ceil(total / across);
  const fx = width / w, fy = height / h;
  const one = document.createElement("i");
  one.className = `sprite ${kind}`;
  Object.assign(one.style, {
    width: `${width}px`, height: `${height}px`,
    backgroundImage: `url("${address(sort, sheet)}")`,
    backgroundSize: `${columns * side * fx}px ${rows * side * fy}px`,
    backgroundPosition: `${-(place % across) * side * fx}px ${-Math.floor(place / across) * side * fy}px`,
  });
  return one;
}

// Width and height of picture i within a square of `room` pixels.
function fitted(i, wide, high) {
  const [h, w] = data.layers.size[i], factor = Math.min(wide / w, high / h);
  return [w * factor, h * factor];
}
