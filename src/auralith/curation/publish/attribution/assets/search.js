"use strict";
// Searches the words of every entry without a server: scripts in search/ hand their data to the functions below.
const SHOWN = 50, SHARDS_AT_ONCE = 12;
const query = document.getElementById("query"), said = document.getElementById("said");
const found = document.getElementById("found");
const loaded = new Map(), words = new Map(), entries = new Map();
let prefixes = [], sizes = {}, asked = 0;

function auralithIndex(names, of) {
  prefixes = names;
  sizes = of;
  query.form.hidden = false;
  query.value ||= new URLSearchParams(location.search).get("q") ?? "";  // a search can be linked to: ?q=rain
  if (query.value) search();
}
function auralithWords(number, shard) { words.set(number, new Map(Object.entries(shard))); }
function auralithEntries(number, block) { entries.set(number, block); }

function load(name) {
  if (!loaded.has(name)) {
    loaded.set(name, new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = `search/${name}.js`;
      script.onload = done;
      script.onerror = () => { loaded.delete(name); failed(new Error(`search/${name}.js can't be read`)); };
      document.head.append(script);
    }));
  }
  return loaded.get(name);
}

// As entries.words does.
function wordsOf(text) {
  const folded = text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/ς/g, "σ");
  return [...new Set(folded.match(/[\p{L}\p{N}]+/gu) ?? [])];
}

function placesOf(steps) {
  let place = 0;
  return steps.split(" ").map(step => place += parseInt(step, 36));
}

// The places of all words that begin with a text.
async function placesWith(text) {
  const shards = prefixes.flatMap((prefix, number) =>
    text.startsWith(prefix) || prefix.startsWith(text) ? [number] : []);
  const near = shards.slice(0, SHARDS_AT_ONCE);
  await Promise.all(near.map(number => load(`words-${number}`)));
  const places = new Set();
  let common = shards.length > near.length;
  for (const number of near) {
    for (const [word, steps] of words.get(number)) {
      if (!word.startsWith(text)) continue;
      const some = placesOf(steps);
      if (some.length > sizes.most) common = true;
      for (const place of some) places.add(place);
    }
  }
  return { places, common };
}

async function matches(texts) {
  const answers = await Promise.all(texts.map(placesWith));
  const exact = answers.filter(answer => !answer.common), used = exact.length ? exact : answers;
  used.sort((one, other) => one.places.size - other.places.size);
  const [first, ...rest] = used;
  const places = [...first.places].filter(place => rest.every(answer => answer.places.has(place)));
  const ignored = texts.filter((_, number) => answers[number].common && exact.length);
  return { places: places.sort((one, other) => one - other), ignored, cut: !exact.length };
}

function element(kind, text, link) {
  const made = document.createElement(link && /^https?:/i.test(link) ? "a" : "span");
  made.className = kind;
  if (made.tagName === "A") made.href = link;
  const part = document.createElement("bdi");
  part.textContent = text;
  made.append(part);
  return made;
}

// As search._shown writes it; the parts have the classes that they have on the pages.
function shown(place) {
  const block = entries.get(Math.floor(place / sizes.block));
  const [title, url, author, authorUrl, source, license, deed, note] = block[place % sizes.block];
  const about = document.createElement("span");
  about.className = "about";
  about.append(`${source} · `, element("license", license, deed), note ? ` · ${note}` : "", " · ");
  const inList = document.createElement("a");
  inList.href = `page-${1 + Math.floor(place / sizes.page)}.html#e${place}`;
  inList.textContent = "in the list";
  about.append(inList);
  const item = document.createElement("li");
  const by = author ? element("author", author, authorUrl) : "not stated";
  item.append(element("title", title, url), " by ", by, " ", about);
  return item;
}

async function search() {
  const number = ++asked, texts = wordsOf(query.value);
  if (!texts.length) return show(number, "", []);
  try {
    const { places, ignored, cut } = await matches(texts);
    const first = places.slice(0, SHOWN);
    await Promise.all(first.map(place => load(`entries-${Math.floor(place / sizes.block)}`)));
    const count = `${cut ? "more than " : ""}${places.length.toLocaleString("en")}`;
    const parts = [`${count} recording${places.length === 1 && !cut ? "" : "s"}`];
    if (places.length > SHOWN) parts.push(`the first ${SHOWN} are shown`);
    if (ignored.length) parts.push(`too frequent to narrow it down: ${ignored.join(", ")}`);
    show(number, parts.join("; "), first.map(shown));
  } catch (error) {
    show(number, `The search failed: ${error.message}.`, []);
  }
}

function show(number, text, items) {
  if (number !== asked) return;
  said.textContent = text;
  found.replaceChildren(...items);
}

let waiting;
query.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 150); });
query.form.addEventListener("submit", event => { event.preventDefault(); search(); });
