"""Labelled pictures: reading, writing, cropping and augmenting them."""
