"""Weight files <-> {name: array}, and the JSON around them. Knows no model: names and shapes mean nothing here.

opening.py                      a path -> Weights, whatever the format; weights.py says what that is
mapped.py, files.py, atomic.py  files: read as they are touched, opened with care, written whole or not at all
safetensors.py, header.py       safetensors; jsonfile.py, its strict JSON; shards.py, several files seen as one
torch/                          PyTorch's pickles in a zip archive (archive.py, zips.py), and its format before 1.6
tensorflow/                     TensorFlow's checkpoints, read and written
keras.py, hdf5.py; flax.py      Keras' and Flax' files
npz.py, npy.py                  NumPy's own
"""
