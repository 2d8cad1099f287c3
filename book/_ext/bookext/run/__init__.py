"""The build: chapters executed, what came out kept, the site made from it."""
