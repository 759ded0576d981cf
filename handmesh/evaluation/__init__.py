"""FreiHAND's official scores, errors on real photos, robustness, and reports of all of them."""
