"""The same plan on other engines: files for Docker Compose, Kubernetes and systemd. Pure: no file is written here."""
