"""Real videos as training data: where they are, how clips are read from them, and how encoded clips are kept."""
