"""What a user asks for: sentence vectors (embed.py, sentence_folder.py), words for masks (fill_mask.py)."""
