"""Weight files <-> {name: array}, and the JSON around them. Knows no model: names and shapes mean nothing here."""
