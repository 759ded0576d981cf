"""Files, pictures, clips and cameras: what comes in is checked before it is decoded; what goes out is whole."""
