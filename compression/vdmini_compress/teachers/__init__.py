"""Makes the small teachers: their architectures, their training and their model cards."""
