"""Rendered samples written in FreiHAND's layout, by several processes or machines."""
