// Urgent alerts that nobody has taken: their number stands in the title, and a new one sounds, unless sound is off.

const title = document.title;
const button = document.getElementById("sound");
let known = null, audio = null;

const on = () => { try { return localStorage.getItem("sound") !== "off"; } catch { return true; } };

function label() {
  button.hidden = false;
  button.setAttribute("aria-pressed", String(on()));
  button.querySelector(".label").textContent = on() ? button.dataset.on : button.dataset.off;
}

function sound() {
  // two short tones; a browser that wants to be touched first stays silent until then
  try {
    audio = audio || new AudioContext();
    for (const [at, pitch] of [[0, 880], [0.25, 660]]) {
      const tone = audio.createOscillator(), level = audio.createGain();
      tone.frequency.value = pitch;
      level.gain.setValueAtTime(0.15, audio.currentTime + at);
      level.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + 0.2);
      tone.connect(level).connect(audio.destination);
      tone.start(audio.currentTime + at);
      tone.stop(audio.currentTime + at + 0.2);
    }
  } catch { /* no sound here */ }
}

export function notice() {
  const now = new Set([...document.querySelectorAll(".alerts li.sev-urgent:not(.taken)")].map((row) => row.id));
  document.title = now.size ? `(${now.size}) ${title}` : title;
  const fresh = known && [...now].some((id) => !known.has(id));
  known = now;
  if (!fresh) return;
  document.body.dataset.sounded = String(Number(document.body.dataset.sounded || 0) + (on() ? 1 : 0));
  if (on()) sound();
}

if (button) {
  button.addEventListener("click", () => {
    try { localStorage.setItem("sound", on() ? "off" : "on"); } catch { /* as it was */ }
    label();
  });
  label();
}
notice();
