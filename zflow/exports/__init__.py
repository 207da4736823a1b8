"""What a Flow looks like elsewhere: pictures of it, and files for other engines. Descriptions in, text out."""
