// Colors of the style sheet, for what is drawn on a canvas.
const probe = document.createElement('i');
probe.hidden = true;

/** Return a custom property as a color, as it is in light or dark now. */
export function color(name) {
  if (!probe.isConnected) document.documentElement.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}
