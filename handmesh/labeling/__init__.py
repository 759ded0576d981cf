"""Photos without annotation to labelled data: landmarks read or made, hands fitted to them, what is held out."""
