// Reads the code on a device or a card with the phone's camera, where the browser can; the field beside it works without.

const FORMATS = ["qr_code", "data_matrix", "code_128"];
const PATIENCE_MS = 30_000;
const button = document.getElementById("scan");
const video = document.getElementById("camera");
const field = button?.form.querySelector("input[type=text], input:not([type])");

async function look() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  try {
    video.srcObject = stream;
    video.hidden = false;
    await video.play();
    const detector = new BarcodeDetector({ formats: FORMATS });
    for (const until = Date.now() + PATIENCE_MS; Date.now() < until; ) {
      const [code] = await detector.detect(video);
      if (code) return code.rawValue;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.hidden = true;
  }
  return "";
}

if (button && "BarcodeDetector" in window && navigator.mediaDevices) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    const text = await look().catch(() => "");
    button.disabled = false;
    if (!text) return;
    field.value = text;
    field.form.requestSubmit();
  });
}
