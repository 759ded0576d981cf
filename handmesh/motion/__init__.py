"""Hands in motion: recordings of many frames, their offline smoothing, and animation formats made from them."""
