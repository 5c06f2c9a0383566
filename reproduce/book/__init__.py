"""The book: what is generated for it, and how it is built."""
