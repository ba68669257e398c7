"""TensorFlow checkpoints <-> {name: array}: a sorted table of names, and the numbers in files beside it."""
