// Uploads and trims that this browser has sent: the server keeps their samples, but neither names nor what they were cut from.
const KEPT = 'auralith-uploads';
const MOST = 200;

function known() {
  return JSON.parse(localStorage.getItem(KEPT) ?? '[]');
}

/** Keep what was shown of an upload {id, name, parent, offset, sounds}. */
export function remember(shown) {
  const others = known().filter((one) => one.id !== shown.id);
  localStorage.setItem(KEPT, JSON.stringify([shown, ...others].slice(0, MOST)));
}

export function recall(id) {
  return known().find((one) => one.id === id) ?? null;
}

/** Return the trims of a sound. */
export function cutsOf(id) {
  return known().filter((one) => one.parent === id);
}
