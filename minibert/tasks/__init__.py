"""What a user asks for.

embed.py, sentence_folder.py    sentence vectors, as the files of sentence-transformers say
fill_mask.py                    words for masks
convert.py, difference.py       a checkpoint of any format into another; two of them compared
vocabulary.py                   whether a tokenizer and a model belong together
"""
