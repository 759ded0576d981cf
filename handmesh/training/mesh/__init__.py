"""The mesh network in training: its task, losses, distillation and pictures."""
