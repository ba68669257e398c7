"""What a user asks for: sentence vectors (embed.py), words for masks (fill_mask.py)."""
