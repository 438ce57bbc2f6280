// The routes of /openapi.json as a page; every text is set as text.
const METHODS = ["get", "post", "put", "patch", "delete"];

/** @param {string} tag @param {string} [text] @param {string} [name] */
function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

/** The schema that a reference stands for, with references in it resolved up to a depth.
 * @param {any} root @param {any} schema @param {number} depth @returns {any} */
function resolve(root, schema, depth = 6) {
  if (Array.isArray(schema)) return schema.map((item) => resolve(root, item, depth));
  if (schema === null || typeof schema !== "object") return schema;
  if (schema.$ref) {
    if (depth === 0) return schema;
    const found = schema.$ref.split("/").slice(1).reduce((node, key) => node?.[key], root);
    return resolve(root, found, depth - 1);
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolve(root, value, depth)]));
}

/** @param {HTMLElement} into @param {string} title @param {any} value */
function block(into, title, value) {
  if (value === undefined || (Array.isArray(value) && !value.length)) return;
  into.append(element("h3", title), element("pre", JSON.stringify(value, null, 2)));
}

async function show() {
  const into = /** @type {HTMLElement} */ (document.getElementById("routes"));
  document.getElementById("base").textContent = `${location.origin}/v1`;
  const answer = await fetch("/openapi.json");
  const root = await answer.json();
  if (!answer.ok) {
    into.textContent = root.error.message;
    return;
  }
  document.getElementById("version").textContent = root.info.version;
  into.textContent = "";
  for (const [path, item] of Object.entries(root.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const route = item[method];
      const details = document.createElement("details");
      const summary = element("summary");
      summary.append(element("span", method.toUpperCase(), "method"), element("code", path));
      summary.append(` ${route.description ?? ""}`);
      const inner = element("div");
      block(inner, "Parameters", resolve(root, route.parameters ?? []));
      for (const [type, content] of Object.entries(route.requestBody?.content ?? {})) {
        block(inner, `Body, ${type}`, resolve(root, content.schema));
      }
      for (const [status, response] of Object.entries(route.responses)) {
        if (!status.startsWith("2")) continue;
        for (const [type, content] of Object.entries(response.content ?? {})) {
          block(inner, `Answer ${status}, ${type}`, resolve(root, content.schema));
        }
      }
      details.append(summary, inner);
      into.append(details);
    }
  }
}

show();
