"""What a hand is covered with: skin of every tone, gloves, sleeves, rings, watches, as texels to shade.

Tones run over the ten of the Monk scale (E. Monk, "Monk Skin Tone Scale", 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handmesh.io.runtime.kernels import njit
from handmesh.synthesis.appearance.skin_map import MASKS, TEXELS, SkinMap

MONK_TONES = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")
_NUMBER = {name: i for i, name in enumerate(MASKS)}


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB 0..1 to linear 0..1."""
    srgb = np.asarray(srgb, np.float64)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


_METALS = np.array([[0.75, 0.72, 0.68], [0.8, 0.58, 0.25], [0.75, 0.5, 0.4], [0.03, 0.03, 0.03]])
_TONES = to_linear(np.array([[int(t[i : i + 2], 16) / 255 for i in (0, 2, 4)] for t in MONK_TONES]))


@dataclass
class Band:
    """A strip of other stuff round a finger or the arm: texels of `finger` with low <= along < high (metres), and
    around >= facing. Its albedo (3,), its gloss, and how much of a woven or brushed pattern it carries.
    """

    finger: int
    low: float
    high: float
    albedo: np.ndarray
    gloss: float
    pattern: float = 0.0
    facing: float = -2.0


@dataclass
class SkinAppearance:
    """One person's skin: tone (3,) linear albedo, gain (masks, 3) multiplying it as 1 + sum gain * mask, gloss (masks,)
    likewise for the specular term, and bands that cover it.
    """

    tone: np.ndarray
    gain: np.ndarray
    gloss: np.ndarray
    bands: list[Band]
    sleeve_from_m: float = 9.0
    sleeve_thickness_m: float = 0.0

    @property
    def gloved(self) -> bool:
        """Whether cloth covers the palm."""
        return any(band.finger == -1 for band in self.bands)


