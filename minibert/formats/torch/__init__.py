"""PyTorch files, both generations, read without PyTorch and without running the program that a pickle is."""
