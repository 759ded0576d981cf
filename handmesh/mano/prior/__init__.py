"""What poses hands take: gestures, joint limits, the prior over poses, fingers that do not pass through each other."""
