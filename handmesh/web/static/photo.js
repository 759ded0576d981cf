// An upload that the browser cannot show (TIFF, HEIC, no picture at all) leaves an empty place, not a broken picture.
for (const [kind, visibility] of [["error", "hidden"], ["load", "visible"]]) {
  document.addEventListener(kind, ({ target }) => {
    if (target instanceof HTMLImageElement && target.closest("#photo")) target.style.visibility = visibility;
  }, true);
}

// Where too many visitors wait, gradio shows a few words that go away by themselves: the place of the result says it
// until the next try.
const send = window.fetch;
window.fetch = async (...request) => {
  const answer = await send(...request);
  if (String(request[0]?.url ?? request[0]).includes("gradio_api/queue/join")) sayBusy(answer.status === 503);
  return answer;
};

function sayBusy(isBusy) {
  for (const message of document.querySelectorAll(".hm-busy")) message.remove();
  const place = [...document.querySelectorAll("#result, #clip-result")].find((each) => each.offsetParent);
  if (!isBusy || !place) return;
  const message = document.createElement("div");
  message.className = "hm-message hm-error hm-busy";
  message.setAttribute("role", "alert");
  message.innerHTML = "<h2>Many visitors wait at the moment</h2><p>Your file was not taken. Choose it again in a minute.</p>";
  place.prepend(message);
}
