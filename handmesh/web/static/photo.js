// An upload that the browser cannot show (TIFF, HEIC, no picture at all) leaves an empty place, not a broken picture.
for (const [kind, visibility] of [["error", "hidden"], ["load", "visible"]]) {
  document.addEventListener(kind, ({ target }) => {
    if (target instanceof HTMLImageElement && target.closest("#photo")) target.style.visibility = visibility;
  }, true);
}
