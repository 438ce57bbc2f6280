/** The canvas of inpainting and outpainting: a picture on the model's grid, and a mask of what is drawn anew. */
import { mediaURL, reference } from "./api.js";
import { announce, attempt, button, dataURL, h, icon, labelled } from "./dom.js";

const TOOLS = /** @type {const} */ ({ brush: ["Brush", "b"], erase: ["Erase", "e"], box: ["Box", "x"], move: ["Move the picture", "m"] });
const SHOWN = 560; // device pixels of the longer side, about
const UNDO_STEPS = 60;

/** @typedef {{mask: Uint8Array, x: number, y: number, size: number}} State  mask: 1 where to draw; place and size of the picture, in pixels of the grid and per cent */

/** Black and white stripes, seen on any picture. @param {CanvasRenderingContext2D} context */
function stripes(context) {
  const tile = new OffscreenCanvas(8, 8);
  const c = /** @type {OffscreenCanvasRenderingContext2D} */ (tile.getContext("2d"));
  c.fillStyle = "rgb(255 255 255 / 70%)";
  c.fillRect(0, 0, 8, 8);
  c.strokeStyle = "rgb(15 15 20 / 85%)";
  c.lineWidth = 2.2;
  for (const shift of [-8, 0, 8]) {
    c.beginPath();
    c.moveTo(shift - 1, 9);
    c.lineTo(shift + 9, -1);
    c.stroke();
  }
  return /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
}

/** @param {string} address @returns {Promise<HTMLImageElement>} */
async function loadImage(address) {
  const image = new Image();
  image.src = address;
  await image.decode().catch(() => { throw new Error("The picture cannot be read."); });
  return image;
}

