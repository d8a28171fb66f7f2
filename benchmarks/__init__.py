"""Speed beside a bare llama.cpp loop, side by side in one run, as ratios."""
