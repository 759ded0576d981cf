"""The trainer: losses, distillation, schedules, exact resume, and adaptation to own footage."""
