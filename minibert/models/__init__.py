"""BERT models: compositions of operators; of their own they only add where branches meet.

bert.py, heads.py       the composition and, below each function, its mirror
parameters.py           names, shapes and memory of the numbers
batch.py                the door: (B, T) arrays in, packed rows out, and back
labels.py               the same door for labels
stored.py               a model as named arrays: fresh, from a file, to a file
base.py                 a model as a function: the call, the loss and its gradients
class_loss.py           cross-entropy with class weights and label smoothing, where a trainer asks for them
encoder.py, pretraining.py, finetuning.py, crf.py      the nine classes
"""
