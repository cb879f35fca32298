// Turns one element into another, touching only what differs: focus, open details and typed text stay.
// Children with an id are matched by it; the rest by place and kind.

const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");

export function morph(from, to) {
  if (from.isEqualNode(to)) return;
  attributes(from, to);
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    let found = null;
    if (wanted.id) {
      for (const child of from.children) if (child.id === wanted.id && same(child, wanted)) found = child;
    } else if (at && same(at, wanted)) {
      found = at;
    }
    if (!found) {
      const fresh = document.importNode(wanted, true);
      if (fresh.nodeType === 1 && fresh.id) fresh.classList.add("fresh");
      from.insertBefore(fresh, at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else from.insertBefore(found, at);
    if (found.nodeType === 1) morph(found, wanted);
    else if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function attributes(from, to) {
  const kept = from.nodeName === "DETAILS" ? ["open"] : [];
  if (from.classList.contains("fresh")) to.classList.add("fresh");
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !kept.includes(name)) from.removeAttribute(name);
  if (from.nodeName === "INPUT" && from.type === "hidden") from.value = to.value;
}
