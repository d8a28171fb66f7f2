"""What is done with models besides running them: create, show, copy, delete."""
