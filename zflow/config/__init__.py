"""What a user describes: options, YAML files and ZFLOW_* variables become specs, and specs become plans."""
