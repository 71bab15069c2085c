"""Where frames come from: found, told in words, and made again."""
