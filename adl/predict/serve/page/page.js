const element = (id) => document.getElementById(id);
const canvas = element("picture");
const context = canvas.getContext("2d");

/** What GET api/model told; null until then. */
let model = null;
/** The request under way: {controller}. A newer picture takes its place, and the older one leaves the queue. */
let underway = null;
/** The picture that is shown: {stem, photo, overlay, labels, answer}; overlay is a canvas, labels the train ids. */
let shown = null;
/** Train id of the class that is emphasised, by the pointer or for good; null: none. */
let lit = null;
let kept = null;
/** Where the probe is, in pixels of the canvas. */
let probed = null;

// Asking

const SILENT = "The server does not answer. Is it still running? Start it again with: adl serve";

async function ask(path, options) {
  return fetch(path, options).catch((error) => {
    throw error.name === "AbortError" ? error : new Error(SILENT);
  });
}

async function json(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.detail ?? `The server answered ${response.status}.`);
  return body;
}

/** Send a picture, and show what comes back. stem: of the names of the files to download. */
async function segment(picture, stem) {
  begin(`Sending ${stem} …`);
  const controller = new AbortController();
  const mine = (underway = { controller });
  const ticket = newTicket();
  const polling = setInterval(() => tellPlace(ticket, mine), 300);
  try {
    const blob = await picture(controller.signal);
    model ??= await json(await ask("api/model"));
    if (blob.size > model.limits.bytes)
      throw new Error(`The file is larger than ${megabytes(model.limits.bytes)} MB. Save the picture as a JPEG, or scale it down.`);
    const response = await ask("api/predict?preview=true", {
      method: "POST", body: blob, headers: { "Queue-Ticket": ticket }, signal: controller.signal,
    });
    const answer = await json(response);
    if (underway === mine) await show(answer, stem);
  } catch (error) {
    if (underway === mine) fail(error.message);
  } finally {
    clearInterval(polling);
    if (underway === mine) {
      underway = null;
      element("status").classList.remove("busy");
      element("result").classList.remove("stale");
    }
  }
}

/** crypto.randomUUID is missing where the page comes from another machine without TLS. */
function newTicket() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function tellPlace(ticket, mine) {
  const state = await ask(`api/queue?ticket=${ticket}`).then(json).catch(() => null);
  if (!state || underway !== mine) return;
  if (state.ahead > 0) say(`Waiting: ${state.ahead} ahead of you`);
  else if (state.running) say("The network is at work …");
}

function begin(text) {
  underway?.controller.abort();
  element("error").textContent = "";
  element("status").classList.add("busy");
  element("result").classList.add("stale");
  say(text);
}

function say(text) {
  if (element("status").textContent !== text) element("status").textContent = text;
}

function fail(text) {
  say("");
  element("error").textContent = text;
}

// Showing

async function show(answer, stem) {
  const { width, height } = answer.preview;
  const photo = await createImageBitmap(png(answer.preview.image, "image/jpeg"));
  const labels = await grey(png(answer.preview.train_ids), width, height);
  Object.assign(canvas, { width, height });
  shown = { stem, photo, labels, answer, overlay: coloured(labels, width, height) };
  lit = kept = null;
  element("result").hidden = false;
  fit();
  probe(null);
  fillLegend(answer.classes);
  const parts = answer.classes.slice(0, 3).map((c) => `${c.name} ${percent(c.share)}`);
  say(`Done: ${parts.join(", ")}`);
  canvas.setAttribute("aria-label", `${stem}, segmented: ${parts.join(", ")}`);
  element("facts").textContent =
    `${stem}, ${answer.width} × ${answer.height} pixels. The network took ${time(answer.milliseconds)}` +
    (answer.waited >= 1000 ? `, after ${time(answer.waited)} in the queue.` : ".");
  draw();
}

function png(base64, type = "image/png") {
  return new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type });
}

/** The values of a grey picture, (height × width) bytes. */
async function grey(blob, width, height) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const pixels = pixelsOf(bitmap, width, height).data;
  return Uint8Array.from({ length: width * height }, (_, i) => pixels[4 * i]);
}

