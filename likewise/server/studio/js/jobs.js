/** The jobs that the server has: listed, followed while they run, told to whoever subscribes. */
import { APIError, follow, get, post, remove } from "./api.js";

/** @typedef {import("./api.js").Job} Job */
/** @typedef {{previews: Map<number, string>, texts: Map<number, string>}} Live  of a running job: sample -> picture, or text so far */

const FOLLOWED = 3; // jobs whose events are read at once: browsers allow six connections to a host
const PAGE = 60;
const KINDS = ["sample", "infill", "interpolate"]; // of jobs that make samples
const LIST = `/v1/jobs?background=true&kind=${KINDS.join(",")}&limit=${PAGE}`; // those of API clients are theirs

/** @type {Map<string, Job>} */
export const jobs = new Map();
/** @type {Map<string, Live>} */
export const live = new Map();
/** "job" (a Job changed), "live" (a preview came), "gone" (an id), "list" (any of these) */
export const bus = new EventTarget();
/** @type {Map<string, () => void>} */
const following = new Map();
let more = false;
/** @type {number|undefined} */
let timer;

/** @param {string} type @param {any} [detail] */
const tell = (type, detail) => bus.dispatchEvent(new CustomEvent(type, { detail }));
/** @param {string} type @param {(detail: any) => void} listener */
export const on = (type, listener) => bus.addEventListener(type, (event) => listener(/** @type {CustomEvent} */ (event).detail));

/** @param {Job} job */
export const isActive = (job) => ["queued", "running", "paused"].includes(job.status);
/** @param {Job} job whether it makes samples, as opposed to training and evaluation */
export const isDrawing = (job) => KINDS.includes(job.kind);
/** Waiting and running jobs that draw, in the order of the queue. */
export const active = () => [...jobs.values()].filter((j) => isDrawing(j) && isActive(j)).sort((a, b) => Number(a.status === "queued") - Number(b.status === "queued") || (a.position ?? 0) - (b.position ?? 0) || a.created_at - b.created_at);
export const hasMore = () => more;

/** @param {Job} job */
function put(job) {
  const before = jobs.get(job.id);
  jobs.set(job.id, job);
  if (!isActive(job)) {
    following.get(job.id)?.();
    following.delete(job.id);
    live.delete(job.id);
  }
  if (JSON.stringify(before) !== JSON.stringify(job)) tell("job", job);
}

/** @param {Job} job */
function watch(job) {
  if (following.has(job.id) || following.size >= FOLLOWED) return;
  /** @type {Live} */
  const state = { previews: new Map(), texts: new Map() };
  live.set(job.id, state);
  /** @param {Partial<Job>} change */
  const update = (change) => { const now = jobs.get(job.id); if (now && isActive(now)) put({ ...now, ...change }); };
  following.set(job.id, follow(`/v1/jobs/${job.id}/events`, {
    status: (data) => update({ status: data.status }),
    progress: (data) => update({ progress: data, status: "running" }),
    preview: (data) => {
      if (data.b64_json && data.media_type?.startsWith("image/")) state.previews.set(data.index, `data:${data.media_type};base64,${data.b64_json}`);
      tell("live", job.id);
    },
    text: (data) => {
      state.texts.set(data.index, (state.texts.get(data.index) ?? "") + data.delta);
      tell("live", job.id);
    },
    done: () => refresh(job.id),
  }));
}

/** Ask for one job again. @param {string} id */
export async function refresh(id) {
  try {
    put(await get(`/v1/jobs/${id}`));
  } catch (error) {
    if (/** @type {APIError} */ (error).status === 404) forget(id);
  }
  tell("list");
  schedule();
}

/** @param {string} id */
function forget(id) {
  following.get(id)?.();
  following.delete(id);
  live.delete(id);
  if (jobs.delete(id)) tell("gone", id);
}

/** Ask for the newest jobs. */
export async function load() {
  const page = await get(LIST);
  const listed = new Set(page.data.map((/** @type {Job} */ j) => j.id));
  const oldest = Math.min(...page.data.map((/** @type {Job} */ j) => j.created_at));
  for (const job of [...jobs.values()]) if (!listed.has(job.id) && (!page.has_more || job.created_at > oldest)) forget(job.id);
  if (jobs.size <= PAGE) more = page.has_more;
  for (const job of page.data) put(job);
  for (const job of active()) watch(job);
  tell("list");
  schedule();
}

/** Ask for jobs older than those at hand. */
export async function loadOlder() {
  const oldest = [...jobs.values()].sort((a, b) => a.created_at - b.created_at)[0];
  const page = await get(`${LIST}${oldest ? `&after=${oldest.id}` : ""}`);
  more = page.has_more;
  for (const job of page.data) put(job);
  tell("list");
}

/** Ask again soon while jobs run, seldom otherwise (another tab may draw), never while the page is hidden. */
function schedule() {
  clearTimeout(timer);
  timer = setTimeout(() => (document.hidden ? schedule() : load().catch(schedule)), active().length ? 1500 : 15000);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) load().catch(schedule); });

/**
 * Put a request into the queue; waits while the queue is full.
 * @param {string} path @param {any} body @returns {Promise<Job>}
 */
export async function submit(path, body) {
  for (let tries = 0; ; tries++) {
    try {
      const job = await post(path, { ...body, background: true });
      put(job);
      if (isDrawing(job)) watch(job);
      tell("list");
      schedule();
      return job;
    } catch (error) {
      const { status, retryAfter } = /** @type {APIError} */ (error);
      if (status !== 429 || tries >= 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(retryAfter, 0.5)));
    }
  }
}

/** @param {string} id */
export async function cancel(id) {
  await post(`/v1/jobs/${id}/cancel`);
  await refresh(id);
}

/** Delete one sample of a job; with the last one goes the job. @param {string} id @param {number} index */
export async function dropSample(id, index) {
  if ((jobs.get(id)?.data.length ?? 0) < 2) return drop(id);
  await remove(`/v1/jobs/${id}/results/${index}`);
  await refresh(id);
}

/** @param {string} id */
export async function drop(id) {
  await remove(`/v1/jobs/${id}`);
  forget(id);
  tell("list");
}