export class MaskEditor {
  /** @param {HTMLElement} stage */
  constructor(stage) {
    /** @type {HTMLImageElement|null} */
    this.image = null;
    /** @type {any} */
    this.value = null; // what the picture is for the server, as long as it is neither moved nor resized
    this.width = this.height = 0;
    /** @type {State} */
    this.state = { mask: new Uint8Array(0), x: 0, y: 0, size: 100 };
    /** @type {State[]} */
    this.past = [];
    /** @type {keyof typeof TOOLS} */
    this.tool = "brush";
    this.cursor = { x: 0, y: 0, shown: false };
    /** @type {{x: number, y: number}|null} */
    this.anchor = null;
    this.canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": "Picture and mask", "aria-describedby": "canvas-help", class: "pixels",
      onpointerdown: (/** @type {PointerEvent} */ e) => this.press(e), onkeydown: (/** @type {KeyboardEvent} */ e) => this.key(e), onblur: () => { this.cursor.shown = false; this.draw(); } });
    this.tools = h("div", { class: "segments tools", role: "group", "aria-label": "Tools" }, Object.entries(TOOLS).map(([name, [label, key]]) =>
      h("button", { type: "button", "data-tool": name, title: `${label} (${key.toUpperCase()})`, "aria-label": label, "aria-pressed": String(name === this.tool), onclick: () => this.choose(/** @type {any} */ (name)) }, icon(name))));
    this.brush = h("input", { type: "range", min: 1, max: 16, value: "4" });
    this.scale = h("input", { type: "range", min: 20, max: 300, step: 5, value: "100", onpointerdown: () => this.keep(), oninput: () => this.place({ size: Number(this.scale.value) }) });
    this.count = h("p", { class: "hint", role: "status" });
    this.file = this.chooser("A picture", (address) => this.load(address));
    this.maskFile = this.chooser("A mask", (address) => this.loadMask(address));
    stage.replaceChildren(
      h("div", { class: "stage-canvas" }, this.canvas, this.count),
      h("div", { class: "stage-tools" }, this.tools,
        labelled("Brush size", this.brush), labelled("Size of the picture", this.scale, "Smaller leaves a border to draw (outpainting)."),
        h("div", { class: "buttons" }, button("undo", "Undo", () => this.undo(), { title: "Ctrl-Z" }), button("", "Clear", () => this.fill(() => 0)), button("", "Invert", () => this.fill((m) => 1 - m))),
        h("div", { class: "buttons" }, button("upload", "Picture", () => this.file.click()), button("upload", "Mask", () => this.maskFile.click(), { title: "White or transparent where to draw" })),
        h("p", { class: "hint", id: "canvas-help" }, "Hatched parts are drawn anew; all else stays as it is. Keys: arrows and Enter paint, B E X M choose a tool, [ and ] the size.")), this.file, this.maskFile);
  }

  /** @param {string} label @param {(address: string) => Promise<void>} action @returns {HTMLInputElement} */
  chooser(label, action) {
    const input = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": label, onchange: () => attempt(async () => {
      const file = input.files[0];
      input.value = "";
      if (file) await action(await dataURL(file));
    }) });
    return input;
  }

  /** The grid of the model. @param {number} width @param {number} height */
  resize(width, height) {
    if (width === this.width && height === this.height) return;
    Object.assign(this, { width, height });
    const zoom = Math.max(1, Math.round(SHOWN / Math.max(width, height)));
    Object.assign(this.canvas, { width: width * zoom, height: height * zoom });
    this.brush.max = String(Math.max(2, Math.round(Math.max(width, height) / 2)));
    this.brush.value = String(Math.max(1, Math.round(Math.max(width, height) / 8)));
    this.cursor = { x: width >> 1, y: height >> 1, shown: false };
    this.reset();
  }

  reset() {
    this.state = { mask: new Uint8Array(this.width * this.height), x: 0, y: 0, size: 100 };
    this.past = [];
    this.scale.value = "100";
    this.draw();
  }

  /** @param {any} value an address, or a value that the server made */
  async load(value) {
    this.image = await loadImage(typeof value === "string" ? value : mediaURL(value));
    this.value = value;
    this.reset();
  }

  /** Marks what is transparent in a picture, or white in an opaque one. @param {string} address */
  async loadMask(address) {
    const image = await loadImage(address);
    const context = this.context();
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, this.width, this.height);
    const { data } = context.getImageData(0, 0, this.width, this.height);
    const transparent = data.some((v, i) => i % 4 === 3 && v < 128);
    this.fill((_, i) => Number(transparent ? data[4 * i + 3] < 128 : data[4 * i] >= 128));
  }

  context() {
    const canvas = h("canvas", { width: this.width, height: this.height });
    return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  }

  /** The rectangle of the picture on the grid: it fits the grid at 100 per cent. */
  rectangle() {
    if (!this.image) return { x: 0, y: 0, w: 0, h: 0 };
    const { naturalWidth: nw, naturalHeight: nh } = this.image;
    const fit = (Math.min(this.width / nw, this.height / nh) * this.state.size) / 100;
    const [w, hh] = [Math.max(1, Math.round(nw * fit)), Math.max(1, Math.round(nh * fit))];
    return { x: Math.round((this.width - w) / 2) + this.state.x, y: Math.round((this.height - hh) / 2) + this.state.y, w, h: hh };
  }

  /** Whether to draw pixel (x, y): marked, or outside of the picture. @param {number} x @param {number} y */
  open(x, y) {
    const r = this.rectangle();
    return this.state.mask[y * this.width + x] === 1 || x < r.x || y < r.y || x >= r.x + r.w || y >= r.y + r.h;
  }

  draw() {
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const zoom = this.canvas.width / this.width;
    const r = this.rectangle();
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingEnabled = r.w < (this.image?.naturalWidth ?? 0);
    if (this.image) context.drawImage(this.image, r.x * zoom, r.y * zoom, r.w * zoom, r.h * zoom);
    context.beginPath();
    let n = 0;
    for (let y = 0; y < this.height; y++) for (let x = 0; x < this.width; x++) if (this.open(x, y)) { context.rect(x * zoom, y * zoom, zoom, zoom); n++; }
    context.fillStyle = stripes(context);
    context.fill();
    if (this.cursor.shown) this.drawCursor(context, zoom);
    this.count.textContent = this.image ? `${n} of ${this.width * this.height} pixels are drawn anew` : "Choose a picture, or Edit at a picture of the gallery.";
  }

  /** @param {CanvasRenderingContext2D} context @param {number} zoom */
  drawCursor(context, zoom) {
    const { x, y } = this.cursor;
    const half = this.tool === "box" ? 0.5 : Number(this.brush.value) / 2;
    const box = this.anchor ? [Math.min(x, this.anchor.x), Math.min(y, this.anchor.y), Math.abs(x - this.anchor.x) + 1, Math.abs(y - this.anchor.y) + 1] : [x + 0.5 - half, y + 0.5 - half, 2 * half, 2 * half];
    for (const [color, line] of [["#fff", 5], ["#1d4ed8", 2.5]]) {
      context.strokeStyle = /** @type {string} */ (color);
      context.lineWidth = /** @type {number} */ (line);
      context.strokeRect(box[0] * zoom, box[1] * zoom, box[2] * zoom, box[3] * zoom);
    }
  }

  /** Remember what is undone by Undo. */
  keep() {
    this.past.push({ ...this.state, mask: this.state.mask.slice() });
    if (this.past.length > UNDO_STEPS) this.past.shift();
  }

  undo() {
    this.state = this.past.pop() ?? this.state;
    this.scale.value = String(this.state.size);
    this.draw();
  }

  /** @param {(marked: number, index: number) => number} rule */
  fill(rule) {
    this.keep();
    this.state.mask = this.state.mask.map(rule);
    this.draw();
  }

  /** @param {Partial<State>} change */
  place(change) {
    Object.assign(this.state, change);
    this.draw();
  }

  /** @param {keyof typeof TOOLS} tool */
  choose(tool) {
    this.tool = tool;
    this.anchor = null;
    for (const b of this.tools.children) b.setAttribute("aria-pressed", String(b.dataset.tool === tool));
    this.canvas.dataset.tool = tool;
    this.draw();
  }

  /** A stroke of the brush from one pixel to another. @param {{x: number, y: number}} a @param {{x: number, y: number}} b */
  stroke(a, b) {
    const radius = Number(this.brush.value) / 2;
    const steps = Math.max(1, Math.abs(b.x - a.x), Math.abs(b.y - a.y));
    for (let i = 0; i <= steps; i++) {
      const [cx, cy] = [a.x + ((b.x - a.x) * i) / steps, a.y + ((b.y - a.y) * i) / steps];
      this.mark(Math.ceil(cx - radius), Math.ceil(cy - radius), Math.floor(cx + radius), Math.floor(cy + radius), (x, y) => (x - cx) ** 2 + (y - cy) ** 2 <= radius * radius + 0.01);
    }
    this.draw();
  }

  /** Mark or clear pixels of a rectangle, both ends included. @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 @param {(x: number, y: number) => boolean} [inside] */
  mark(x0, y0, x1, y1, inside = () => true) {
    const value = Number(this.tool !== "erase");
    for (let y = Math.max(0, y0); y <= Math.min(this.height - 1, y1); y++)
      for (let x = Math.max(0, x0); x <= Math.min(this.width - 1, x1); x++) if (inside(x, y)) this.state.mask[y * this.width + x] = value;
  }

  /** @param {{x: number, y: number}} a @param {{x: number, y: number}} b */
  box(a, b) {
    this.mark(Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y));
    this.draw();
  }

  /** @param {PointerEvent} event */
  pixel(event) {
    const r = this.canvas.getBoundingClientRect();
    return { x: Math.floor(((event.clientX - r.left) / r.width) * this.width), y: Math.floor(((event.clientY - r.top) / r.height) * this.height) };
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.keep();
    const first = this.pixel(event);
    const before = { mask: this.state.mask.slice(), x: this.state.x, y: this.state.y };
    let last = first;
    const paint = (/** @type {{x: number, y: number}} */ to) => {
      if (this.tool === "move") this.place({ x: before.x + to.x - first.x, y: before.y + to.y - first.y });
      else if (this.tool === "box") { this.state.mask = before.mask.slice(); this.box(first, to); }
      else this.stroke(last, to);
      last = to;
    };
    paint(first);
    const move = (/** @type {PointerEvent} */ e) => paint(this.pixel(e));
    const end = () => ["pointermove", "pointerup", "pointercancel"].forEach((name, i) => this.canvas.removeEventListener(name, i ? end : move));
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", end);
    this.canvas.addEventListener("pointercancel", end);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const arrows = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] });
    const tool = Object.entries(TOOLS).find(([, [, key]]) => key === event.key.toLowerCase());
    const step = event.shiftKey ? 4 : 1;
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (arrows[event.key]) this.arrow(arrows[event.key][0] * step, arrows[event.key][1] * step);
    else if (event.key === "Enter" || event.key === " ") this.pressAtCursor();
    else if (event.key === "[" || event.key === "]") { this.brush.value = String(Number(this.brush.value) + (event.key === "]" ? 1 : -1)); this.draw(); }
    else if (event.key === "Escape" && this.anchor) { this.anchor = null; this.draw(); }
    else if (tool) this.choose(/** @type {any} */ (tool[0]));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} dx @param {number} dy */
  arrow(dx, dy) {
    if (this.tool === "move") { this.keep(); this.place({ x: this.state.x + dx, y: this.state.y + dy }); return; }
    const { x, y } = this.cursor;
    this.cursor = { x: Math.min(this.width - 1, Math.max(0, x + dx)), y: Math.min(this.height - 1, Math.max(0, y + dy)), shown: true };
    this.draw();
    announce(`column ${this.cursor.x + 1}, row ${this.cursor.y + 1}${this.open(this.cursor.x, this.cursor.y) ? ", marked" : ""}`);
  }

  pressAtCursor() {
    this.cursor.shown = true;
    if (this.tool === "box" && !this.anchor) { this.anchor = { ...this.cursor }; this.draw(); announce("First corner of the box"); return; }
    this.keep();
    if (this.tool === "box") this.box(/** @type {{x: number, y: number}} */ (this.anchor), this.cursor);
    else if (this.tool !== "move") this.stroke(this.cursor, this.cursor);
    this.anchor = null;
    this.draw();
    announce(this.count.textContent ?? "");
  }

  /** The picture on the grid and the mask, as a request has them: transparent is to be drawn. @returns {Promise<{image: any, mask: any}>} */
  async request() {
    if (!this.image) throw new Error("Choose a picture to edit: a file, or Edit at a picture of the gallery.");
    const mask = this.context();
    mask.fillRect(0, 0, this.width, this.height);
    let n = 0;
    for (let y = 0; y < this.height; y++) for (let x = 0; x < this.width; x++) if (this.open(x, y)) { mask.clearRect(x, y, 1, 1); n++; }
    if (!n) throw new Error("Nothing is marked: paint over what is to be drawn anew, or make the picture smaller.");
    const r = this.rectangle();
    const whole = r.x === 0 && r.y === 0 && r.w === this.image.naturalWidth && r.h === this.image.naturalHeight;
    const picture = this.context();
    picture.drawImage(this.image, r.x, r.y, r.w, r.h);
    return { image: whole ? reference(this.value) : picture.canvas.toDataURL("image/png"), mask: mask.canvas.toDataURL("image/png") };
  }
}