function pixelsOf(bitmap, width, height) {
  const drawing = new OffscreenCanvas(width, height).getContext("2d");
  drawing.drawImage(bitmap, 0, 0);
  return drawing.getImageData(0, 0, width, height);
}

/** A canvas of the palette's colours; only: the train id whose pixels are painted, the others stay clear. */
function coloured(labels, width, height, only = null) {
  const opaque = new Uint32Array(256); // as the processor has it: alpha, blue, green, red
  for (const { train_id: id, colour } of model.classes) {
    const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
    if (only === null || only === id) opaque[id] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  }
  const overlay = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(labels, (label) => opaque[label]));
  overlay.getContext("2d").putImageData(image, 0, 0);
  return overlay;
}

/** Small pictures are enlarged, tall ones leave room for what is below. */
function fit() {
  const across = element("view").clientWidth;
  const scale = Math.min(across / canvas.width, Math.max(0.75 * innerHeight, 240) / canvas.height);
  canvas.style.width = `${Math.floor(scale * canvas.width)}px`;
}

function draw() {
  const opacity = element("opacity").value / 100;
  element("percent").textContent = `${element("opacity").value} %`;
  paint(context, opacity, lit ?? kept);
}

function paint(target, opacity, emphasised) {
  const { width, height } = canvas;
  target.globalAlpha = 1;
  target.drawImage(shown.photo, 0, 0);
  if (emphasised === null) {
    target.globalAlpha = opacity;
    target.drawImage(shown.overlay, 0, 0);
    return;
  }
  // All but the class fades.
  target.globalAlpha = 0.7;
  target.fillStyle = "#888";
  target.fillRect(0, 0, width, height);
  const alone = new OffscreenCanvas(width, height);
  const drawing = alone.getContext("2d");
  drawing.drawImage(coloured(shown.labels, width, height, emphasised), 0, 0);
  drawing.globalCompositeOperation = "source-in";
  drawing.drawImage(shown.photo, 0, 0);
  drawing.globalCompositeOperation = "source-atop";
  drawing.globalAlpha = Math.max(opacity, 0.5);
  drawing.drawImage(shown.overlay, 0, 0);
  target.globalAlpha = 1;
  target.drawImage(alone, 0, 0);
}

function fillLegend(classes) {
  const rows = classes.map((entry) => {
    const row = document.createElement("tr");
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(swatch(entry.colour), entry.name);
    const name = document.createElement("td");
    name.append(button);
    const share = document.createElement("td");
    share.className = "number";
    share.textContent = percent(entry.share);
    row.append(name, share);
    row.dataset.trainId = entry.train_id;
    row.addEventListener("pointerenter", () => light(entry.train_id));
    row.addEventListener("pointerleave", () => light(null));
    button.addEventListener("focus", () => button.matches(":focus-visible") && light(entry.train_id));
    button.addEventListener("blur", () => light(null));
    row.addEventListener("click", () => keep(kept === entry.train_id ? null : entry.train_id));
    return row;
  });
  element("legend").replaceChildren(...rows);
}

function swatch(colour) {
  const square = document.createElement("span");
  square.className = "swatch";
  square.style.backgroundColor = colour;
  return square;
}

function light(trainId) {
  lit = trainId;
  draw();
}

/** Emphasise a class until it is clicked again: a finger cannot hover. */
function keep(trainId) {
  kept = trainId;
  lit = null;
  for (const row of element("legend").rows)
    row.querySelector("button").setAttribute("aria-pressed", String(Number(row.dataset.trainId) === kept));
  draw();
}

