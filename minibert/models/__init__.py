"""BERT models: compositions of operators, and no arithmetic of their own.

    bert.py, heads.py       the composition and, below each function, its mirror
    parameters.py           names, shapes and memory of the numbers
    batch.py                the door: (B, T) arrays in, packed rows out, and back
    base.py                 what all model classes share
    encoder.py, pretraining.py, finetuning.py     the eight classes
"""
