"""Hands live to other programs: JSON over UDP and WebSocket, OSC for avatars; see docs/motion.md."""
