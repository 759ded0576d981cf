"""What a rendered hand looks like: light, skin, its surface, what it holds and what hides it."""
