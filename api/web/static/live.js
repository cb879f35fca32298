// The live stream. Native EventSource gives up for ever after one bad answer and forgets its id when it is made anew,
// so it is wrapped: we reconnect, and pass the last id ourselves. A hidden tab releases the stream (browsers allow six
// connections to a host) and looks in every 20 s.

const BEAT_MS = 15_000;
const LOST_MS = 2 * BEAT_MS + 2_000;
const PEEK_MS = 20_000;

export function follow(topics, position, { onFragment, onState }) {
  let last = position, source = null, heard = Date.now(), delay = 500, retry = 0, state = "connecting";

  const say = (now) => { if (now !== state) onState((state = now)); };

  function open() {
    clearTimeout(retry);
    if (source) source.close();
    source = new EventSource(`/events?topics=${encodeURIComponent(topics)}&after=${encodeURIComponent(last)}`);
    const hear = () => { heard = Date.now(); delay = 500; say("live"); };
    source.addEventListener("open", hear);
    source.addEventListener("beat", hear);
    source.addEventListener("fragment", (event) => {
      hear();
      const { topic, html } = JSON.parse(event.data);
      onFragment(topic, html);
      last = event.lastEventId || last;
    });
    source.addEventListener("caught-up", (event) => {
      hear();
      last = event.lastEventId || last;
      if (document.hidden) shut();
    });
    source.addEventListener("bye", () => { shut(); location.assign("/signin"); });
    source.addEventListener("error", again);
  }

  function shut() {
    if (source) source.close();
    source = null;
  }

  async function again() {
    shut();
    clearTimeout(retry);
    if (state === "live") say("connecting");
    retry = setTimeout(open, delay + Math.random() * delay);
    delay = Math.min(delay * 2, 10_000);
    try {
      const answer = await fetch("/api/v1/me", { headers: { accept: "application/json" } });
      if (answer.status === 401) location.assign("/signin");
    } catch { /* the server is away: keep trying */ }
  }

  setInterval(() => { if (!document.hidden && Date.now() - heard > LOST_MS) { say("lost"); if (source && source.readyState !== 0) again(); } }, 1_000);
  setInterval(() => { if (document.hidden && !source) open(); }, PEEK_MS);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) shut();
    else { heard = Date.now(); open(); }
  });
  addEventListener("pagehide", shut);
  open();
}