def sample_tone(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A skin albedo (3,) linear, and how dark it is, 0..1. Between neighbours of the Monk scale, hue jittered."""
    place = 9.0 * float(rng.beta(1.15, 1.25))
    low = min(int(place), 8)
    t = place - low
    tone = np.exp((1 - t) * np.log(_TONES[low]) + t * np.log(_TONES[low + 1]))
    # The swatches are cheeks in soft light: hands are a little darker, and redder where skin is pale.
    dark = place / 9.0
    blood = rng.normal(0.6, 0.35) * (1 - 0.6 * dark)
    tone = tone * np.exp(np.array([0.04, -0.17, -0.20]) * blood) * np.exp(rng.normal(0, 0.05, 3))
    tone *= 0.80 * np.exp(rng.normal(0, 0.08))
    return np.clip(tone, 0.012, 0.85), dark


def sample_appearance(rng: np.random.Generator, gloves: float = 0.04) -> SkinAppearance:
    """A random person's hand, now and then dressed; ``gloves`` is the share of hands in gloves."""
    tone, dark = sample_tone(rng)
    gain = np.zeros((len(MASKS), 3))
    gloss = np.zeros(len(MASKS))

    def put(name: str, rgb: tuple[float, float, float], spread: float = 0.5) -> None:
        gain[_NUMBER[name]] += np.array(rgb) * max(0.0, rng.normal(1.0, spread))

    lift = 0.10 + 1.1 * dark**2
    put("palm", (lift * 1.05, lift * 0.9, lift * 0.85), 0.3)
    put("back", (-0.05, -0.10, -0.13))
    red = 1.0 - 0.5 * dark
    put("knuckle", (-0.03 * red - 0.16 * dark, -0.13 * red - 0.18 * dark, -0.12 * red - 0.18 * dark), 0.6)
    put("fingertip", (0.05 * red, -0.12 * red, -0.09 * red), 0.7)
    put("crease", (-0.35, -0.46, -0.46), 0.35)
    put("palm_line", (-0.26, -0.37, -0.37), 0.4)
    put("wrinkle", (-0.19, -0.24, -0.24), 0.7)
    put("nail", (0.20, 0.06, 0.09), 0.5)
    put("nail_rim", (-0.22, -0.28, -0.28), 0.5)
    put("nail_tip", (0.25, 0.30, 0.28), 0.7)
    put("lunula", (0.10, 0.13, 0.13), 0.7)
    put("vein", (-0.09, -0.02, 0.0), 0.9)
    if rng.random() < 0.15:
        put("hair", (-0.11, -0.13, -0.13), 0.4)
    if rng.random() < 0.12:
        put("freckle", (-0.04, -0.07, -0.08), 0.5)
    for name, size in (("blotch_a", 0.11), ("blotch_b", 0.08), ("blotch_c", 0.05)):
        gain[_NUMBER[name]] = rng.normal(0, size) * np.array([0.45, 1.0, 0.95]) + rng.normal(0, 0.02, 3)
    for name, size in (("grain_a", 0.045), ("grain_b", 0.045), ("pore", 0.05)):
        gain[_NUMBER[name]] = rng.normal(0, size) * np.array([0.8, 1.0, 1.0])
    gain[_NUMBER["side"]] = rng.normal(0, 0.06) * np.array([0.6, 1, 1])
    gain[_NUMBER["arm"]] = rng.normal(-0.03, 0.08) * np.array([0.8, 1, 1])
    # Masks of noise average one half; keep the mean tone where it was drawn.
    noise = [_NUMBER[n] for n in ("blotch_a", "blotch_b", "blotch_c", "grain_a", "grain_b", "pore")]
    tone = tone * (1 - 0.5 * gain[noise].sum(0)).clip(0.7, 1.3)
    gloss[_NUMBER["nail"]] = rng.uniform(0.6, 2.5)
    gloss[_NUMBER["crease"]] = -0.5
    gloss[_NUMBER["pore"]] = -0.4
    gloss[_NUMBER["grain_b"]] = -0.5
    appearance = SkinAppearance(tone, gain, gloss, [])
    if rng.random() < 0.10:
        _polish_nails(appearance, rng)
    _dress(appearance, rng, gloves)
    return appearance


def cloth_albedo(rng: np.random.Generator) -> np.ndarray:
    """(3,) linear albedo of clothes: mostly black, white, grey, navy and denim, at times bright."""
    if rng.random() < 0.55:
        value = float(rng.choice([0.02, 0.04, 0.1, 0.3, 0.7]))
        return np.clip(value * np.exp(rng.normal(0, [0.15, 0.12, 0.2])), 0.008, 0.85)
    hue, saturation, value = rng.random() * 6, rng.uniform(0.3, 0.95), rng.uniform(0.1, 0.9)
    ramp = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return to_linear(value * (1 - saturation * (1 - ramp)))


def _polish_nails(appearance: SkinAppearance, rng: np.random.Generator) -> None:
    color = cloth_albedo(rng) if rng.random() < 0.5 else to_linear(rng.uniform([0.5, 0, 0], [0.95, 0.4, 0.5]))
    for name in ("nail_tip", "lunula", "nail_rim"):
        appearance.gain[_NUMBER[name]] *= 0.2
    appearance.gain[_NUMBER["nail"]] = color / appearance.tone - 1.0
    appearance.gloss[_NUMBER["nail"]] = 3.0


def _dress(appearance: SkinAppearance, rng: np.random.Generator, gloves: float) -> None:
    if rng.random() < 0.45:
        start = float(abs(rng.normal(0, 0.05)) + 0.002 if rng.random() < 0.7 else rng.uniform(0.05, 0.2))
        appearance.sleeve_from_m = start
        appearance.sleeve_thickness_m = float(rng.uniform(0.003, 0.014))
        gloss, pattern = float(rng.uniform(0, 0.2)), float(rng.uniform(0, 0.5))
        appearance.bands.append(Band(5, start, 9.0, cloth_albedo(rng), gloss, pattern))
    elif rng.random() < 0.16:
        start = float(rng.uniform(0.005, 0.045))
        width = float(rng.uniform(0.008, 0.03))
        appearance.bands.append(Band(5, start, start + width, cloth_albedo(rng), float(rng.uniform(0.2, 2.5)), 0.2))
        if rng.random() < 0.6:
            face = to_linear(np.full(3, rng.choice([0.02, 0.1, 0.9])) + rng.uniform(0, 0.1, 3))
            appearance.bands.append(Band(5, start - 0.006, start + width + 0.006, face, 3.0, 0.0, 0.86))
    for finger in range(5):
        if rng.random() < 0.035:
            at = float(rng.uniform(0.018, 0.030))
            metal = _METALS[rng.integers(4)]
            appearance.bands.append(Band(finger, at, at + float(rng.uniform(0.002, 0.006)), metal, 4.0))
    if rng.random() < gloves:
        cuff, fingerless = float(rng.uniform(0, 0.08)), rng.random() < 0.2
        albedo, gloss, pattern = cloth_albedo(rng), float(rng.uniform(0, 1.0)), float(rng.uniform(0.1, 0.5))
        for finger in range(-1, 5):
            appearance.bands.append(Band(finger, -1.0, 0.035 if fingerless else 9.0, albedo, gloss, pattern))
        appearance.bands.append(Band(5, -1.0, cuff, albedo, gloss, pattern))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _skin_texels(
    masks: np.ndarray, wanted: np.ndarray, tone: np.ndarray, gain: np.ndarray, gloss: np.ndarray, out: np.ndarray
) -> None:
    total = np.empty((4, TEXELS), np.float32)
    for f in range(masks.shape[0]):
        if not wanted[f]:
            continue
        total[:] = 1.0
        for k in range(masks.shape[1]):
            r, g, b, s = gain[k, 0], gain[k, 1], gain[k, 2], gloss[k]
            if r == 0 and g == 0 and b == 0 and s == 0:
                continue
            for t in range(TEXELS):
                m = np.float32(masks[f, k, t])
                total[0, t] += r * m
                total[1, t] += g * m
                total[2, t] += b * m
                total[3, t] += s * m
        for t in range(TEXELS):
            for c in range(3):
                value = tone[c] * max(total[c, t], np.float32(0.1))
                out[f, t, c] = np.float32(255.0) * np.sqrt(min(value, np.float32(1.0)))
            out[f, t, 3] = min(max(total[3, t], np.float32(0.0)), np.float32(4.0)) * np.float32(63.75)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _lay_bands(
    finger: np.ndarray, along: np.ndarray, around: np.ndarray, position: np.ndarray, wanted: np.ndarray,
    bands: np.ndarray, out: np.ndarray,
) -> None:
    """Cover texels with bands (B, 9): albedo, gloss, finger, low, high, facing, pattern; later ones on top."""
    for f in range(finger.shape[0]):
        if not wanted[f]:
            continue
        for b in range(bands.shape[0]):
            low, high, facing, pattern = bands[b, 5], bands[b, 6], bands[b, 7], bands[b, 8]
            for t in range(finger.shape[1]):
                if finger[f, t] != bands[b, 4] or not (low <= along[f, t] < high) or around[f, t] < facing:
                    continue
                share = np.float32(1.0)
                if pattern > 0:
                    p = position[f, t]
                    weave = np.sin(p[0] * np.float32(2100.0)) + np.sin((p[1] + p[2]) * np.float32(2100.0))
                    share -= pattern * (np.float32(0.5) + np.float32(0.25) * weave)
                for c in range(3):
                    albedo = min(max(bands[b, c] * share, np.float32(0.0)), np.float32(1.0))
                    out[f, t, c] = np.float32(255.0) * np.sqrt(albedo)
                out[f, t, 3] = min(bands[b, 3], np.float32(4.0)) * np.float32(63.75)


def skin_texels(skin: SkinMap, appearance: SkinAppearance, wanted: np.ndarray) -> np.ndarray:
    """What the shader takes of the skin.

    Args:
        skin: where on it things are.
        appearance: their colours and what covers them.
        wanted: (C,) bool, coarse faces that are needed.

    Returns:
        (C, TEXELS, 4) uint8: square-root albedo, and gloss / 4.
    """
    out = np.zeros((len(skin.masks), TEXELS, 4), np.uint8)
    scale = np.float32(1 / 255)
    _skin_texels(
        skin.masks, wanted, appearance.tone.astype(np.float32), appearance.gain.astype(np.float32) * scale,
        appearance.gloss.astype(np.float32) * scale, out,
    )
    if appearance.bands:
        table = np.array([[*b.albedo, b.gloss, b.finger, b.low, b.high, b.facing, b.pattern] for b in appearance.bands])
        _lay_bands(skin.finger, skin.along, skin.around, skin.position, wanted, table.astype(np.float32), out)
    return out
