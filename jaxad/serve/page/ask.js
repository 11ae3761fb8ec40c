// Asking the service: with the token, if there is one, and again where it says "later".

let token = ""; // in memory alone: gone with the page

export class Failure extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function use(given) {
  token = given;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function once(path, options) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    return await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Failure(0, "unreachable", "The service does not answer. Is it running?");
  }
}

// The answer as JSON; a failure is thrown. `later` is told of each wait.
export async function ask(path, options = {}, later = () => {}) {
  for (let left = options.tries ?? 3; ; left--) {
    const answer = await once(path, options);
    const wait = Number(answer.headers.get("Retry-After"));
    if (answer.status === 503 && wait && left > 1) {
      later(wait);
      await pause(wait);
      continue;
    }
    let body = {};
    try {
      body = await answer.json();
    } catch {
      throw new Failure(answer.status, "no_json", `The service answered ${answer.status}.`);
    }
    if (!answer.ok) throw new Failure(answer.status, body.error.code, body.error.message);
    return body;
  }
}

export function predict(blob, model, category, include, later) {
  const query = new URLSearchParams({ model, include });
  if (category) query.set("category", category);
  const type = blob.type.startsWith("image/") ? blob.type : "application/octet-stream";
  const headers = { "Content-Type": type, Accept: "application/json" };
  return ask(`/v1/predict?${query}`, { method: "POST", body: blob, headers }, later);
}