/** Name the class at a pixel of the canvas, beside it; null: nowhere. */
function probe(pixel) {
  probed = pixel;
  const label = element("probe");
  const at = pixel && shown.labels[pixel.y * canvas.width + pixel.x];
  const found = pixel && model.classes.find((c) => c.train_id === at);
  for (const row of element("legend").rows) row.classList.toggle("lit", Boolean(found) && Number(row.dataset.trainId) === at);
  label.hidden = !found;
  if (!found) return "";
  label.replaceChildren(swatch(found.colour), found.name);
  const scale = canvas.clientWidth / canvas.width;
  const x = canvas.offsetLeft + pixel.x * scale;
  const y = pixel.y * scale;
  const fits = x + 14 + label.offsetWidth <= element("view").clientWidth;
  label.style.left = `${Math.max(0, fits ? x + 14 : x - 14 - label.offsetWidth)}px`;
  label.style.top = `${y > label.offsetHeight + 12 ? y - label.offsetHeight - 10 : y + 14}px`;
  return found.name;
}

function pixelAt(event) {
  const box = canvas.getBoundingClientRect();
  const within = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value)));
  return {
    x: within(((event.clientX - box.left) / box.width) * canvas.width, canvas.width),
    y: within(((event.clientY - box.top) / box.height) * canvas.height, canvas.height),
  };
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function moveProbe(event) {
  const [right, down] = ARROWS[event.key] ?? [0, 0];
  if (!(right || down) || !shown) return;
  event.preventDefault();
  const step = Math.max(1, Math.round(Math.max(canvas.width, canvas.height) / (event.shiftKey ? 10 : 50)));
  const from = probed ?? { x: canvas.width >> 1, y: canvas.height >> 1 };
  const name = probe({
    x: Math.min(canvas.width - 1, Math.max(0, from.x + right * step)),
    y: Math.min(canvas.height - 1, Math.max(0, from.y + down * step)),
  });
  say(name);
}

// Numbers and files

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const megabytes = (bytes) => Math.round(bytes / 1e6);
const percent = (share) => (share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);
const time = (milliseconds) => (milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`);

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function saveOverlay() {
  const drawing = new OffscreenCanvas(canvas.width, canvas.height);
  paint(drawing.getContext("2d"), element("opacity").value / 100, null);
  save(await drawing.convertToBlob({ type: "image/png" }), `${shown.stem}_overlay.png`);
}

// Choosing

function take(files) {
  if (!files.length) return;
  const stem = files[0].name.replace(/\.[^.]*$/, "") || "photograph";
  segment(async () => files[0], stem);
}

function listenForDrops() {
  let inside = 0;
  const over = (change) => {
    inside = change === 0 ? 0 : Math.max(0, inside + change);
    element("drop").classList.toggle("over", inside > 0);
  };
  addEventListener("dragenter", () => over(1));
  addEventListener("dragleave", () => over(-1));
  // A picture that misses the zone would replace the page.
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(0);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
    else fail("That was not a file. Save the picture first, then drop its file here.");
  });
}

async function start() {
  listenForDrops();
  element("file").addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  element("samples").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = element("sample").value;
    segment(async (signal) => {
      const response = await ask(`api/images/${encodeURIComponent(name)}`, { signal });
      return response.ok ? response.blob() : json(response);
    }, name);
  });
  element("opacity").addEventListener("input", draw);
  canvas.addEventListener("pointermove", (event) => probe(pixelAt(event)));
  canvas.addEventListener("pointerdown", (event) => probe(pixelAt(event)));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && probe(null));
  canvas.addEventListener("keydown", moveProbe);
  canvas.addEventListener("blur", () => probe(null));
  element("save-overlay").addEventListener("click", saveOverlay);
  element("save-labels").addEventListener("click", () => save(png(shown.answer.label_ids), `${shown.stem}_labelIds.png`));
  addEventListener("resize", () => shown && fit());
  try {
    model = await json(await ask("api/model"));
    const names = await json(await ask("api/images"));
    element("model").textContent = `${model.model}, ${model.classes.length} classes of ${model.dataset}`;
    element("trained").textContent = [`${capital(model.trained_on)}.`, model.score && `${capital(model.score)}.`].filter(Boolean).join(" ");
    element("hint").textContent = `At most ${megabytes(model.limits.bytes)} MB and ${Math.round(model.limits.pixels / 1e6)} megapixels`;
    element("sample").replaceChildren(...names.map((name) => new Option(name, name)));
    element("samples").hidden = !names.length;
  } catch (error) {
    fail(error.message);
  }
}

start();
