"""The engine behind the book: claims and verdicts, chapters and their runs, trainings, and the book itself."""
