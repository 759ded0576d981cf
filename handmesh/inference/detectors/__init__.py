"""What finds the hands in a picture: our own network, or it together with the pair of models in detection/."""
