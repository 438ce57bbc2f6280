/** The request of a job <-> the settings of the form. */

/** @typedef {import("./api.js").Job} Job */
/** @typedef {import("./form.js").Settings} Settings */

/** What a request asks, whatever its route: a job's, or one that a picture carries. @param {any} request @param {import("./api.js").Sample} [sample] one of its samples: then the settings are of that one alone @returns {Settings} */
export function settingsOf(request, sample) {
  const { model, negative, options, prompt, suffix, stop } = request;
  const one = sample?.seed !== undefined ? { seed: sample.seed, n: 1 } : { seed: request.seed ?? -1, n: request.n ?? request.rows?.length ?? 1 };
  const base = { model, negative, options, prompt, suffix, stop };
  if (request.first) return { ...base, mode: "interpolate", given: request.first, to: request.last, seeds: request.seeds, n: request.n };
  if (request.init) return { ...base, ...one, mode: "vary", given: request.given, start: request.init.values, strength: request.init.strength };
  return { ...base, ...one, mode: "draw", given: request.given ?? request.row ?? request.rows?.[sample?.index ?? 0] };
}

/** @param {any} value @returns {string} */
const word = (value) => (value === null || typeof value !== "object" ? String(value) : "media_type" in value || "url" in value || "b64_json" in value || "file_id" in value ? "(a file)" : Array.isArray(value) ? value.map(word).join(", ") : JSON.stringify(value));

/** The settings in words, for whoever views them. @param {Settings} settings @returns {[string, string][]} */
export function describe(settings) {
  const { given, to, negative, options, ...rest } = settings;
  const pairs = [["model", settings.model ?? ""], ...Object.entries(given ?? {}), ...Object.entries(to ?? {}).map(([k, v]) => [`${k} at the end`, v]), ...Object.entries(negative ?? {}).map(([k, v]) => [`not ${k}`, v]),
    ...["prompt", "suffix", "stop", "strength"].map((k) => [k, /** @type {any} */ (rest)[k]]), ["seed", settings.seeds?.join(" to ") ?? settings.seed], ...Object.entries(options ?? {}).map(([k, v]) => [k.replaceAll("_", " "), v])];
  return pairs.filter(([, v]) => v !== undefined && v !== null && v !== "").map(([k, v]) => [k, typeof v === "string" && v.startsWith("data:") ? "(a file)" : word(v)]);
}

/** A title: what is given, in a line. @param {any} request @returns {string} */
export function title(request) {
  const texts = (/** @type {any} */ row) => Object.values(row ?? {}).filter((v) => v !== null && typeof v !== "object" && !String(v).startsWith("data:")).join(", ");
  if (request.first) return [texts(request.first), texts(request.last)].filter(Boolean).join(" → ") || request.model;
  return texts(request.given ?? request.row ?? request.rows?.[0]) || request.prompt || request.model;
}
