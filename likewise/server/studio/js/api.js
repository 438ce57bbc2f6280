/** The HTTP API of the server: requests, errors and events. Nothing else calls it. */

/** @typedef {{name: string, role: "source"|"target", kind: string, media_type: string, input: string, classes?: string[], range?: {low?: number, high?: number}, description?: string, shape?: {width: number, height: number, channels: number}, optional?: boolean}} Column */
/** @typedef {{formula: string, family: string, parameters: number, kind: string, columns: Column[], options: {properties: Record<string, any>}, controls: string[]}} Schema */
/** @typedef {{index: number, seed: number, values: Record<string, any>}} Sample */
/** @typedef {{id: string, kind: string, model: string, status: string, created_at: number, started_at?: number, finished_at?: number, position?: number, eta_seconds?: number, progress?: {step: number, steps: number}, request: any, data: Sample[], warnings: string[], error: {message: string}|null}} Job */

export class APIError extends Error {
  /** @param {string} message @param {number} status @param {number} retryAfter seconds */
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/**
 * @param {string} method @param {string} path @param {any} [body] JSON, or FormData
 * @returns {Promise<any>} the JSON of the answer. Raises APIError with the server's message.
 */
export async function call(method, path, body) {
  const form = body instanceof FormData;
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, { method, body: body === undefined ? undefined : form ? body : JSON.stringify(body), headers: body === undefined || form ? {} : { "Content-Type": "application/json" } });
  } catch {
    throw new APIError("The server does not answer. Is it still running?", 0, 2);
  }
  const text = await response.text();
  let answer = null;
  try { answer = text ? JSON.parse(text) : null; } catch { /* not JSON: the status says what is wrong */ }
  if (response.ok) return answer;
  throw new APIError(answer?.error?.message ?? `The server answered ${response.status}.`, response.status, Number(response.headers.get("Retry-After") ?? 1));
}

/** @param {string} path @returns {Promise<any>} */
export const get = (path) => call("GET", path);
/** @param {string} path @param {any} [body] @returns {Promise<any>} */
export const post = (path, body = {}) => call("POST", path, body);
/** @param {string} path @returns {Promise<any>} */
export const remove = (path) => call("DELETE", path);

/** Upload a file. @param {File|Blob} file @param {string} purpose @param {string} [name] @returns {Promise<any>} */
export function upload(file, purpose, name) {
  const form = new FormData();
  form.append("purpose", purpose);
  form.append("file", file, name ?? /** @type {File} */ (file).name);
  return post("/v1/files", form);
}

/**
 * Follow the events of a job from its first; the browser reconnects and goes on after the last one.
 * @param {string} path of the events @param {Record<string, (data: any) => void>} handlers event -> what to do
 * @returns {() => void} stop
 */
export function follow(path, handlers) {
  const source = new EventSource(path);
  for (const [event, handler] of Object.entries(handlers)) {
    source.addEventListener(event, (message) => {
      const data = /** @type {MessageEvent} */ (message).data;
      if (data !== undefined) handler(JSON.parse(data));
      if (event === "done") source.close();
    });
  }
  return () => source.close();
}

/** @type {Map<string, Promise<Schema>>} */
const schemas = new Map();

/** What a model has: formula, columns, options and controls. @param {string} id */
export function schema(id) {
  let found = schemas.get(id);
  if (!found) {
    found = get(`/v1/models/${encodeURIComponent(id)}`).then((model) => ({ ...model.likewise, controls: model.likewise.controls ?? [] }));
    found.catch(() => schemas.delete(id));
    schemas.set(id, found);
  }
  return found;
}

/** The address of a value that a job made. @param {any} value @returns {string} */
export const mediaURL = (value) => value.url ?? (value.file_id ? `/v1/files/${value.file_id}/content` : `data:${value.media_type};base64,${value.b64_json}`);

/** A value as a request has it: what the server keeps goes by its address. @param {any} value */
export const reference = (value) => (value?.url ? { url: value.url } : value?.file_id ? { file_id: value.file_id } : value);

/** Whether a value is a file (a picture, sound, ...) rather than a text, a class or a number. @param {any} value */
export const isMedia = (value) => value !== null && typeof value === "object" && "media_type" in value;

/** @param {any} value */
export const isPicture = (value) => isMedia(value) && String(value.media_type).startsWith("image/");
