// A camera: looked through, and its picture taken by a button or every few seconds.

const $ = (id) => document.getElementById(id);
let stream = null;
let timer = 0;

export const running = () => stream !== null;

function supported() {
  return Boolean(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
}

async function list() {
  const cameras = (await navigator.mediaDevices.enumerateDevices())
    .filter((one) => one.kind === "videoinput");
  const now = stream.getVideoTracks()[0].getSettings().deviceId;
  $("which").replaceChildren(...cameras.map((one, number) => {
    const option = document.createElement("option");
    option.value = one.deviceId;
    option.textContent = one.label || `camera ${number + 1}`;
    option.selected = one.deviceId === now;
    return option;
  }));
  $("which-label").hidden = cameras.length < 2;
}

// Begins to look; a failure is thrown in words.
export async function start(device) {
  if (!supported()) {
    throw new Error("A browser lets pages use a camera at https:// or at localhost alone.");
  }
  stop();
  const video = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false, video: { width: { ideal: 1920 }, height: { ideal: 1080 }, ...video },
    });
  } catch (error) {
    const why = { NotAllowedError: "it is not allowed", NotFoundError: "there is none",
      NotReadableError: "another program uses it" }[error.name] || error.message;
    throw new Error(`The camera cannot be used: ${why}.`);
  }
  $("video").srcObject = stream;
  await $("video").play();
  await list();
}

export function stop() {
  clearTimeout(timer);
  if (stream) for (const track of stream.getTracks()) track.stop();
  stream = null;
  $("video").srcObject = null;
}

// What is seen now, as a PNG.
export function shot() {
  const video = $("video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// Calls `take`, and again so many seconds after it is done, while the box is ticked.
export function repeat(take) {
  clearTimeout(timer);
  const next = async () => {
    if (!running() || !$("again").checked) return;
    await take();
    timer = setTimeout(next, 1000 * Math.max(0.5, Number($("seconds").value) || 2));
  };
  next();
}
