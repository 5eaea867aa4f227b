// A browser of a few lines for one script: reads {"script", "scenario"} from standard input, runs the script in
// a page whose clock, event streams and network the scenario drives, and prints what the scenario returns.
"use strict";
const vm = require("node:vm");

class Element {
  constructor() {
    this.attributes = {};
    this.children = [];
    this.style = {};
    this.hidden = false;
    this.html = "";
    this.handlers = {};
    this.classList = { add: (name) => { this.className = `${this.className || ""} ${name}`.trim(); } };
  }
  get innerHTML() { return this.html; }
  set innerHTML(html) { this.html = html; }
  get textContent() { return this.html; }
  set textContent(text) {
    this.html = String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  }
  get firstElementChild() {
    const parent = this;
    return { remove() { parent.children.shift(); } };
  }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  append(child) { this.children.push(child); }
  prepend() {}
  addEventListener(name, handler) { this.handlers[name] = handler; }
}

function page() {
  const elements = {};
  const stored = {};
  const world = { now: 1e6, timers: [], streams: [], reloads: 0, requests: [], answer: () => ({ ok: true }) };
  const element = (id) => (elements[id] ??= new Element());
  const schedule = (handler, delay, every) => {
    world.timers.push({ at: world.now + delay, handler, every });
    return world.timers.length;
  };
  class EventSource {
    constructor(url) { this.url = url; this.closed = false; world.streams.push(this); }
    close() { this.closed = true; }
  }
  const window = {
    setTimeout: (handler, delay) => schedule(handler, delay),
    setInterval: (handler, delay) => schedule(handler, delay, delay),
    clearTimeout: (id) => { if (world.timers[id - 1]) world.timers[id - 1].at = Infinity; },
    addEventListener: () => {},
    location: { reload: () => { world.reloads += 1; } },
  };
  const FakeDate = class extends Date { static now() { return world.now; } };
  const globals = {
    window, EventSource, AbortController, console, JSON, Number, String, Date: FakeDate,
    Math: Object.assign(Object.create(Math), { min: Math.min, random: () => 0.5 }),
    document: { getElementById: element, createElement: () => new Element(), addEventListener: () => {} },
    sessionStorage: { getItem: (key) => stored[key] ?? null, setItem: (key, value) => { stored[key] = value; } },
    encodeURIComponent,
    fetch: async (url, options) => {
      world.requests.push({ url, method: options.method || "GET", at: world.now });
      return world.answer(url, options);
    },
  };
  Object.defineProperty(world, "stream", { get: () => world.streams.at(-1) });
  Object.assign(world, {
    element,
    stored,
    send(event) { world.stream.onmessage({ data: typeof event === "string" ? event : JSON.stringify(event) }); },
    log: () => element("progress-log").children.map((line) => line.html),
    async settle() { for (let i = 0; i < 20; i += 1) await Promise.resolve(); },
    async pass(ms) {
      const end = world.now + ms;
      for (;;) {
        const next = world.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        world.now = next.at;
        next.at = next.every ? world.now + next.every : Infinity;
        next.handler();
        await world.settle();
      }
      world.now = end;
    },
  });
  return { world, globals };
}

let input = "";
process.stdin.on("data", (chunk) => { input += chunk; });
process.stdin.on("end", async () => {
  const { script, scenario } = JSON.parse(input);
  const { world, globals } = page();
  vm.runInNewContext(script, globals);
  const run = Object.getPrototypeOf(async () => {}).constructor("page", scenario);
  console.log(JSON.stringify((await run(world)) ?? null));
});
