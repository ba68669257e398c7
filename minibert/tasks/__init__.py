"""What a user asks for.

pipeline.py                     the task by name, the model from a path; task.py is what all tasks share
fill_mask.py                    words for masks
text_classification.py          labels for texts
token_classification.py         labels for tokens; aggregation.py makes words and entities of them
question_answering.py           passages that answer; spans.py finds them in the logits, as two originals do
feature_extraction.py           hidden states
embed.py, sentence_folder.py    sentence vectors, as the files of sentence-transformers say
sentence_similarity.py          their cosines
batches.py, windows.py          rows through a model, so many tokens at a time; texts longer than the model
convert.py, difference.py       a checkpoint of any format into another; two of them compared
vocabulary.py                   whether a tokenizer and a model belong together
"""
