"""From image files to the prepared pictures of each part: layouts, decoding, copies, split, records."""
