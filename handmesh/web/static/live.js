// The live view: frames of the camera go to the server one at a time, and the pictures that come back are shown.
// The server gets what the camera sees; only what is shown is mirrored, so that a right hand stays a right hand.
(() => {
  "use strict";
  const LONGER_SIDE = 640;
  const state = { run: 0, stream: null, session: "", video: null, rate: 0, last: 0 };
  const find = (name) => document.getElementById(`live-${name}`);

  function show(name) {
    const live = document.getElementById("live");
    live.dataset.state = name;
    find("start").disabled = name === "starting";
    find("start").textContent = name === "starting" ? "Waiting for the camera…" : "Start the camera";
    find("stop").disabled = name === "idle";
    find("rate").hidden = true;
    if (name !== "running") find("hands").replaceChildren();
  }

  function say(text) {
    const message = find("message");
    message.textContent = text;
    message.hidden = !text;
  }

  function whyNoCamera(error) {
    if (!navigator.mediaDevices) {
      return "Browsers give the camera only to pages from localhost or over https. Open this page on the machine that " +
        "serves it, through an SSH tunnel to it, or behind a proxy with https.";
    }
    return {
      NotAllowedError: "The camera was not allowed. Allow it in the browser's address bar, then start again.",
      NotFoundError: "No camera was found. Plug one in, then start again.",
      NotReadableError: "The camera is used by another program. Close that one, then start again.",
    }[error.name] || `The camera could not be opened: ${error.message}`;
  }

  async function start(device) {
    stop();
    const run = ++state.run;
    say("");
    show("starting");
    try {
      const wanted = device ? { deviceId: { exact: device } } : { facingMode: "user" };
      const video = { ...wanted, width: { ideal: 640 }, height: { ideal: 480 } };
      const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
      if (run !== state.run) return stream.getTracks().forEach((track) => track.stop());
      state.stream = stream;
      state.session = crypto.randomUUID();
      state.video = document.createElement("video");
      Object.assign(state.video, { srcObject: stream, muted: true, playsInline: true });
      await state.video.play();
      stream.getVideoTracks()[0].addEventListener("ended", () => {
        if (run !== state.run) return;
        stop();
        say("The camera has gone. Plug it in again, then start again.");
      });
      await listCameras();
      show("running");
      state.rate = state.last = 0;
      follow(run);
    } catch (error) {
      if (run !== state.run) return;
      stop();
      say(whyNoCamera(error));
    }
  }

  function stop() {
    state.run++;
    if (state.session) navigator.sendBeacon(`live/stop?session=${state.session}`);
    state.session = "";
    if (state.stream) state.stream.getTracks().forEach((track) => track.stop());
    state.stream = state.video = null;
    if (document.getElementById("live")) show("idle");
  }

  async function listCameras() {
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
    const used = state.stream.getVideoTracks()[0].getSettings();
    find("cameras").replaceChildren(...devices.map((each, index) => {
      const option = new Option(each.label || `Camera ${index + 1}`, each.deviceId);
      option.selected = each.deviceId === used.deviceId;
      return option;
    }));
    find("cameras-label").hidden = devices.length < 2;
    // The camera at the back of a phone is no mirror.
    if (used.facingMode) find("mirror").checked = used.facingMode !== "environment";
  }

  async function follow(run) {
    const frame = document.createElement("canvas");
    let failures = 0;
    while (run === state.run) {
      const { video } = state;
      if (document.hidden || !find("picture").offsetParent || !video.videoWidth) {
        await new Promise((done) => setTimeout(done, 200));
        continue;
      }
      const scale = Math.min(1, LONGER_SIDE / Math.max(video.videoWidth, video.videoHeight));
      frame.width = Math.round(video.videoWidth * scale);
      frame.height = Math.round(video.videoHeight * scale);
      frame.getContext("2d").drawImage(video, 0, 0, frame.width, frame.height);
      const body = await new Promise((done) => frame.toBlob(done, "image/jpeg", 0.9));
      const words = new URLSearchParams({
        session: state.session, fov: find("fov").value, joints: find("joints").checked ? "1" : "0",
      });
      try {
        const answer = await fetch(`live/frame?${words}`, { method: "POST", body });
        if (run !== state.run) return;
        if (!answer.ok) {
          const { error } = await answer.json();
          stop();
          return say(error[0].toUpperCase() + error.slice(1));
        }
        await draw(await createImageBitmap(await answer.blob()), JSON.parse(answer.headers.get("x-handmesh")));
        failures = 0;
      } catch (error) {
        if (run !== state.run) return;
        if (++failures > 3) {
          stop();
          return say("The server does not answer. Start it again, then start the camera again.");
        }
        await new Promise((done) => setTimeout(done, 500));
      }
    }
  }

  function draw(picture, { hands, ms }) {
    const canvas = find("picture");
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      Object.assign(canvas, { width: picture.width, height: picture.height });
    }
    const context = canvas.getContext("2d");
    const isMirror = find("mirror").checked;
    context.setTransform(isMirror ? -1 : 1, 0, 0, 1, isMirror ? canvas.width : 0, 0);
    context.drawImage(picture, 0, 0);
    const now = performance.now();
    if (state.last) state.rate += 0.1 * (1000 / (now - state.last) - state.rate);
    if (state.last && state.rate < 1) state.rate = 1000 / (now - state.last);
    state.last = now;
    find("rate").textContent = `${state.rate.toFixed(state.rate < 10 ? 1 : 0)} frames a second, ${ms.toFixed(0)} ms each`;
    find("rate").hidden = !state.rate;
    listHands(hands);
  }

  function listHands(hands) {
    const list = find("hands");
    while (list.children.length > hands.length) list.lastChild.remove();
    hands.forEach((hand, index) => {
      if (!list.children[index]) {
        const entry = document.createElement("li");
        entry.append(...["strong", "span", "span"].map((name) => document.createElement(name)));
        list.append(entry);
      }
      const entry = list.children[index];
      entry.style.setProperty("--hm-tint", hand.color);
      entry.children[0].textContent = hand.side === "right" ? "Right hand" : "Left hand";
      entry.children[1].textContent = `${hand.distance_m.toFixed(2)} m away`;
      entry.children[2].textContent = `score ${hand.score.toFixed(2)}`;
    });
  }

  document.addEventListener("click", (event) => {
    if (event.target.id === "live-start") start();
    if (event.target.id === "live-stop") stop();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "live-cameras") start(event.target.value);
    if (event.target.id === "live-fov") {
      const typed = Number(event.target.value) || 60;
      event.target.value = Math.min(120, Math.max(20, typed));
    }
  });
  window.addEventListener("pagehide", stop);
})();
