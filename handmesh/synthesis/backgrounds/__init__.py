"""What stands behind the hand: rooms, people, clutter, and photos of the user."""
