"""From a picture, or a clip, to the hands in it."""
