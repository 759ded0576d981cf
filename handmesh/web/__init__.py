"""The page in the browser: photos and the live camera, their results, and what guards the server that shows them."""
